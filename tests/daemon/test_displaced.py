"""What is written down of programs of others that gave way, and what is told of those that cannot come back."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.daemon.fake_world import FakeWorld
from xdploaderd.daemon.pins.displaced import DIRECTORY, Displaced
from xdploaderd.daemon.plan.world import Occupant, tc_occupant
from xdploaderd.errors import KernelError
from xdploaderd.hooks import Hook
from xdploaderd.info import Interface, TcFilter
from xdploaderd.uapi.bpf import Ifindex, ProgId

XDP = Occupant(FakeWorld("eth0").place("eth0"), ProgId(7), "theirs")
FILTER = TcFilter(
    ifindex=Ifindex(1),
    hook=Hook.TC_INGRESS,
    priority=7,
    handle=3,
    protocol=0x800,
    prog_id=ProgId(8),
    name="count:[x]",
    classid=0x10005,
)


def at_tc(**fields: Any) -> Occupant:
    values = {field: getattr(FILTER, field) for field in FILTER.__slots__}
    return tc_occupant(Interface(index=Ifindex(1), name="eth0"), TcFilter(**{**values, **fields}))


class Refusing:
    """A kernel that hands out no program."""

    def prog_by_id(self, _prog_id: ProgId) -> None:
        raise KernelError("operation not permitted", errno=1, operation="PROG_GET_FD_BY_ID")


def displaced(tmp_path: Path) -> Displaced:
    kernel: Any = Refusing()
    return Displaced(PurePosixPath(tmp_path / "_before"), kernel, tmp_path / "displaced", boot_id="boot")


@pytest.fixture
def on_trial(tmp_path: Path) -> None:
    (tmp_path / "_before").mkdir()


@pytest.mark.usefixtures("on_trial")
@pytest.mark.parametrize("met", [XDP, at_tc()])
def test_place_and_filter_are_as_they_were_after_a_restart(tmp_path: Path, met: Occupant) -> None:
    displaced(tmp_path).hold(met)
    (held,) = displaced(tmp_path).held()
    assert (held.met, held.met.filter) == (met, met.filter)
    assert "not permitted" in held.problem


@pytest.mark.usefixtures("on_trial")
def test_what_was_there_first_is_what_comes_back(tmp_path: Path) -> None:
    own = displaced(tmp_path)
    own.hold(at_tc())
    own.hold(at_tc(prog_id=ProgId(9)))
    assert [held.met.prog_id for held in own.held()] == [8]


def test_nothing_is_held_where_nothing_is_on_trial(tmp_path: Path) -> None:
    own = displaced(tmp_path)
    own.hold(XDP)
    assert (own.held(), own.lost()) == ((), ())


@pytest.mark.usefixtures("on_trial")
@pytest.mark.parametrize(
    ("met", "why"),
    [(XDP, "not permitted"), (at_tc(prog_id=None), "classic BPF"), (at_tc(plain=False), "actions or flags")],
)
def test_what_cannot_come_back_is_told_until_something_else_is_in_force(
    tmp_path: Path, met: Occupant, why: str
) -> None:
    own = displaced(tmp_path)
    own.hold(met)
    assert why in own.lost()[0]
    (tmp_path / "_before" / DIRECTORY).mkdir()
    own.drop()
    assert not (tmp_path / "_before" / DIRECTORY).exists()
    assert (own.held(), why in own.lost()[0]) == ((), True)
    own.acknowledge()
    assert own.lost() == ()


def test_damaged_file_counts_as_absent(tmp_path: Path) -> None:
    (tmp_path / "displaced").write_text("nonsense")
    assert displaced(tmp_path).held() == ()
