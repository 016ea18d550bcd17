"""Second pins of maps while a configuration is on trial: which maps have one, and what is restored (F18)."""

import errno
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest

from xdploaderd.daemon.pins import before_maps
from xdploaderd.daemon.pins.before_maps import BeforeMaps
from xdploaderd.errors import KernelError, PinError
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.uapi.bpf import MapId


class Pinned:
    """A descriptor of what a file stands for: its text is the id."""

    def __init__(self, path: PurePosixPath) -> None:
        self.id = int(Path(path).read_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass


def open_pin(_bpf: object, path: PurePosixPath, _kind: object) -> Pinned | None:
    if not Path(path).exists():
        return None
    if Path(path).read_text() == "program":
        raise PinError("no map")
    return Pinned(path)


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BeforeMaps:
    """The pins of `tmp_path`, for which plain files stand."""
    bpf = SimpleNamespace(
        map_info=lambda found: SimpleNamespace(id=found.id),
        obj_pin=lambda found, path: Path(path).write_text(str(found.id)),
    )
    monkeypatch.setattr(before_maps, "open_pin", open_pin)
    monkeypatch.setattr(before_maps, "make_pin_dir", lambda path: Path(path).mkdir(parents=True, exist_ok=True))
    for name, text in (("a", "1"), ("b", "2"), ("foreign", "9"), ("prog", "program"), ("own/edge/maps_new/a", "3")):
        path = tmp_path / "tc" / name if name == "b" else tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    root = PurePosixPath(tmp_path)
    made = BeforeMaps(cast("Bpf", cast("Any", bpf)), root, root / "own", root / "own/_before/_maps")
    made.keep({MapId(1), MapId(2), MapId(3)})
    return made


def second_pins(root: Path) -> list[str]:
    top = root / "own/_before/_maps"
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


def test_maps_of_old_programs_that_have_a_pin_get_a_second_one(tmp_path: Path, maps: BeforeMaps) -> None:
    assert second_pins(tmp_path) == ["a", "tc/b"]


def test_only_a_pin_that_another_map_took_is_restored(tmp_path: Path, maps: BeforeMaps) -> None:
    (tmp_path / "a").write_text("7")
    (tmp_path / "tc/b").unlink()  # somebody removed it: so it stays
    maps.restore()
    maps.restore()  # a crash came in between
    assert (tmp_path / "a").read_text() == "1"
    assert not (tmp_path / "tc/b").exists()
    assert second_pins(tmp_path) == ["tc/b"]


@pytest.mark.parametrize(("number", "refused"), [(errno.ENOMEM, True), (errno.EACCES, False)])
def test_map_that_cannot_be_opened_is_not_passed_over(
    maps: BeforeMaps, monkeypatch: pytest.MonkeyPatch, *, number: int, refused: bool
) -> None:
    def fail(*_given: object) -> None:
        raise KernelError("cannot open the pin", operation="BPF_OBJ_GET", errno=number)

    monkeypatch.setattr(before_maps, "open_pin", fail)
    with pytest.raises(KernelError) if refused else nullcontext():
        maps.keep({MapId(1)})


def test_second_pin_that_cannot_be_opened_ends_the_roll_back(
    tmp_path: Path, maps: BeforeMaps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(bpf: object, path: PurePosixPath, kind: object) -> Pinned | None:
        if "_before" in path.parts:
            raise KernelError("cannot open the pin", operation="BPF_OBJ_GET", errno=errno.EACCES)
        return open_pin(bpf, path, kind)

    (tmp_path / "a").write_text("7")
    monkeypatch.setattr(before_maps, "open_pin", fail)
    with pytest.raises(KernelError):
        maps.restore()
    monkeypatch.setattr(before_maps, "open_pin", open_pin)
    maps.restore()
    assert (tmp_path / "a").read_text() == "1"
