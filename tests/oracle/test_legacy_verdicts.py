"""Every legacy object through iproute2's own loader and through us: same pins, maps, slots, tags, and same verdict."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sandbox
from tests.support.old_loaders import Outcome, by_iproute2, by_us, device
from xdploaderd.hooks import Hook

pytestmark = pytest.mark.oracle

OBJECTS = Path(__file__).parents[1] / "bpf"
TC, XDP = Hook.TC_INGRESS, Hook.XDP


def builds(name: str, hook: Hook, *sections: str) -> list[tuple[str, Hook, str]]:
    return [(f"{name}{build}", hook, section) for build in ("", "_btf", "_clang16") for section in sections]


TAKEN = [
    *[(f"legacy_pin{n}{b}", hook, section) for n, b in ((0, ""), (2, ""), (2, "_btf"), (9, ""))
      for hook, section in ((TC, "classifier"), (XDP, "prog"))],
    *[(f"legacy_small_{size}", XDP, "prog") for size in (16, 20, 24, 28, 32, 36)],
    ("demo_tc_legacy", TC, "ingress"),
    ("demo_tc_legacy", TC, "egress"),
    ("legacy_mim", TC, "classifier"),
    ("legacy_tail", TC, "classifier"),
    ("legacy_tail_pinned", TC, "classifier"),
    ("legacy_annotated", TC, "classifier"),
    ("legacy_notype", TC, "classifier"),
    ("legacy_notype", XDP, "prog"),
    ("legacy_own_static", TC, "classifier"),
    ("legacy_own_static_map", TC, "classifier"),
    ("legacy_own_static_btf", TC, "classifier"),
    ("legacy_tutorial_28", XDP, "xdp_lpm"),
    ("legacy_tutorial_28_btf", XDP, "xdp_lpm"),
    *builds("legacy_tutorial", XDP, "xdp_pass", "xdp_drop", "xdp_lpm", "xdp_redirect_map"),
    *builds("legacy_calls", TC, "classifier"),
    *builds("legacy_cyclic", TC, "classifier"),
    *builds("legacy_graft", TC, "classifier", "aaa"),
    *builds("legacy_shared", TC, "egress", "ingress"),
    *builds("legacy_nested", TC, "egress", "ingress"),
    *builds("legacy_endpoint", TC, "from-container", "to-netdev"),
    *builds("legacy_subprogs", TC, "classifier"),
    *builds("legacy_devmap", XDP, "prog"),
]  # fmt: skip
REFUSED = [
    ("legacy_small_12", XDP, "prog"),
    ("legacy_badkey", TC, "classifier"),
    ("invalid_legacy_static", TC, "classifier"),
    ("big_endian", XDP, "xdp"),
    ("legacy_pin2", TC, "nosuch"),
    ("legacy_pin2", TC, "license"),
    ("legacy_pin2", TC, "maps"),
    *builds("legacy_old20", XDP, "prog"),
    *builds("legacy_two", TC, "classifier"),
]

REFUSED_IN_VAIN = [
    ("legacy_globals", TC, "classifier", "classifier"),
    ("legacy_small_40", XDP, "prog", "prog"),
    ("legacy_pin1", XDP, "prog", "prog"),  # where the kernel has no AF_ALG
    *[(name, hook, section, section) for name, hook, section in builds("legacy_static_first", XDP, "prog")],
    *[(name, hook, section, "count_frames") for name, hook, section in builds("legacy_goebpf", XDP, "xdp")],
    *[(name, hook, section, "two") for name, hook, section in builds("legacy_two", TC, "classifier")],
]


@pytest.fixture(autouse=True)
def _device() -> Iterator[None]:
    with device():
        yield
    sandbox.clear_pins()


def outcomes(name: str, hook: Hook, section: str) -> tuple[Outcome, Outcome]:
    """Return theirs and ours, each starting without pins."""
    path = OBJECTS / f"{name}.bpf.o"
    theirs = by_iproute2(path, hook, section)
    sandbox.clear_pins()
    return theirs, by_us(path, hook, section)


@pytest.mark.parametrize(("name", "hook", "section"), TAKEN)
def test_object_that_iproute2_takes_is_loaded_to_the_same(name: str, hook: Hook, section: str) -> None:
    theirs, ours = outcomes(name, hook, section)
    assert theirs.accepted, theirs.why
    assert ours.accepted, ours.why
    assert ours == theirs


@pytest.mark.parametrize(("name", "hook", "section"), REFUSED)
def test_object_that_iproute2_refuses_is_refused_and_leaves_no_pin(name: str, hook: Hook, section: str) -> None:
    theirs, ours = outcomes(name, hook, section)
    assert not theirs.accepted
    assert not ours.accepted
    assert not any(Path(path).is_file() for path in sandbox.pin_tree() if not path.endswith(".debug"))


@pytest.mark.parametrize(("name", "hook", "section", "program"), REFUSED_IN_VAIN)
def test_object_that_iproute2_refuses_in_vain_is_loaded(name: str, hook: Hook, section: str, program: str) -> None:
    path = OBJECTS / f"{name}.bpf.o"
    if name != "legacy_pin1":
        assert not by_iproute2(path, hook, section).accepted
    sandbox.clear_pins()
    ours = by_us(path, hook, program)
    assert ours.accepted, ours.why


def test_tail_section_that_is_attached_itself_has_its_slot_too() -> None:
    theirs, ours = outcomes("legacy_cyclic", TC, "0xabccba/0")
    array = "/sys/fs/bpf/tc/globals/jmp_loop"
    assert (theirs.tag, theirs.maps) == (ours.tag, ours.maps)
    assert dict(theirs.pins[array].slots) == {}
    assert dict(ours.pins[array].slots) == {"0x000x000x000x00": ours.tag}
