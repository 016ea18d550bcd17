"""`ip` lines of man pages and tutorials twice: by the real tool and by ours, with equal results.

Standard objects go through Debian's `ip`, legacy ones through an `ip` without libbpf. A line in REFUSED leaves
directories behind with the real tool, where we take back what a failed command made.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.tools import legacy_ip
from tests.support.twice import OURS, Step, run_lines

pytestmark = pytest.mark.oracle

STANDARD = (
    ("ip link set dev veth0 xdp obj xdp_pass.bpf.o sec xdp", "ip link set dev veth0 xdp off"),
    ("ip link set dev veth0 xdp object xdp_pass.bpf.o section xdp verbose", "ip link set dev veth0 xdp none"),
    ("ip link set veth0 xdpgeneric obj xdp_count.bpf.o sec xdp", "ip link set veth0 xdpgeneric off"),
    ("ip link set veth0 xdpdrv obj xdp_count.bpf.o sec xdp", "ip link set veth0 xdpdrv off"),
    ("ip link set dev veth0 xdpgeneric obj xdp_pass.bpf.o sec xdp", "ip link set dev veth0 xdp off"),
    (
        "ip link set dev veth0 xdp obj xdp_pass.bpf.o sec xdp",
        "ip link set dev veth0 xdp obj xdp_drop.bpf.o sec xdp",
        "ip -force link set dev veth0 xdp obj xdp_drop.bpf.o sec xdp",
        "ip -force link set dev veth0 xdpgeneric obj xdp_drop.bpf.o sec xdp",
        "ip -force link set dev veth0 xdp off",
    ),
    ("ip l s veth0 up mtu 1400 xdp obj xdp_pass.bpf.o s xdp", "ip l se veth0 down xdp off"),
    ("ip link set xdp obj xdp_pass.bpf.o sec xdp dev veth0 alias edge",),
    ("ip link set dev veth0 xdp obj demo_xdp.bpf.o sec xdp", "ip -force l set veth0 xdp obj demo_xdp.bpf.o sec xdp"),
    ("ip link set dev veth0 xdp obj xdp_count.bpf.o program xdp_count",),
    ("ip link set dev veth0 xdp obj xdp_count.bpf.o sec nosuch program xdp_count v",),
    (
        "bpftool prog load xdp_pass.bpf.o /sys/fs/bpf/pass",
        "ip link set dev veth0 xdp pinned /sys/fs/bpf/pass",
        "ip link set dev veth0 xdp off",
        "ip link set dev veth0 xdpgeneric fd /sys/fs/bpf/pass",
        "ip -fo link change dev veth0 xdpgeneric object-pinned /sys/fs/bpf/pass",
        "ip link set dev veth0 xdp fd 7",
    ),
    ("ip link set dev veth0 xdp obj reject.bpf.o sec xdp",),
    ("ip link set dev veth0 xdp off",),
    ("ip link set dev veth0 xdp off up",),
    ("ip link set dev veth0 xdp",),
    ("ip link set dev veth0 xdp obj",),
    ("ip link set dev veth0 xdp what xdp_pass.bpf.o",),
    ("ip link set dev nosuch0 xdp off",),
    ("ip link set dev veth0 dev veth1 xdp off",),
    ("ip link set xdp off",),
    ("ip link set dev veth0 mtu 1500 mtu 1400 xdp off",),
)
REFUSED = (
    "ip link set dev veth0 xdp obj nosuch.o sec xdp",
    "ip link set dev veth0 xdp obj README.md sec xdp",
    "ip link set dev veth0 xdp obj xdp_pass.bpf.o sec nosuch",
    "ip link set dev veth0 xdp obj xdp_pass.bpf.o sec xdp program nosuch",
    "ip link set dev veth0 xdp obj xdp_pass.bpf.o sec license",
    "ip link set dev veth0 xdp obj reject.bpf.o program bad",
    "ip link set dev veth0 xdp obj xdp_pass.bpf.o verbose sec xdp",
    "ip link set dev nosuch0 xdp obj xdp_pass.bpf.o sec xdp",
    "ip link set dev veth0 mtu 17 xdp obj xdp_pass.bpf.o sec xdp",
    "ip link set dev veth0 xdpoffload obj xdp_pass.bpf.o sec xdp",
    "ip link set xdpoffload obj xdp_pass.bpf.o sec xdp dev veth0",
)
LEGACY = (
    ("ip link set dev veth0 xdp obj legacy_pin2.bpf.o", "ip link set dev veth0 xdp off"),
    ("ip link set dev veth0 xdp obj legacy_pin2.bpf.o", "ip -force link set dev veth0 xdp obj legacy_pin2.bpf.o"),
    ("ip link set dev veth0 xdpgeneric obj legacy_pin2.bpf.o sec classifier", "ip link set veth0 xdpgeneric off"),
    ("ip link set dev veth0 xdp obj legacy_pin0.bpf.o", "ip link set dev veth0 xdp obj legacy_pin0.bpf.o"),
    ("ip link set dev veth0 xdp obj legacy_pin9.bpf.o section prog",),
    ("ip link set dev veth0 xdp obj legacy_tail_pinned.bpf.o sec classifier", "ip link set dev veth0 xdp off"),
    ("ip link set dev veth0 xdp obj legacy_mim.bpf.o sec classifier",),
    ("mkdir -m 700 /sys/fs/bpf/xdp", "ip link set dev veth0 xdp obj legacy_pin2.bpf.o"),
)


def _equal(theirs: list[Step], ours: list[Step], *, tree: bool = True) -> None:
    if not tree:
        theirs, ours = ([replace(step, tree=()) for step in steps] for steps in (theirs, ours))
    for one, other in zip(theirs, ours, strict=True):
        assert one == other


@pytest.mark.parametrize("lines", STANDARD, ids=lambda lines: lines[0])
def test_standard_objects_end_up_as_with_debians_ip(lines: tuple[str, ...]) -> None:
    _equal(run_lines(lines, {}), run_lines(lines, OURS))


@pytest.mark.parametrize("line", REFUSED)
def test_refused_line_has_the_same_status_and_attaches_nothing(line: str) -> None:
    ours = run_lines([line], OURS)
    _equal(run_lines([line], {}), ours, tree=False)
    assert ours[0].status != 0
    assert ours[0].tree == ()


@pytest.mark.parametrize("lines", LEGACY, ids=lambda lines: lines[0])
def test_legacy_objects_end_up_as_with_an_ip_of_before_libbpf(lines: tuple[str, ...]) -> None:
    assert shutil.which("ip") is not None
    theirs = run_lines(lines, {"ip": [str(legacy_ip())]}, names=False)
    assert theirs[-1].status in (0, 2)
    _equal(theirs, run_lines(lines, OURS, names=False))


def test_batch_file_does_what_its_lines_do(tmp_path: Path) -> None:
    batch = tmp_path / "batch"
    batch.write_text(
        "link set dev veth0 mtu 1400\n\n# a comment\nlink set dev veth0 xdp obj xdp_pass.bpf.o sec xdp\n"
        "link set dev veth0 alias 'an edge' \\\n mtu 1300\nlink set dev veth0 xdp off\nlink set dev nosuch0 xdp off\n"
        "link set dev veth0 mtu 1200\nlink set dev veth0 xdp off up\nlink set dev veth0 mtu 1100\n"
    )
    for options in ("-b", "-force -batch"):
        lines = [f"ip {options} {batch}"]
        theirs = run_lines(lines, {})
        _equal(theirs, run_lines(lines, OURS))
        assert theirs[0].status == (255 if "force" in options else 1)
        assert theirs[0].link[0]["mtu"] == (1200 if "force" in options else 1300)
