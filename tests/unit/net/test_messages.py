"""Rtnetlink bytes: what a kernel sent, and what none should."""

import struct

import pytest

from xdploaderd.hooks import Hook, XdpMode
from xdploaderd.net import messages
from xdploaderd.net.messages import Message


def _attr(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _link(*attrs: bytes) -> memoryview:
    return memoryview(struct.pack("=BxHiII", 0, 1, 7, 1, 0) + b"".join(attrs))


def _filter(kind: bytes, *options: bytes, handle: int = 1) -> memoryview:
    head = struct.pack("=BxxxiIII", 0, 7, handle, 0xFFFFFFF2, 50 << 16 | 0x0300)
    return memoryview(head + _attr(1, kind + b"\0") + _attr(2, b"".join(options)))


def test_two_slots_of_xdp_are_both_told() -> None:
    nest = _attr(2, b"\4") + _attr(5, struct.pack("=I", 11)) + _attr(7, struct.pack("=I", 12))
    link = messages.parse_link(_link(_attr(3, b"eth0\0"), _attr(43 | 0x8000, nest)))
    assert (link.index, link.name, link.up) == (7, "eth0", True)
    assert link.xdp == ((XdpMode.NATIVE, 11), (XdpMode.OFFLOAD, 12))


def test_kernel_without_ids_by_slot_tells_the_mode_by_attached() -> None:
    nest = _attr(2, b"\2") + _attr(4, struct.pack("=I", 11))
    assert messages.parse_link(_link(_attr(43, nest))).xdp == ((XdpMode.SKB, 11),)


def test_name_that_is_no_utf8_stays_readable() -> None:
    assert messages.parse_link(_link(_attr(3, b"eth\xff\0"))).name == "eth\\xff"


def test_filter_has_the_program_id_and_its_place() -> None:
    options = [_attr(7, b"a.o:[tc]\0"), _attr(8, struct.pack("=I", 1)), _attr(10, bytes(8)), _attr(11, b"\5\0\0\0")]
    bpf = messages.parse_filter(_filter(b"bpf", *options), Hook.TC_INGRESS).bpf
    assert bpf is not None
    assert (bpf.prog_id, bpf.priority, bpf.handle, bpf.protocol) == (5, 50, 1, 3)
    assert (bpf.name, bpf.tag, bpf.direct_action) == ("a.o:[tc]", "0" * 16, True)


def test_priority_header_and_other_kinds_are_no_bpf_filters() -> None:
    assert messages.parse_filter(_filter(b"bpf", handle=0), Hook.TC_INGRESS).bpf is None
    assert messages.parse_filter(_filter(b"u32"), Hook.TC_INGRESS).bpf is None


@pytest.mark.parametrize("length", [0, 3, 15, 17, 1 << 31])
def test_message_length_that_does_not_fit_ends_the_walk(length: int) -> None:
    assert list(messages.parse_messages(struct.pack("=IHHII", length, 16, 0, 1, 0))) == []


@pytest.mark.parametrize("length", [0, 3, 9, 0xFFFF])
def test_attribute_length_that_does_not_fit_ends_the_walk(length: int) -> None:
    assert messages.parse_link(_link(struct.pack("=HH", length, 3) + b"eth0")).name == ""


def test_short_number_is_zero() -> None:
    assert messages.parse_link(_link(_attr(4, b"\1"))).mtu == 0


@pytest.mark.parametrize("capped", [False, True])
def test_kernels_text_is_found_behind_the_request(capped: bool) -> None:
    request = struct.pack("=IHHII", 32, 16, 0, 1, 0) + (b"" if capped else bytes(16))
    flags = messages.NLM_F_ACK_TLVS | (messages.NLM_F_CAPPED if capped else 0)
    payload = struct.pack("=i", -17) + request + _attr(1, b"because\0")
    message = Message(messages.NLMSG_ERROR, flags, 1, memoryview(payload))
    assert messages.parse_error(message.payload) == 17
    assert messages.parse_extack(message) == "because"


@pytest.mark.parametrize("payload", [b"", b"\1", struct.pack("=i", -17)])
def test_error_without_text(payload: bytes) -> None:
    message = Message(messages.NLMSG_ERROR, messages.NLM_F_ACK_TLVS, 1, memoryview(payload))
    assert messages.parse_extack(message) == ""


def test_long_name_is_asked_for_as_alternative_name() -> None:
    assert b"eth0\0" in messages.pack_link_get(name="eth0")
    assert struct.pack("=HH", 4 + 17, 53) in messages.pack_link_get(name="x" * 16)
