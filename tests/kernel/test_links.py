"""bpf_links of the running kernel: pinned ones outlive their maker, others end with their last descriptor."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import PurePosixPath

import pytest

from tests.builders.prepared import Pins, prepared, prog
from tests.support import sandbox
from tests.support.netns import Veth, ip, veth_pair
from xdploaderd.errors import KernelError, PinError
from xdploaderd.kernel.bpf import Bpf, ObjectKind
from xdploaderd.load.object import load
from xdploaderd.load.pins import open_pin, pin
from xdploaderd.uapi.bpf import AttachType, Ifindex

pytestmark = pytest.mark.kernel
PIN = PurePosixPath("/sys/fs/bpf/links/edge")


@pytest.fixture
def veth(_no_kernel_leak: None) -> Iterator[Veth]:
    with veth_pair() as pair:
        yield pair
    sandbox.clear_pins()


def index_of(veth: Veth) -> Ifindex:
    return Ifindex(int(ip("-o", "link", "show", veth.name).split(":")[0]))


def attached(veth: Veth) -> bool:
    return "prog/xdp" in ip("link", "show", veth.name)


def test_pinned_link_outlives_its_descriptor_and_is_opened_again(veth: Veth) -> None:
    bpf = Bpf()
    with load(prepared([prog()]), bpf, Pins()) as loaded:
        with bpf.link_create(loaded.programs["xdp_pass"], index_of(veth), AttachType.XDP) as link, ExitStack() as undo:
            assert pin(bpf, link, PIN, undo)
            undo.pop_all()
        assert attached(veth)
        found = open_pin(bpf, PIN, ObjectKind.LINK)
        assert found is not None
        with found:
            assert bpf.link_info(found).prog_id == loaded.infos["xdp_pass"].id
        with pytest.raises(PinError, match="is a pinned link, wanted a pinned map"):
            open_pin(bpf, PIN, ObjectKind.MAP)
    sandbox.clear_pins()
    assert not attached(veth)


def test_link_that_is_not_pinned_detaches_when_it_is_closed(veth: Veth) -> None:
    bpf = Bpf()
    with load(prepared([prog()]), bpf, Pins()) as loaded:
        with bpf.link_create(loaded.programs["xdp_pass"], index_of(veth), AttachType.XDP):
            assert attached(veth)
        assert not attached(veth)


def test_refusals_of_links_are_told_apart(veth: Veth) -> None:
    bpf = Bpf()
    with load(prepared([prog("one"), prog("two"), prog("three")]), bpf, Pins()) as loaded:
        one, two, three = (loaded.programs[name] for name in ("one", "two", "three"))
        with bpf.link_create(one, index_of(veth), AttachType.XDP) as link:
            with pytest.raises(KernelError, match="EBUSY"):
                bpf.link_create(two, index_of(veth), AttachType.XDP)
            with pytest.raises(KernelError, match="EPERM"):
                bpf.link_update(link, two, expected=three)
            bpf.link_update(link, two, expected=one)
            assert bpf.link_info(link).prog_id == loaded.infos["two"].id
            bpf.link_detach(link)
            with pytest.raises(KernelError, match="ENOLINK"):
                bpf.link_update(link, one)
