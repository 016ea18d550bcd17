"""A daemon that is killed while a change of kind or mode leaves a hook without a program: the next start fills it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.campaigns.machine.core import Clock, Core
from tests.support.daemon import OBJECTS, xdp_entry, xdp_id
from tests.support.netns import Veth
from tests.support.sandbox import clear_pins
from xdploaderd.daemon.status import State

pytestmark = pytest.mark.kernel

CHANGES = [
    ({"attach": "netlink"}, {"attach": "link"}),
    ({"attach": "link"}, {"attach": "netlink"}),
    ({"mode": "skb"}, {"mode": "native"}),
]


@pytest.fixture
def core(veth: Veth, tmp_path: Path) -> Iterator[Core]:
    """A daemon in this process, ended with the test and without pins then."""
    with closing(Core(tmp_path, Clock())) as made:
        try:
            yield made
        finally:
            made.end()
            clear_pins()


def configure(core: Core, fields: Mapping[str, str]) -> None:
    core.config.write_text(json.dumps({"attachments": [xdp_entry(**fields, allow_gap=True)]}, default=str))


@pytest.mark.parametrize("file", ["xdp_count.bpf.o", "xdp_count_v2.bpf.o"])
@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_program_is_back_after_a_kill_in_the_gap_and_nobody_else_is_blamed(
    core: Core, before: Mapping[str, str], after: Mapping[str, str], file: str
) -> None:
    configure(core, before)
    core.start()
    configure(core, {**after, "object": str(OBJECTS / file)})
    core.kill_when(lambda: xdp_id() == 0, core.service.reload())
    assert xdp_id() == 0
    core.start()
    (edge,) = core.call(core.service.status()).attachments
    assert (edge.state, edge.prog_id) == (State.ATTACHED, xdp_id())
