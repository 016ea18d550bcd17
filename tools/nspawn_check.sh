#!/bin/sh
# Start the service under a real systemd, in a container, and see it work: attach, reload, restart, kill, stop.
# usage: tools/nspawn_check.sh     (root; after ./dev setup; needs debootstrap and systemd-container)
# The container is a Debian made once below .cache/nspawn; it sees this checkout read-only, under the same path.
set -eu
cd "$(dirname "$0")/.."
checkout=$PWD
work=$PWD/.cache/nspawn
root=$work/root

die() {
	printf 'nspawn_check: %s\n' "$*" >&2
	exit 1
}
[ "$(id -u)" -eq 0 ] || die "must run as root"
for tool in debootstrap systemd-nspawn nsenter; do
	command -v $tool >/dev/null || die "no $tool: install debootstrap and systemd-container"
done
[ -x .venv/bin/xdploaderd ] || die "no .venv: run ./dev setup first"
case $checkout in
/tmp/* | /var/tmp/*) die "the service has a /tmp of its own and sees nothing of $checkout: want a checkout elsewhere" ;;
esac

# Mounts of this check go with it: everything below runs in a mount namespace of its own.
if [ "${1:-}" != --inside ]; then exec unshare --mount --propagation private sh "$0" --inside; fi

if ! [ -e "$root/.complete" ]; then
	echo "==> debootstrap"
	rm -rf "$root"
	mkdir -p "$work"
	debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,python3,iproute2 bookworm "$root" >"$work/debootstrap.log" 2>&1 ||
		die "debootstrap failed: see $work/debootstrap.log"
	touch "$root/.complete"
fi

echo "==> install-system"
.venv/bin/xdploaderd install-system --root "$root" | tail -n 3
mkdir -p "$root/etc/xdploaderd" "$work/bpffs"
cat >"$root/etc/xdploaderd/xdploaderd.yaml" <<END
attachments:
  - name: xdp
    interface: veth0
    hook: xdp
    object: $checkout/tests/bpf/demo_xdp.bpf.o
    program: demo_xdp
  - name: in
    interface: veth0
    hook: tc-ingress
    object: $checkout/tests/bpf/demo_tc_legacy.bpf.o
    program: demo_ingress
END
mount -t bpf -o mode=0700 bpf "$work/bpffs"

echo "==> boot"
UNIFIED_CGROUP_HIERARCHY=1 SYSTEMD_NSPAWN_LOCK=0 systemd-nspawn -q -D "$root" --boot --register=no --keep-unit \
	--machine=xdploaderd-check --private-network --capability=all --console=passive --system-call-filter=bpf \
	--bind="$work/bpffs:/sys/fs/bpf" --bind-ro="$checkout" </dev/null >"$work/console.log" 2>&1 &
nspawn=$!
trap 'kill $nspawn 2>/dev/null; wait $nspawn 2>/dev/null || true' EXIT

# wait_for SECONDS COMMAND...: until the command succeeds
wait_for() {
	turns=$(($1 * 10))
	shift
	while ! "$@" >/dev/null 2>&1; do
		turns=$((turns - 1))
		[ $turns -gt 0 ] || return 1
		sleep 0.1
	done
}
# The container's PID 1 is nspawn's child whose innermost pid is 1.
leader() {
	read -r children <"/proc/$nspawn/task/$nspawn/children" || true
	for child in $children; do
		[ "$(sed -n 's/^NSpid:.*\t//p' "/proc/$child/status")" != 1 ] || echo "$child"
	done
}
has_leader() { [ -n "$(leader)" ]; }
wait_for 20 has_leader || die "no container: $(cat "$work/console.log")"
pid=$(leader)
inside() { nsenter -t "$pid" -a -- "$@"; }
ctl() { inside "$checkout/.venv/bin/xdploaderctl" "$@"; }

# check TEXT COMMAND...: one line for each claim; the first that is false ends the run
check() {
	claim=$1
	shift
	if "$@"; then
		echo "ok: $claim"
	else
		inside systemctl --no-pager status xdploaderd.service || true
		inside journalctl --no-pager -u xdploaderd -n 40 || true
		die "not so: $claim"
	fi
}
settled() { case $(inside systemctl is-system-running) in running | degraded) ;; *) return 1 ;; esac; }
active() { [ "$(inside systemctl is-active xdploaderd.service)" = active ]; }
as_wanted() { ctl status >/dev/null; }
property() { inside systemctl show -P "$1" xdploaderd.service; }
program() { inside ip -d link show dev veth0 | sed -n 's/.*prog\/xdp id \([0-9]*\).*/\1/p'; }
same() { [ -n "$1" ] && [ "$1" = "$2" ]; }

wait_for 60 settled || die "the container does not come up: $(cat "$work/console.log")"
check "systemd is up" settled
inside ip link add veth0 type veth peer name veth1
inside ip link set veth0 up
inside ip link set veth1 up
inside systemctl daemon-reload
inside systemctl start xdploaderd.service || true
check "the service is active" active
check "all is attached" wait_for 10 as_wanted
first=$(program)
check "an XDP program is on veth0" test -n "$first"
inside systemctl --no-pager --lines=0 status xdploaderd.service
ctl status
inside systemctl reload xdploaderd.service
check "reload keeps the program" same "$first" "$(program)"
inside systemctl restart xdploaderd.service
check "restart adopts the program" same "$first" "$(program)"
check "all is as wanted after restart" wait_for 10 as_wanted
old=$(property MainPID)
inside sh -c "kill -9 $old"
restarted() { active && [ "$(property MainPID)" != "$old" ]; }
check "systemd starts a killed daemon again" wait_for 20 restarted
check "a killed daemon's program stays" same "$first" "$(program)"
check "all is as wanted after the kill" wait_for 10 as_wanted
inside ip link del veth0
inside ip link add veth0 type veth peer name veth1
inside ip link set veth0 up
check "an interface made anew gets its programs" wait_for 10 as_wanted
check "D-Bus answers" inside busctl --no-pager call org.xdploaderd1 /org/xdploaderd1 org.xdploaderd1.Manager Status
last=$(program)
inside systemctl stop xdploaderd.service
check "stop leaves the program" same "$last" "$(program)"
check "the service ended well" same "$(property Result)" success
inside systemctl start xdploaderd.socket
check "a call on the socket starts the daemon" wait_for 10 as_wanted
check "the started daemon adopted the program" same "$last" "$(program)"
inside systemctl stop xdploaderd.service xdploaderd.socket
inside journalctl --no-pager -o cat -u xdploaderd
inside systemd-analyze --no-pager security xdploaderd.service | tail -n 1
echo "==> everything as claimed"
