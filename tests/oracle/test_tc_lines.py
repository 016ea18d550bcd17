"""`tc` lines of man pages, tutorials and cilium's scripts twice: by the real tool and by ours, with equal results.

Standard objects go through Debian's `tc`, legacy ones through a `tc` without libbpf. A line in REFUSED leaves
directories behind with the real tool, where we take back what a failed command made.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, wait_for
from tests.support.tools import legacy_tc
from tests.support.twice import OURS, Step, run_lines

pytestmark = pytest.mark.oracle

CLSACT = "tc qdisc add dev veth0 clsact"
GRAFT_INTO_ARRAY = "exec bpf graft m:globals/cnt key 0 obj legacy_graft.bpf.o sec aaa"
ARP = "4,40 0 0 12,21 0 1 2054,6 0 0 262144,6 0 0 0"
STANDARD = (
    # tc-bpf(8) and tutorials
    (
        CLSACT,
        "tc filter add dev veth0 ingress bpf da obj tc_count.bpf.o sec tc/ingress",
        "tc filter del dev veth0 ingress",
    ),
    (
        CLSACT,
        "tc filter add dev veth0 egress bpf direct-action object-file tc_count.bpf.o section tc",
        "tc qdisc del dev veth0 clsact",
    ),
    (CLSACT, "tc filter add dev veth0 ingress prio 1 handle 1 bpf da obj tc_count.bpf.o sec tc verbose"),
    (
        "tc qdisc replace dev veth0 clsact",
        "tc filter replace dev veth0 ingress prio 1 handle 1 bpf da obj tc_count.bpf.o sec tc",
        "tc filter replace dev veth0 ingress prio 1 handle 1 bpf da obj tc_count.bpf.o sec tc/ingress",
        "tc filter add dev veth0 ingress prio 1 handle 1 bpf da obj tc_count.bpf.o sec tc/ingress",
        "tc filter change dev veth0 ingress prio 1 handle 1 bpf da obj tc_count.bpf.o sec tc",
        "tc filter delete dev veth0 ingress prio 1 handle 1 bpf",
        "tc filter delete dev veth0 ingress prio 1 handle 1 bpf",
    ),
    (
        CLSACT,
        "tc filter add dev veth0 ingress pref 7 bpf da obj tc_count.bpf.o sec tc",
        "tc filter add dev veth0 ingress pref 7 bpf da obj tc_count.bpf.o sec tc",
        "tc filter replace dev veth0 ingress pref 7 bpf da obj tc_count.bpf.o sec tc",
        "tc filter add dev veth0 ingress bpf da obj tc_count.bpf.o sec tc",
        "tc filter del dev veth0 ingress pref 7",
        "tc filter del dev veth0 ingress pref 7",
        "tc filter del dev veth0 ingress",
    ),
    # cilium's
    (
        "tc qdisc replace dev veth0 clsact",
        "tc filter replace dev veth0 ingress prio 1 handle 1 bpf da obj tc_count.bpf.o sec tc",
        "tc filter replace dev veth0 egress prio 1 handle 1 bpf da obj tc_count.bpf.o sec tc",
        "tc filter delete dev veth0 egress prio 1",
    ),
    # classid, protocol, chain, parent
    (CLSACT, "tc filter add dev veth0 parent ffff:fff2 protocol ip bpf obj tc_count.bpf.o sec tc classid 1:1"),
    (CLSACT, "tc filter add dev veth0 ingress protocol ip pref 10 bpf obj tc_count.bpf.o sec tc flowid 1:1 skip_hw"),
    (
        CLSACT,
        "tc filter add dev veth0 ingress protocol ip pref 10 bpf da obj tc_count.bpf.o sec tc",
        "tc filter add dev veth0 ingress protocol arp pref 10 bpf da obj tc_count.bpf.o sec tc",
    ),
    (
        CLSACT,
        "tc filter add dev veth0 ingress chain 4 bpf da obj tc_count.bpf.o sec tc",
        "tc filter del dev veth0 ingress chain 4",
    ),
    (
        "tc qdisc add dev veth0 ingress",
        "tc filter add dev veth0 parent ffff: bpf da obj tc_count.bpf.o sec tc",
        "tc filter del dev veth0 parent ffff:",
        "tc qdisc del dev veth0 clsact",
        "tc qdisc del dev veth0 ingress",
    ),
    (CLSACT, "tc filter add dev veth0 ingress bpf da obj tc_count.bpf.o program count_in"),
    (CLSACT, "tc filter add dev veth0 ingress bpf da obj tc_count.bpf.o sec nosuch program count_in v"),
    (CLSACT, "tc f a dev veth0 ingress pr 3 bpf da o tc_count.bpf.o s tc v"),
    # qdiscs with classes, and shared blocks
    (
        "tc qdisc add dev veth0 root handle 1: htb default 1",
        "tc filter add dev veth0 parent 1: protocol ip prio 1 bpf obj tc_count.bpf.o sec tc flowid 1:1",
        "tc filter add dev veth0 root pref 2 bpf obj tc_count.bpf.o sec tc classid 1:",
        "tc filter del dev veth0 parent 1: prio 1",
    ),
    (
        "tc qdisc add dev veth0 ingress_block 22 clsact",
        "tc filter add block 22 pref 3 bpf da obj tc_count.bpf.o sec tc",
        "tc filter add block 22 dev veth0 bpf da obj tc_count.bpf.o sec tc",
        "tc filter add block 0 bpf da obj tc_count.bpf.o sec tc",
    ),
    # pinned
    (
        "bpftool prog load tc_count.bpf.o /sys/fs/bpf/count type classifier",
        CLSACT,
        "tc filter add dev veth0 ingress bpf da pinned /sys/fs/bpf/count",
        "tc filter add dev veth0 egress bpf direct-action object-pinned /sys/fs/bpf/count classid 1:2",
        "tc filter add dev veth0 egress bpf da fd /sys/fs/bpf/count",
    ),
    # classic bytecode
    (CLSACT, f"tc filter add dev veth0 ingress bpf bytecode '{ARP},' flowid 1:1"),
    (CLSACT, f"tc filter add dev veth0 ingress bpf run bytecode '{ARP}' classid 1:1"),
    (CLSACT, f"tc filter add dev veth0 egress protocol all bpf bc '{ARP}'"),
    (
        CLSACT,
        "tc filter add dev veth0 egress bpf bytecode-file arp.bpf flowid :1",
        "tc filter add dev veth0 egress bpf bcf arp.bpf",
    ),
    # what is nothing
    (CLSACT, CLSACT, "tc qdisc del dev veth0 clsact", "tc qdisc del dev veth0 clsact"),
    ("tc qdisc add clsact dev veth0", "tc qdisc add dev nosuch0 clsact", "tc qdisc add dev veth0 handle ffff: ingress"),
    (CLSACT, "tc filter add dev veth0 ingress bpf da", "tc filter add dev veth0 ingress bpf bytecode"),
    (
        CLSACT,
        "tc filter add dev veth0 ingress bpf bytecode '2,6 0 0 1,'",
        "tc filter add dev veth0 ingress bpf bytecode '1,6 0 0 1,6 0 0 1,'",
    ),
    (
        CLSACT,
        "tc filter add dev veth0 ingress bpf bytecode '0,'",
        "tc filter add dev veth0 ingress bpf bytecode '4097,'",
    ),
    (
        CLSACT,
        "tc filter add dev veth0 ingress prio 70000 bpf bytecode '1,6 0 0 1'",
        "tc filter add dev veth0 ingress handle x bpf bc '1,6 0 0 1'",
    ),
    ("tc exec bpf", "tc exec bpf what", "tc exec bpf run", "tc exec bpf run true", "tc exec bpf graft"),
)
REFUSED = (
    "tc filter add dev veth0 ingress bpf da obj nosuch.o sec tc",
    "tc filter add dev veth0 ingress bpf da obj README.md sec tc",
    "tc filter add dev veth0 ingress bpf da obj tc_count.bpf.o sec nosuch",
    "tc filter add dev veth0 ingress bpf da obj tc_count.bpf.o sec tc program nosuch",
    "tc filter add dev veth0 ingress bpf da obj reject.bpf.o program bad",
    "tc filter add dev veth0 ingress bpf da obj tc_count.bpf.o verbose sec tc",
    "tc filter add dev nosuch0 ingress bpf da obj tc_count.bpf.o sec tc",
    "tc filter add dev veth0 parent ffff: bpf da obj tc_count.bpf.o sec tc",
    "tc filter change dev veth0 ingress pref 9 handle 1 bpf da obj tc_count.bpf.o sec tc",
    "tc filter add dev veth0 ingress bpf da obj tc_count.bpf.o sec tc skip_sw",
    "tc filter add dev veth0 ingress bpf da obj tc_count.bpf.o sec tc obj tc_count.bpf.o",
    "tc filter add dev veth0 ingress bpf da what tc_count.bpf.o",
)
LEGACY = (
    (
        CLSACT,
        "tc filter add dev veth0 ingress bpf da obj legacy_pin2.bpf.o",
        "tc filter add dev veth0 egress bpf da obj legacy_pin2.bpf.o",
    ),
    (CLSACT, "tc filter add dev veth0 ingress bpf obj legacy_pin2.bpf.o flowid 1:1", "tc filter del dev veth0 ingress"),
    (CLSACT, "tc filter add dev veth0 ingress bpf da obj legacy_pin2.bpf.o sec prog", "tc qdisc del dev veth0 clsact"),
    (CLSACT, "tc filter add dev veth0 ingress bpf da obj legacy_pin0.bpf.o verbose"),
    (CLSACT, "tc filter add dev veth0 ingress bpf da obj legacy_pin9.bpf.o sec classifier"),
    (
        CLSACT,
        "tc filter add dev veth0 ingress bpf da obj legacy_tail_pinned.bpf.o",
        "tc filter add dev veth0 ingress bpf da obj legacy_tail_pinned.bpf.o",
    ),
    (CLSACT, "tc filter add dev veth0 ingress bpf da obj legacy_mim.bpf.o"),
    (
        CLSACT,
        "tc filter add dev veth0 parent ffff:fff2 bpf da obj legacy_graft.bpf.o",
        "tc exec bpf graft m:globals/jmp_tc key 0 obj legacy_graft.bpf.o sec aaa",
        "tc exec bpf graft /sys/fs/bpf/tc/globals/jmp_tc key 3 obj legacy_graft.bpf.o sec aaa",
        "tc exec bpf graft m:globals/jmp_tc key 9 obj legacy_graft.bpf.o sec aaa",
        "tc exec bpf graft m:globals/jmp_tc obj legacy_graft.bpf.o sec aaa",
        "tc exec bpf graft m:globals/nosuch key 0 obj legacy_graft.bpf.o sec aaa",
    ),
)


def _equal(theirs: list[Step], ours: list[Step], *, tree: bool = True) -> None:
    if not tree:
        theirs, ours = ([replace(step, tree=()) for step in steps] for steps in (theirs, ours))
    for one, other in zip(theirs, ours, strict=True):
        assert one == other


@pytest.mark.parametrize("lines", STANDARD, ids=lambda lines: lines[-1])
def test_standard_objects_end_up_as_with_debians_tc(lines: Sequence[str], arp_file: str) -> None:
    lines = [line.replace("arp.bpf", arp_file) for line in lines]
    _equal(run_lines(lines, {}), run_lines(lines, OURS))


@pytest.fixture
def arp_file(tmp_path: Path) -> str:
    """Make a file as tcpdump -ddd prints it."""
    path = tmp_path / "arp"
    path.write_text(ARP.replace(",", "\n") + "\n")
    return str(path)


def test_graft_into_another_map_is_refused_and_leaves_nothing() -> None:
    lines = [CLSACT, "tc filter add dev veth0 ingress bpf da obj legacy_pin2.bpf.o", f"tc {GRAFT_INTO_ARRAY}"]
    theirs, ours = run_lines(lines, {"tc": [str(legacy_tc())]}, names=False), run_lines(lines, OURS, names=False)
    assert [step.status for step in ours] == [step.status for step in theirs] == [0, 0, 234]
    assert ours[2].tree == ours[1].tree


@pytest.mark.parametrize("line", REFUSED)
def test_refused_line_has_the_same_status_and_sets_nothing(line: str) -> None:
    ours = run_lines([CLSACT, line], OURS)
    _equal(run_lines([CLSACT, line], {}), ours, tree=False)
    assert ours[1].status != 0
    assert ours[1].tree == ()


@pytest.mark.parametrize("lines", LEGACY, ids=lambda lines: lines[-1])
def test_legacy_objects_end_up_as_with_a_tc_of_before_libbpf(lines: Sequence[str]) -> None:
    theirs = run_lines(lines, {"tc": [str(legacy_tc())]}, names=False)
    _equal(theirs, run_lines(lines, OURS, names=False))


@pytest.mark.parametrize("ours_sends", [True, False])
def test_maps_go_from_the_one_tc_to_the_other(ours_sends: bool, tmp_path: Path) -> None:
    theirs, mine = [str(legacy_tc())], list(OURS["tc"])
    sender, receiver = (mine, theirs) if ours_sends else (theirs, mine)
    path = tmp_path / "maps"
    run_tools = [
        *receiver,
        "exec",
        "bpf",
        "import",
        str(path),
        "run",
        "sh",
        "-c",
        "echo $BPF_NUM_MAPS; env | grep ^BPF_MAP",
    ]
    with subprocess.Popen(run_tools, stdout=subprocess.PIPE, text=True, cwd=ROOT) as importer:
        wait_for(path.exists, "the importer listens")
        line = f"tc filter add dev veth0 ingress bpf da obj legacy_tail.bpf.o export {path}"
        assert [step.status for step in run_lines([CLSACT, line], {"tc": sender})] == [0, 0]
        told, _ = importer.communicate(timeout=10)
    count, *maps = told.split()
    assert count == "2"
    assert sorted(item.split("=")[0] for item in maps) == ["BPF_MAP0", "BPF_MAP2748"]


def test_batch_file_does_what_its_lines_do(tmp_path: Path) -> None:
    batch = tmp_path / "batch"
    batch.write_text(
        "qdisc add dev veth0 clsact\n\n# a comment\nfilter add dev veth0 ingress bpf da obj tc_count.bpf.o sec tc\n"
        "filter add dev veth0 egress pref 3 \\\n bpf da obj 'tc_count.bpf.o' sec tc\nqdisc show dev veth0\n"
        "filter add dev veth0 egress pref 3 handle 1 bpf da obj tc_count.bpf.o sec tc\n"
        "filter del dev veth0 ingress\nfilter add dev veth0 ingress prio 70000 bpf bc '1,6 0 0 1'\n"
        "qdisc del dev veth0 clsact\n"
    )
    for options in ("-b", "-force -batch"):
        lines = [f"tc {options} {batch}"]
        theirs = run_lines(lines, {})
        _equal(theirs, run_lines(lines, OURS))
        assert theirs[0].status == (255 if "force" in options else 1)
