"""Programs of sections netkit/primary and netkit/peer on a pair of such devices."""

import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.loading import load_file
from tests.support.netns import ip
from tests.support.old_kernel import MAY_LACK_FEATURES, skip_before
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.load.object import LoadedObject
from xdploaderd.uapi.bpf import AttachType, Ifindex, ProgType

pytestmark = pytest.mark.kernel
NAME, PEER = "xdlnk0", "nk0"


@pytest.fixture
def pair(_no_kernel_leak: None) -> Iterator[Ifindex]:
    """Make a pair in the mode without link layer, bring both ends up, and give the index of the primary one."""
    command = ["ip", "link", "add", NAME, "type", "netkit"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if "Unknown device type" in done.stderr:
        if MAY_LACK_FEATURES:  # Debian builds them into its kernels
            skip_before("6.7", "netkit devices")
        pytest.skip("this kernel has no netkit devices (Linux 6.7, CONFIG_NETKIT)")
    assert done.returncode == 0, done.stderr
    try:
        for device in (NAME, PEER):
            ip("link", "set", device, "up")
        ip("addr", "add", "198.51.100.1/24", "dev", NAME)
        ip("addr", "add", "203.0.113.1/24", "dev", PEER)
        yield Ifindex(socket.if_nametoindex(NAME))
    finally:
        ip("link", "del", NAME)


def counted(bpf: Bpf, loaded: LoadedObject) -> tuple[int, int]:
    """Return how many frames passed and were dropped."""
    bss = next(found for found in loaded.maps.values() if found.spec.section == ".bss")
    offsets = loaded.prepared.spec.datasecs[".bss"].offsets
    raw = bpf.map_lookup(bss.fd, bytes(4), bss.info.value_size)
    assert raw is not None
    passed, dropped = (int(struct.unpack_from("=Q", raw, offsets[name])[0]) for name in ("passed", "dropped"))
    return passed, dropped


def send(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"x", (address, 9))


def test_programs_of_both_ends_see_what_their_end_sends(pair: Ifindex) -> None:
    bpf = Bpf()
    with load_file("std_netkit", bpf) as loaded:
        assert {info.type for info in loaded.infos.values()} == {ProgType.SCHED_CLS}
        programs = loaded.programs
        # Both programs are set up at the primary end: what the peer sends runs through the second one.
        with (
            bpf.link_create(programs["pass_out"], pair, AttachType.NETKIT_PRIMARY),
            bpf.link_create(programs["drop_out"], pair, AttachType.NETKIT_PEER),
        ):
            before = counted(bpf, loaded)
            send("198.51.100.2")
            send("203.0.113.2")
            assert all(now > then for now, then in zip(counted(bpf, loaded), before, strict=True))
        after = counted(bpf, loaded)
        send("198.51.100.2")
        assert counted(bpf, loaded) == after
