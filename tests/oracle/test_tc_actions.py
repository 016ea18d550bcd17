"""bpf filters with actions: what goes to the kernel is what the real tc sends, and an object may be of either kind."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.tools import legacy_tc, tool
from tests.support.twice import DEVICE, OURS, PEER, ROOT, run_lines

pytestmark = pytest.mark.oracle

FILTER = 'filter add dev veth0 ingress pref 1 bpf bytecode "1,6 0 0 1"'
SENT = re.compile(r"nlmsg_type=RTM_NEWTFILTER, nlmsg_flags=([A-Z_|0-9x]+),.*?tcm_handle=(.*?)TCA_OPTIONS\}, (.*?)\]\]")
GACT = r"\x67\x61\x63\x74"
ACTIONS = (
    "action ok",
    "action drop",
    "a pass",
    "action gact reclassify",
    "action continue",
    "action pipe action drop",
    "action pipe drop",
    "action goto chain 7",
    "action jump 3",
    "action trap index 5",
    "action gact index 5",
    "action drop random determ ok 3",
    "action drop random netrand continue 10000 index 2",
    "action ok cookie a1b2c3",
    "action ok cookie a1b2 action drop",
    "action ok hw_stats disabled",
    "action ok hw_stats imm no_percpu skip_sw skip_hw",
    "action ok skip_hw",
    "classid 1:1 action drop",
    "flowid 1:2 skip_hw action drop",
    "da action ok",
)
WRONG = (
    "action",
    "action gact",
    "action goto chain",
    "action jump x",
    "action drop random",
    "action drop random often ok 1",
    "action drop random determ ok 10001",
    "action drop index x",
    "action drop cookie abc",
    "action drop hw_stats never",
    "action ok action",
    "action ok da",
)
FOREIGN = (
    "tc filter add dev veth0 ingress pref 1 handle 1 bpf obj legacy_pin2.bpf.o action mirred egress redirect dev peer0",
    "tc filter add dev veth0 ingress pref 2 bpf obj legacy_tail_pinned.bpf.o sec classifier v flowid 1:1 "
    "action mirred ingress mirror dev peer0",
    "tc filter add dev veth0 egress bpf obj legacy_pin2.bpf.o sec nosuch action mirred egress mirror dev peer0",
    "tc filter add dev veth0 egress bpf obj legacy_pin2.bpf.o action mirred egress mirror dev nosuch0",
)


@pytest.fixture
def clsact() -> Iterator[None]:
    """Make an interface that takes filters."""
    subprocess.run(["ip", "link", "add", DEVICE, "type", "veth", "peer", "name", PEER], check=True)
    subprocess.run(["tc", "qdisc", "add", "dev", DEVICE, "clsact"], check=True)
    yield
    subprocess.run(["ip", "link", "del", DEVICE], check=True)


def sent(argv: Sequence[str], batch: Path, out: Path) -> list[tuple[str, ...]]:
    """Run a batch file to its end; return each filter that the kernel was asked for."""
    strace = [str(tool("strace")), "-f", "-qq", "-xx", "-s", "8192", "-e", "trace=sendmsg,sendto", "-o", str(out)]
    subprocess.run([*strace, *argv, "-force", "-batch", str(batch)], cwd=ROOT, capture_output=True, check=False)
    return [match.groups() for match in SENT.finditer(out.read_text())]


def test_kernel_gets_what_the_real_tc_sends(clsact: None, tmp_path: Path) -> None:
    batch = tmp_path / "batch"
    batch.write_text("".join(f"{FILTER} {words}\n" for words in ACTIONS))
    theirs = sent(["tc"], batch, tmp_path / "theirs")
    ours = sent([sys.executable, "-m", "xdploaderd.cli.main", "tc", "--direct"], batch, tmp_path / "ours")
    assert [GACT in options for *_, options in theirs] == [True] * len(ACTIONS)
    assert ours == theirs


@pytest.mark.parametrize("words", WRONG)
def test_wrong_words_have_the_status_of_the_real_tc(words: str) -> None:
    lines = ["tc qdisc add dev veth0 clsact", f"tc {FILTER} {words}"]
    theirs, ours = run_lines(lines, {}), run_lines(lines, OURS)
    assert theirs[1].status in (1, 255)
    assert ours == theirs


def nameless(filters: Any) -> Any:
    """Return filters without their names: the pin's is told, not the object's."""
    if isinstance(filters, list):
        return [nameless(item) for item in filters]
    if isinstance(filters, dict):
        return {key: nameless(item) for key, item in filters.items() if key != "bpf_name"}
    return filters


@pytest.mark.parametrize("line", FOREIGN)
def test_legacy_object_has_actions_that_only_the_real_tc_knows(line: str) -> None:
    lines = ["tc qdisc add dev veth0 clsact", line]
    theirs = run_lines(lines, {"tc": [str(legacy_tc())]}, names=False)
    ours = run_lines(lines, OURS, names=False)
    assert [step.status for step in ours] == [step.status for step in theirs]
    assert nameless([step.filters for step in ours]) == nameless([step.filters for step in theirs])
    if theirs[1].status:
        assert ours[1].tree == ()
    else:
        assert ours[1].tree == theirs[1].tree
