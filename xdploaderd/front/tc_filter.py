"""`tc filter add|replace|change|del ... bpf` carried out over netlink: the object is loaded, then the filter set.

Mirrors tc_filter_modify of iproute2 tc/tc_filter.c; but a load whose filter is refused leaves no pin.
"""

import errno
from dataclasses import replace
from pathlib import Path

from xdploaderd.errors import AttachError
from xdploaderd.front.bpfspec import BpfMode, BpfSpec, annotation
from xdploaderd.front.bytecode import parse_bytecode, read_bytecode
from xdploaderd.front.load import Say, load_for_hook
from xdploaderd.front.map_export import send_maps
from xdploaderd.front.tc_filter_words import FilterCommand, FilterVerb, is_classic
from xdploaderd.front.tc_words import ETH_P_ALL
from xdploaderd.info import Interface
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.net import messages
from xdploaderd.net.request import request
from xdploaderd.net.tc_messages import SKIP_SW, TC_H_MIN_EGRESS, BpfFilter, FilterPlace, pack_bpf, pack_place
from xdploaderd.uapi.bpf import Ifindex

_REQUESTS = {
    FilterVerb.ADD: (messages.RTM_NEWTFILTER, messages.NLM_F_CREATE | messages.NLM_F_EXCL),
    FilterVerb.CHANGE: (messages.RTM_NEWTFILTER, 0),
    FilterVerb.REPLACE: (messages.RTM_NEWTFILTER, messages.NLM_F_CREATE),
    FilterVerb.DELETE: (messages.RTM_DELTFILTER, 0),
}
_GONE = (errno.ENODEV, errno.EINVAL, errno.ENOENT)  # how the kernel names a qdisc that is not there
_MAKING = (FilterVerb.ADD, FilterVerb.REPLACE)


def place_of(command: FilterCommand, device: Interface | None) -> FilterPlace:
    """Return where the filter of a command is; zeros are the kernel's to choose."""
    protocol = ETH_P_ALL if command.verb in _MAKING else 0
    return command.place.at(device.index if device else 0, protocol=protocol, handle=command.handle)


def change_filter(command: FilterCommand, place: FilterPlace, bpf: Bpf, *, say: Say) -> None:
    """Load what the command names, and set or remove the filter; raises LoaderError, then nothing is changed.

    Maps go to the command's socket before the filter is there: nobody listens, no filter.
    """
    options = command.options
    if options is None:
        _send(command, place, None)
        return
    wanted = BpfFilter(
        classid=options.classid, actions=options.actions, flags=options.flags, flags_gen=options.flags_gen
    )
    spec = options.spec
    if spec is None or command.verb is FilterVerb.DELETE:
        _send(command, place, wanted)
    elif is_classic(spec):
        _send(command, place, replace(wanted, ops=_classic(spec)))
    else:
        _refuse_lost_egress(place)
        device = place.ifindex if options.flags_gen & SKIP_SW else 0  # whose hardware is to run the program
        with load_for_hook(spec, bpf, say=say, ifindex=device) as program:
            if spec.export and spec.mode is BpfMode.OBJECT and program.loaded:
                send_maps(spec.export, program.loaded.maps, spec.operand)
            _send(command, place, replace(wanted, fd=program.fd.fileno(), name=annotation(spec)))


def _send(command: FilterCommand, place: FilterPlace, options: BpfFilter | None) -> None:
    kind, flags = _REQUESTS[command.verb]
    request(kind, pack_place(place, command.kind, pack_bpf(options) if options else None), flags)


def _classic(spec: BpfSpec) -> bytes:
    text = read_bytecode(Path(spec.operand)) if spec.mode is BpfMode.BYTECODE_FILE else spec.operand
    return parse_bytecode(text)


def _refuse_lost_egress(place: FilterPlace) -> None:
    """Refuse egress where only the ingress qdisc is: the kernel would put the filter among those of ingress."""
    if place.parent == TC_H_MIN_EGRESS and place.ifindex > 0 and qdisc_kind(place.ifindex) == "ingress":
        raise AttachError("the interface has the qdisc 'ingress', which knows no egress, want 'clsact'")


def qdisc_kind(ifindex: int) -> str:
    """Return what holds the place of clsact: its kind, empty for nothing."""
    try:
        found = request(messages.RTM_GETQDISC, messages.pack_qdisc_get(Ifindex(ifindex)), messages.NLM_F_ECHO)
    except AttachError as error:
        if error.errno in _GONE:
            return ""
        raise
    return messages.parse_qdisc_kind(found[0].payload) if found else ""
