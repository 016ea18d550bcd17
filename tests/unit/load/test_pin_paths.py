"""Where a map's pin goes when the object itself names a path."""

from pathlib import Path, PurePosixPath

import pytest

from xdploaderd.config.pinning import PinningConf
from xdploaderd.errors import PinError
from xdploaderd.load.pins import pin_path
from xdploaderd.obj.open import open_object
from xdploaderd.obj.spec import MapSpec

OBJECT = Path(__file__).parents[2] / "bpf" / "legacy_goebpf.bpf.o"
CONF = PinningConf(root=PurePosixPath("/run/bpf"))


def place(named: str) -> PurePosixPath | None:
    spec = MapSpec(
        name="m", kernel_name="m", type=2, key_size=4, value_size=8, max_entries=1, rule="goebpf", pin_path=named
    )
    return pin_path(CONF, open_object(OBJECT.read_bytes(), name=OBJECT.name), spec)


@pytest.mark.parametrize("named", ["/run/bpf/m", "/run/bpf/deep/er", "/run//bpf/m"])
def test_path_below_the_root_is_taken(named: str) -> None:
    assert place(named) == PurePosixPath(named)


@pytest.mark.parametrize("named", ["/sys/fs/bpf/m", "/run/bpf", "/run/bpf/../m", "/run/bpfm/x"])
def test_every_other_path_is_refused(named: str) -> None:
    with pytest.raises(PinError, match="want a path below '/run/bpf'"):
        place(named)


@pytest.mark.parametrize("named", ["/run/bpf/a\nb", "/run/bpf/a.b"])
def test_name_that_is_no_pin_name_is_refused(named: str) -> None:
    with pytest.raises(PinError, match="cannot be the name of a pin"):
        place(named)
