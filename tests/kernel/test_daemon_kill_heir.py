"""A daemon that is killed while one entry takes the hook of another, which may be wanted again at the next start."""

import json
from collections.abc import Mapping

import pytest

from tests.campaigns.machine.core import Core
from tests.support.daemon import OBJECTS, OWN_PINS, tail_entry, tc_ids, xdp_entry, xdp_id
from xdploaderd.daemon.plan.status import State
from xdploaderd.daemon.service.requests import AttachRequest

pytestmark = pytest.mark.kernel

GLOB = {"name": "all", "match": {"name": "veth*"}, "hook": "xdp", "object": str(OBJECTS / "stamp.bpf.o"),
        "program": "stamp_xdp"}  # fmt: skip
EDGE = xdp_entry(object=OBJECTS / "stamp_v2.bpf.o", program="stamp_xdp")
MINE = {key: str(value) for key, value in xdp_entry("mine").items()}


def configure(core: Core, *entries: Mapping[str, object]) -> None:
    core.config.write_text(json.dumps({"attachments": entries}, default=str))


def states(core: Core) -> Mapping[str, State]:
    return {one.name: one.state for one in core.call(core.service.status()).attachments}


def test_runtime_entry_whose_heir_runs_when_the_daemon_is_killed_is_not_blamed_on_others(core: Core) -> None:
    configure(core, GLOB)
    core.start()
    core.call(core.service.attach_object(AttachRequest(entry=MINE)))
    before = xdp_id()
    core.kill_when(lambda: xdp_id() != before, core.service.detach("mine"))
    assert xdp_id() not in (0, before)
    core.start()
    assert (states(core), xdp_id()) == ({"mine": State.ATTACHED, "all": State.IDLE}, before)


def test_entry_that_is_back_in_the_file_takes_the_hook_from_the_one_that_replaced_it(core: Core) -> None:
    configure(core, xdp_entry(), tail_entry())
    core.start()
    before = xdp_id(), tc_ids()
    configure(core, xdp_entry("edge2"), tail_entry("tail2"))
    core.kill_when(lambda: xdp_id() != before[0] and tc_ids() != before[1], core.service.reload())
    configure(core, xdp_entry(), tail_entry())
    core.start()
    assert (states(core), (xdp_id(), tc_ids())) == ({"edge": State.ATTACHED, "tail": State.ATTACHED}, before)


def test_hook_of_a_glob_keeps_its_program_while_the_exact_entry_is_repaired(core: Core) -> None:
    configure(core, GLOB)
    core.start()
    before = xdp_id()
    configure(core, GLOB, EDGE)
    core.kill_when((OWN_PINS / "edge/prog_new").exists, core.service.reload())
    assert xdp_id() == before
    seen = set()

    def look() -> bool:
        seen.add(xdp_id())
        return False

    with core.writes.ending_when(look):
        core.start()
    assert seen <= {before, xdp_id()}
    assert states(core) == {"edge": State.ATTACHED, "all": State.IDLE}
