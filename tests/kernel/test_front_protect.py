"""`ip` and `tc` of ours on a protected interface: refused with the daemon, beside it, and without any."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.daemon import OBJECTS, ROOT, Daemon, tc_ids, xdp_entry, xdp_id
from tests.support.netns import Veth, ip, veth_pair

pytestmark = pytest.mark.kernel
COUNT, TC = (str((OBJECTS / f"{name}.bpf.o").relative_to(ROOT)) for name in ("xdp_count", "tc_count"))
LINES = (
    f"ip link set dev veth0 xdp obj {COUNT}",
    f"ip -force link set dev veth0 xdp obj {COUNT}",
    "ip link set dev veth0 xdp off",
    f"tc filter add dev veth0 ingress bpf da obj {TC} sec tc/ingress",
    "tc filter del dev veth0 ingress",
    "tc qdisc del dev veth0 clsact",
)
# With the daemon, what stands in the way with --confirm too is told first.
TAKEN = {LINES[0]: "attached already", LINES[1]: "is that of attachment 'edge'"}
TAKEN[LINES[0].replace("veth0", "uplink")] = TAKEN[LINES[0]]


@pytest.fixture
def veth() -> Iterator[Veth]:
    with veth_pair() as pair:
        ip("link", "property", "add", "dev", "veth0", "altname", "uplink")
        yield pair


def standing() -> tuple[int, list[int], bytes]:
    qdiscs = subprocess.run(["tc", "qdisc", "show", "dev", "veth0"], capture_output=True, check=True).stdout
    return xdp_id(), tc_ids(), qdiscs


@pytest.mark.parametrize("direct", [False, True])
def test_front_is_refused_on_a_protected_interface(veth: Veth, daemon: Daemon, *, direct: bool) -> None:
    subprocess.run(["tc", "qdisc", "add", "dev", "veth0", "clsact"], check=True)
    daemon.configure(xdp_entry())
    daemon.config.write_text("protect: [veth0]\n" + daemon.config.read_text())
    daemon.start()
    before = standing()
    for line in (*LINES, LINES[0].replace("veth0", "uplink")):
        tool, *words = line.split()
        option = ["--direct"] if direct else []
        said = subprocess.run(
            [sys.executable, "-m", "xdploaderd.cli.main", tool, *option, *words],
            cwd=ROOT,
            env={**os.environ, "XDPLOADERD_SOCKET": str(daemon.state / "control")},
            capture_output=True,
            text=True,
            check=False,
        )
        why = TAKEN.get(line, "--confirm 60s") if not direct else "--confirm 60s"
        assert (said.returncode != 0, why in said.stderr) == (True, True), (line, said)
        assert standing() == before, line


def test_front_without_a_daemon_goes_by_the_files(veth: Veth) -> None:
    """The configuration is for the namespace of the first process: here, of a pid namespace of the test's own."""
    script = """
        mount -t tmpfs none /run && mkdir -m 755 /run/xdploaderd || exit 99
        {run} && exit 1
        exit 0
    """
    for line in LINES:
        tool, _, words = line.partition(" ")
        command = f"{shlex.quote(sys.executable)} -m xdploaderd.cli.main {tool} --direct {words}"
        for text, wanted in (("protect: [veth0]", "--confirm 60s"), ("protect: [", "not known")):
            written = script.format(run=f"echo 'attachments: []\n{text}' > /run/xdploaderd/xdploaderd.yaml; {command}")
            done = subprocess.run(
                ["unshare", "-m", "--pid", "--fork", "--mount-proc", "sh", "-c", written],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, wanted in done.stderr) == (0, True), (line, done)
    assert (xdp_id(), tc_ids()) == (0, [])
