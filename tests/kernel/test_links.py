"""bpf_links of the running kernel: pinned ones outlive their maker, others end with their last descriptor."""

from contextlib import ExitStack
from pathlib import PurePosixPath

import pytest

from tests.builders.prepared import Pins, prepared, prog
from tests.support import sandbox
from tests.support.daemon import wait_for
from tests.support.netns import Veth, ip
from tests.support.old_kernel import skip_before
from xdploaderd.errors import KernelError, PinError
from xdploaderd.kernel.bpf import Answer, Bpf
from xdploaderd.kernel.fdinfo import ObjectKind
from xdploaderd.kernel.probes import probe
from xdploaderd.load.object import load
from xdploaderd.load.pins import open_pin, pin
from xdploaderd.uapi.bpf import AttachType, Feature, Ifindex, ProgType

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("pins_go")]
PIN = PurePosixPath("/sys/fs/bpf/links/edge")


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
    wait_for(lambda: not attached(veth), "the link goes with its pin")


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
            with pytest.raises(KernelError, match=r"another program or link is there.*EBUSY"):
                bpf.link_create(two, index_of(veth), AttachType.XDP)
            with pytest.raises(KernelError, match="EPERM"):
                bpf.link_update(link, two, expected=three)
            bpf.link_update(link, two, expected=one)
            assert bpf.link_info(link).prog_id == loaded.infos["two"].id
            bpf.link_detach(link)
            with pytest.raises(KernelError, match=r"the link was detached.*ENOLINK"):
                bpf.link_update(link, one)


def test_tcx_link_of_a_stale_revision_is_refused_and_leaves_what_was_there(veth: Veth) -> None:
    bpf, here = Bpf(), index_of(veth)
    if probe(bpf, Feature.TCX) is Answer.NO:
        skip_before("6.6", "TCX")
    programs = [prog("one", type_=ProgType.SCHED_CLS), prog("two", type_=ProgType.SCHED_CLS)]
    with load(prepared(programs), bpf, Pins()) as loaded:
        one, two = (loaded.programs[name] for name in ("one", "two"))
        with bpf.link_create(one, here, AttachType.TCX_INGRESS, revision=1) as link:
            with pytest.raises(KernelError, match=r"the programs there are no longer those of the expected.*ESTALE"):
                bpf.link_create(two, here, AttachType.TCX_INGRESS, revision=1)
            with pytest.raises(KernelError, match=r"that program is attached already.*EEXIST"):
                bpf.link_create(one, here, AttachType.TCX_INGRESS)
            assert bpf.link_info(link).prog_id == loaded.infos["one"].id
            with bpf.link_create(two, here, AttachType.TCX_INGRESS, revision=2):
                pass
        with pytest.raises(KernelError, match=r"there is no such interface.*ENODEV"):
            bpf.link_create(one, Ifindex(1 << 30), AttachType.TCX_INGRESS)
