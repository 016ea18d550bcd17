"""A daemon that is killed in a reload, and started with the files as they are: all is as they say, nothing is left."""

import json
import socket
from collections.abc import Mapping

import pytest

from tests.campaigns.machine.core import Core
from tests.support.daemon import OBJECTS, OWN_PINS, xdp_id
from tests.support.netns import Veth, add_veth, ip
from tests.support.old_kernel import NEEDS_TCX
from tests.support.rawbpf import ATTACH_TCX_INGRESS, tcx_programs

pytestmark = pytest.mark.kernel


def configure(core: Core, *entries: Mapping[str, object]) -> None:
    core.config.write_text(json.dumps({"attachments": entries}))


def entry(name: str, hook: str, **fields: object) -> Mapping[str, object]:
    program = "stamp_xdp" if hook == "xdp" else "stamp_tc"
    made = {"name": name, "interface": "veth0", "hook": hook, "object": str(OBJECTS / "stamp.bpf.o")}
    return {**made, "program": program, **fields}


def ordered(one: str, two: str) -> tuple[Mapping[str, object], ...]:
    chosen = {"one": {"order": one}, "two": {"order": two}, "three": {}}
    return tuple(entry(name, "tc-ingress", attach="link", allow_gap=True, **more) for name, more in chosen.items())


@NEEDS_TCX
@pytest.mark.parametrize("moved", [False, True])
def test_order_that_a_killed_reload_did_not_bring_about_is_brought_about_by_the_start(
    core: Core, *, moved: bool
) -> None:
    index = socket.if_nametoindex("veth0")
    configure(core, *ordered("first", "last"))
    core.start()
    one, three, two = tcx_programs(index, ATTACH_TCX_INGRESS)
    configure(core, *ordered("last", "first"))
    there = (three, two, one) if moved else (one, three, two)
    pins = OWN_PINS / "one/link", OWN_PINS / "two/link"
    core.kill_when(
        lambda: tcx_programs(index, ATTACH_TCX_INGRESS) == there and all(pin.exists() for pin in pins),
        core.service.reload(),
    )
    assert tcx_programs(index, ATTACH_TCX_INGRESS) == there
    core.start()
    assert tcx_programs(index, ATTACH_TCX_INGRESS) == (two, three, one)
    assert not any(one.note for one in core.call(core.service.status()).attachments)


@NEEDS_TCX
def test_order_that_was_changed_before_a_kill_is_as_before_when_the_old_files_are_back(core: Core) -> None:
    index = socket.if_nametoindex("veth0")
    configure(core, *ordered("first", "last"))
    core.start()
    one, three, two = tcx_programs(index, ATTACH_TCX_INGRESS)
    configure(core, *ordered("last", "first"))
    link = OWN_PINS / "one/link"
    there = (three, two, one)
    core.kill_when(lambda: tcx_programs(index, ATTACH_TCX_INGRESS) == there and link.exists(), core.service.reload())
    assert tcx_programs(index, ATTACH_TCX_INGRESS) == there
    configure(core, *ordered("first", "last"))
    core.start()
    assert tcx_programs(index, ATTACH_TCX_INGRESS) == (one, three, two)


@NEEDS_TCX
def test_order_holds_on_an_interface_that_was_made_anew_after_a_kill(veth: Veth, core: Core) -> None:
    configure(core, *ordered("first", "last"))
    core.start()
    configure(core, *ordered("last", "first"))
    link = OWN_PINS / "one/link"
    core.kill_when(lambda: not link.exists(), core.service.reload())
    ip("link", "del", veth.name)
    add_veth(veth.name, veth.peer, veth.namespace)
    core.start()
    programs = {one.prog_id: one.name for one in core.call(core.service.status()).attachments}
    chain = tcx_programs(socket.if_nametoindex(veth.name), ATTACH_TCX_INGRESS)
    assert [programs[number] for number in chain] == ["two", "three", "one"]


def test_directory_of_pins_goes_although_a_kill_left_it_empty(core: Core) -> None:
    configure(core, entry("edge", "xdp"))
    core.start()
    configure(core)
    core.kill_when(lambda: OWN_PINS.is_dir() and not any(OWN_PINS.iterdir()), core.service.reload())
    assert OWN_PINS.is_dir()
    core.start()
    assert (xdp_id(), OWN_PINS.exists()) == (0, False)


def test_file_that_a_kill_left_half_written_is_removed(core: Core) -> None:
    configure(core, entry("edge", "xdp"))
    core.start()
    configure(core)
    core.kill_when((core.state / "records.new").exists, core.service.reload())
    assert (core.state / "records.new").exists()
    core.start()
    assert not list(core.state.glob("*.new"))
