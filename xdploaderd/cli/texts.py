"""What the verbs of xdploaderctl are for: the texts of `--help`."""

EPILOG = """\
exit status:
  0    done; with what asks the daemon: everything is as wanted
  1    with `prepare`: something does not hold; with `core-diff`: something differs
  2    the command line is wrong
  3    with `status`, `reload`, `apply`, `confirm`, `attach`, `detach`, `wait`: something is not as wanted;
       with `adopt`, `btfgen`, `load --partial`: done in part; with `prepare`: something is unknown
  64   the request contradicts itself       65   the object file is refused
  66   no such file, interface, attachment  69   the daemon or a kernel feature is missing
  70   an internal failure                  71   the kernel refused
  73   a pin cannot be used                 75   busy: a foreign program, or locked
  77   not allowed                          78   the configuration is refused
  130  interrupted

An error is one line on standard error that begins with its code, such as HookBusy; with --json it is one JSON object.

iproute2's command lines: `xdploaderctl ip ...` and `xdploaderctl tc ...` take the words of ip(8) and tc(8), see
xdploaderctl-ip(8); what is not about BPF is done by the real tools.

examples:
  xdploaderctl status
  xdploaderctl explain-pin filter.o
  xdploaderctl load filter.o /sys/fs/bpf/filter --type xdp
  xdploaderctl map dump /sys/fs/bpf/filter/maps/counters
"""

LOAD = """\
Load an object without the daemon and pin what it has: programs at DIR/NAME, maps at DIR/maps/NAME (a dot in a name
becomes `_`; a program without a function name takes its section with `/` as `_`). Maps are pinned besides where the
pinning configuration puts them. All or nothing: when anything fails, nothing is left. Nothing is attached.
"""

LOAD_EPILOG = """\
examples:
  xdploaderctl load filter.o /sys/fs/bpf/filter
  xdploaderctl load filter.o /sys/fs/bpf/filter --type xdp --program xdp_main
  xdploaderctl load filter.o /sys/fs/bpf/filter --global limit=100 --max-entries flows=65536
  xdploaderctl load big.o /sys/fs/bpf/big --type prog_a=tc --type prog_b=xdp --partial --json
"""

ATTACH = """\
Attach a program: one that is configured as NAME, after a detach or a failure; or, with --object, one that is not
configured. That attachment is the daemon's like any other. It lasts over restarts of the daemon and of the interface
until `detach` or the next boot, and with --permanent for good.
"""

ATTACH_EPILOG = """\
examples:
  xdploaderctl attach edge
  xdploaderctl attach --object filter.o --interface eth0 --hook xdp
  xdploaderctl attach --object shape.o --interface eth0 --hook tc-egress --program shape --priority 10 shaper
  xdploaderctl attach --object filter.o --interface eth0 --hook xdp --mode native --permanent --force edge
  xdploaderctl attach --object filter.o --match 'name=veth*' --hook xdp --maps shared --on-foreign restore all
"""

ADOPT = """\
Let the daemon keep what ip, tc or xdp-loader attached. The running program stays as it is, with its maps and their
contents; it becomes an entry that is written to conf.d/50-NAME.yaml. That needs the object file it came from: the one
named, or one of the usual directories; whether it is the same program is told by a test load. Exit 3 when something
could not be taken over.
"""

ADOPT_EPILOG = """\
examples:
  xdploaderctl adopt --all --dry-run
  xdploaderctl adopt --interface eth0 --hook xdp --object filter.o --name edge
"""

DETACH = """\
Detach NAME. An entry of the configuration stays off until it is attached again, or until the next boot; one that
`attach --object` made is forgotten.
"""

CORE_LOG = """\
Show how each CO-RE relocation of NAME's program came about when the daemon loaded it: what was asked for, each
candidate with its verdict, the instruction before and after. Exit 66 when no record is kept: of a program that was
adopted, or is not loaded.
"""

CORE_LOG_EPILOG = """\
examples:
  xdploaderctl core-log edge
  xdploaderctl core-log edge --json
"""

