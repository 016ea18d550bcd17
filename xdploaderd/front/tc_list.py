"""`tc filter show|get` and `tc qdisc show` where no tc(8) is there to print them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from xdploaderd.errors import AttachError
from xdploaderd.front.links import find_interface
from xdploaderd.front.tc_options import TcCommand
from xdploaderd.front.tc_place import PlaceWords, parse_handle, parse_place
from xdploaderd.front.tc_show import Shower, json_of, json_text, qdisc_fields
from xdploaderd.front.words import Words, refused
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.net import messages
from xdploaderd.net.request import dump, request
from xdploaderd.net.tc_messages import (
    FilterPlace,
    ShownFilter,
    pack_place,
    pack_qdisc_dump,
    parse_shown_filter,
    parse_shown_qdisc,
)
from xdploaderd.printable import quoted

Print = Callable[[str], None]
_FAILED = 1


def show_filters(words: Words, command: TcCommand, bpf: Bpf, out: Print) -> None:
    """Print the filters of the place that the words tell. Raises UsageError, NoSuchInterfaceError, AttachError."""
    place = _place(words)
    if place.block and not _has_block(place.block):
        raise refused(f"no qdisc has the block {place.block}", status=_FAILED)
    asked = place.at(find_interface(place.dev).index if place.dev else 0)
    _print(_dump_filters(asked), asked, command, bpf, out)


def get_filter(words: Words, command: TcCommand, bpf: Bpf, out: Print) -> None:
    """Print one filter, named in full. Raises as show_filters does."""
    place = parse_place(words)
    kind = words.take() if words else ""
    handle = parse_handle(place)
    named = {"protocol": place.protocol, "priority": place.priority, "parent": place.parent or place.block}
    for what, value in {**named, "kind": kind, "handle": handle, "dev or block": place.dev or place.block}.items():
        if not value:
            raise refused(f"a filter is got by its place in full, the {what} is missing")
    if words:
        raise refused(f"{quoted(words.take())} is no word of this command")
    asked = place.at(find_interface(place.dev).index if place.dev else 0, handle=handle)
    found = request(messages.RTM_GETTFILTER, pack_place(asked, kind), messages.NLM_F_ECHO)
    shown = [parse_shown_filter(answer.payload) for answer in found if answer.type == messages.RTM_NEWTFILTER]
    # only interface and block were filters of the printing: pref, protocol and parent are told again
    told = FilterPlace(ifindex=asked.ifindex, parent=asked.parent if place.block else 0)
    _print(shown[:1], told, command, bpf, out)


def show_qdiscs(words: Words, command: TcCommand, out: Print) -> None:
    """Print the qdiscs of one interface, or of all. Raises as show_filters does."""
    dev, only = "", False
    while words:
        if words.accept_exact("dev"):
            dev = words.take()
        elif words.accept_exact("clsact", "ingress"):
            only = True
        else:
            raise refused(f"{quoted(words.take())} is no word of this command")
    asked = find_interface(dev).index if dev else 0
    found = [parse_shown_qdisc(m.payload) for m in dump(messages.RTM_GETQDISC, pack_qdisc_dump(asked))]
    names = {} if asked else _names()
    rows = [
        qdisc_fields(qdisc, names, asked=asked)
        for qdisc in found
        if asked in (0, qdisc.ifindex) and (not only or qdisc.parent == messages.TC_H_INGRESS)
    ]
    _write(command, out, ["".join(f.text for f in row) for row in rows], [json_of(row) for row in rows])


def _place(words: Words) -> PlaceWords:
    place = parse_place(words)
    if words:
        raise refused(f"{quoted(words.take())} is no word of this command")
    return place


def _has_block(number: int) -> bool:
    qdiscs = (parse_shown_qdisc(m.payload) for m in dump(messages.RTM_GETQDISC, pack_qdisc_dump(0)))
    return any(number in (qdisc.ingress_block, qdisc.egress_block) for qdisc in qdiscs)


def _dump_filters(asked: FilterPlace) -> list[ShownFilter]:
    found = dump(messages.RTM_GETTFILTER, pack_place(asked))
    return [parse_shown_filter(message.payload) for message in found if message.type == messages.RTM_NEWTFILTER]


def _print(found: list[ShownFilter], asked: FilterPlace, command: TcCommand, bpf: Bpf, out: Print) -> None:
    unknown = {f.place.ifindex for f in found} - {asked.ifindex}
    shower = Shower(
        bpf=bpf,
        names=_names() if unknown else {},
        asked=replace(asked, handle=0),
        details="-details" in command.named,
    )
    _write(command, out, [shower.filter_text(f) for f in found], [shower.filter_json(f) for f in found])


def _write(command: TcCommand, out: Print, lines: list[str], values: list[Any]) -> None:
    if "-json" in command.named:
        out(json_text(values, pretty="-pretty" in command.named))
    elif lines:
        out("\n".join(lines))


def _names() -> Mapping[int, str]:
    try:
        links = dump(messages.RTM_GETLINK, messages.pack_link_dump())
    except AttachError:
        return {}
    found = [messages.parse_link(m.payload) for m in links if m.type == messages.RTM_NEWLINK]
    return {interface.index: interface.name for interface in found}