PREPARE = """\
Say what holds of objects in a kernel, without privilege and without a bpf(2) call: relocations, sections, maps,
helpers, externs and limits, and which capabilities loading takes. The kernel is this machine's, or one known by its
BTF: a raw file, a vmlinux, a vmlinuz or BTFHub's archive. What only the verifier can tell stays out.
Exit 0: all holds; 1: something fails; 3: something is unknown and nothing fails.
"""

PREPARE_EPILOG = """\
examples:
  xdploaderctl prepare filter.o
  xdploaderctl prepare filter.o --btf vmlinuz-6.1.0-56-amd64 --kconfig config-6.1.0-56-amd64 --release 6.1.0-56-amd64
  xdploaderctl prepare *.o --btf-dir btfhub-archive/debian --json
  xdploaderctl prepare filter.o --btf 5.10.btf --dump-insns
"""

EXPLAIN = """\
Print for each map of an object the path where it is pinned here, by libbpf and by iproute2. The file is only read:
no privilege is needed and nothing is loaded.
"""

CONVERT = """\
Print the definitions in C that replace an object's legacy maps. Behind them stands, as a comment, what else must change
in its source: sections, pins, tail calls, inner maps. The file is only read: no privilege is needed.
"""

CONVERT_EPILOG = """\
examples:
  xdploaderctl convert old_filter.o --type tc
  xdploaderctl convert old_filter.o --json
"""

CONVERT_PINNING = """\
Print iproute2's bpf_pinning as a strict pinning.conf of the same meaning. Lines that iproute2 ignores, and names that
no BPF file system takes, become comments.
"""

BTFGEN = """\
Cut the BTF of a kernel down to what objects need: the types and members that their CO-RE records rest on, at their
sizes and offsets. The result stands in for the kernel's own BTF on hosts that have none. FILE is BTF, a vmlinux, a
kernel image or BTFHub's archive of one; of a directory every such file is taken, and OUT is a directory too. No
privilege is needed.
"""

BTFGEN_EPILOG = """\
examples:
  xdploaderctl btfgen --btf /sys/kernel/btf/vmlinux -o filter.btf filter.o
  xdploaderctl btfgen --btf btfhub/debian -o small filter.o balancer.o

exit status: 3 when some files of a directory could not be cut down; each is named on standard error
"""

CORE_DIFF = """\
Show which CO-RE records of an object come to something else on another kernel: value, instruction, poison or refusal.
FILE is raw BTF or an ELF file with a section .BTF. No privilege is needed.
"""

CORE_DIFF_EPILOG = """\
examples:
  xdploaderctl core-diff filter.o --btf debian11.btf --btf /sys/kernel/btf/vmlinux

exit status: 0 nothing differs, 1 something does
"""

WAIT = """\
Wait until attachments are as wanted: those named, which an entry for several interfaces is when there is at least one
and all are attached; without a NAME everything. A daemon that does not answer yet is waited for. Exit 3 when the time
is over, with what is missing and why.
"""

WAIT_EPILOG = """\
examples:
  xdploaderctl wait --timeout 30
  xdploaderctl wait edge shaper@eth1 --timeout 5
"""

MONITOR = """\
Show the attachments as they change, until interrupted. In a terminal that is a table that stays up to date; else, and
with --json, one line for each attachment as it stands and then one for each change. One that ends has the state gone.
"""

MONITOR_EPILOG = """\
examples:
  xdploaderctl monitor
  xdploaderctl monitor --json | jq -r 'select(.state == "failed") | .name + ": " + .reason'
"""

ORPHANS = """\
Show what is pinned as the daemon's own and no entry wants, and when it is swept. It was left by an entry that ended
while no daemon ran, or by an interface that is gone; it runs on for the daemon's --orphan-grace. On a protected
interface it runs on for as long as that is protected, --sweep or not. What is not pinned below the daemon's own
directory is never an orphan.
"""
