"""`ip link show` where the real `ip` is missing, or with --direct: the lines and JSON keys that scripts read.

Mirrors print_linkinfo of iproute2 ip/ipaddress.c and xdp_dump of ip/iplink_xdp.c. Of what -d adds, only the details of
programs are shown.
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xdploaderd.errors import KernelError
from xdploaderd.front.ip_options import IpCommand
from xdploaderd.front.links import find_interface
from xdploaderd.front.words import Words, duplicate, refused
from xdploaderd.hooks import XdpMode
from xdploaderd.info import Interface
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.net import messages
from xdploaderd.net.messages import LinkMessage
from xdploaderd.net.request import dump
from xdploaderd.printable import printable, quoted
from xdploaderd.terminal import write_out
from xdploaderd.uapi.bpf import ProgId

_IFF_UP, _IFF_POINTOPOINT, _IFF_RUNNING = 0x1, 0x10, 0x40
_ADDRESS, _BROADCAST, _LINK, _QDISC, _MASTER, _TXQLEN = 1, 2, 5, 6, 10, 13
_OPERSTATE, _LINKMODE, _IFALIAS, _GROUP, _LINK_NETNSID = 16, 17, 20, 27, 37
_FLAGS = (  # in iproute2's order; IFF_RUNNING is told by NO-CARRIER
    ("LOOPBACK", 0x8), ("BROADCAST", 0x2), ("POINTOPOINT", 0x10), ("MULTICAST", 0x1000), ("NOARP", 0x80),
    ("ALLMULTI", 0x200), ("PROMISC", 0x100), ("MASTER", 0x400), ("SLAVE", 0x800), ("DEBUG", 0x4),
    ("DYNAMIC", 0x8000), ("AUTOMEDIA", 0x4000), ("PORTSEL", 0x2000), ("NOTRAILERS", 0x20), ("UP", 0x1),
    ("LOWER_UP", 0x10000), ("DORMANT", 0x20000), ("ECHO", 0x40000),
)  # fmt: skip
_OPERSTATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")
_LINKMODES = ("DEFAULT", "DORMANT")
_TYPES = {1: "ether", 512: "ppp", 768: "ipip", 769: "tunnel6", 772: "loopback", 776: "sit", 778: "gre", 65534: "none"}
_MODES = {XdpMode.NATIVE: 1, XdpMode.SKB: 2, XdpMode.OFFLOAD: 3}
_MULTI = 4  # XDP_ATTACHED_MULTI
_WORDS = {1: "xdp", 2: "xdpgeneric", 3: "xdpoffload", 4: "xdpmulti"}
_SUFFIXES = {1: "drv", 2: "generic", 3: "offload"}
_ORDER = (XdpMode.SKB, XdpMode.NATIVE, XdpMode.OFFLOAD)

Row = dict[str, Any]


def show(command: IpCommand, words: Sequence[str], bpf: Bpf) -> None:
    """Print all interfaces, or the one that is named; `up`: those that are up. Raises UsageError, AttachError."""
    name, only_up = _parse(Words(words))
    wanted = find_interface(name).index if name else 0
    links = [messages.parse_link_message(m.payload) for m in dump(messages.RTM_GETLINK, messages.pack_link_dump())]
    known = {link.index: link for link in links}
    rows = [
        _row(link, known, bpf, details="-details" in command.named)
        for link in links
        if (not wanted or link.index == wanted) and (not only_up or link.flags & _IFF_UP)
    ]
    if "-json" in command.named:
        write_out(json.dumps(rows, indent=4 if "-pretty" in command.named else None))
    elif rows:
        write_out("\n".join(line for row in rows for line in _lines(row)))


def _parse(words: Words) -> tuple[str, bool]:
    name, only_up = "", False
    while words:
        if words.accept_exact("up"):
            only_up = True
            continue
        words.accept_exact("dev")
        word = words.take()
        if name:
            raise duplicate("dev", word)
        if word in ("type", "master", "vrf", "group", "nomaster"):
            raise refused(f"{quoted(word)} is for the real 'ip' to do, want [dev] DEV or up")
        name = word
    return name, only_up


def _row(link: LinkMessage, known: Mapping[int, LinkMessage], bpf: Bpf, *, details: bool) -> Row:
    """Return what is shown of one interface, in the order and under the names of iproute2's JSON."""
    interface = messages.parse_link(link.payload)
    row: Row = {"ifindex": link.index, **_peer(link, known), "ifname": interface.name}
    row["flags"] = list(_flag_names(link, known))
    row["mtu"] = interface.mtu
    if interface.xdp:
        row["xdp"] = _xdp(interface, bpf, details=details)
    row["qdisc"] = link.text(_QDISC)
    if master := known.get(link.number(_MASTER)):
        row["master"] = messages.parse_link(master.payload).name
    row["operstate"] = _name_in(_OPERSTATES, link.number(_OPERSTATE))
    row["linkmode"] = _name_in(_LINKMODES, link.number(_LINKMODE))
    row["group"] = "default" if link.number(_GROUP) == 0 else str(link.number(_GROUP))
    if length := link.number(_TXQLEN):
        row["txqlen"] = length
    row["link_type"] = _TYPES.get(link.type, f"[{link.type}]")
    row["address"] = interface.mac
    if _BROADCAST in link.attrs:
        row |= {"link_pointtopoint": True} if link.flags & _IFF_POINTOPOINT else {}
        row["broadcast"] = bytes(link.attrs[_BROADCAST]).hex(":")
    if _LINK_NETNSID in link.attrs:
        row["link_netnsid"] = struct.unpack("=i", link.attrs[_LINK_NETNSID])[0]
    if alias := link.text(_IFALIAS):
        row["ifalias"] = alias
    return row


def _peer(link: LinkMessage, known: Mapping[int, LinkMessage]) -> Row:
    if _LINK not in link.attrs:
        return {}
    index = link.number(_LINK)
    if not index:
        return {"link": None}
    if _LINK_NETNSID in link.attrs or index not in known:
        return {"link_index": index}
    return {"link": messages.parse_link(known[index].payload).name}


def _flag_names(link: LinkMessage, known: Mapping[int, LinkMessage]) -> Iterator[str]:
    if link.flags & _IFF_UP and not link.flags & _IFF_RUNNING:
        yield "NO-CARRIER"
    left = link.flags & ~_IFF_RUNNING
    for name, bit in _FLAGS:
        if left & bit:
            yield name
            left &= ~bit
    if left:
        yield f"{left:x}"
    lower = known.get(link.number(_LINK)) if _LINK_NETNSID not in link.attrs else None
    if lower and not lower.flags & _IFF_UP:
        yield "M-DOWN"


def _xdp(interface: Interface, bpf: Bpf, *, details: bool) -> Row:
    slots = [(mode, prog_id) for wanted in _ORDER for mode, prog_id in interface.xdp if mode is wanted]
    attached = [{"mode": _MODES[mode], "prog": _program(prog_id, bpf, details=details)} for mode, prog_id in slots]
    if len(attached) == 1:
        return {**attached[0], "attached": attached}
    return {"mode": _MULTI, "attached": attached}


def _program(prog_id: ProgId, bpf: Bpf, *, details: bool) -> Row:
    """Return what is told of a program; its id alone where CAP_SYS_ADMIN is missing to look at it."""
    try:
        with bpf.prog_by_id(prog_id) as fd:
            info = bpf.prog_info(fd)
    except KernelError:
        return {"id": prog_id}
    row: Row = {"id": prog_id, "name": info.name, "tag": info.tag, "jited": int(info.jited)}
    if details:
        row |= {"load_time": info.load_time_ns, "created_by_uid": info.created_by_uid}
        row |= {"btf_id": info.btf_id} if info.btf_id else {}
    return row


def _name_in(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else str(number)


def _lines(row: Row) -> Iterator[str]:
    """Yield the lines of one interface as `ip` prints them, spaces at their ends included."""
    peer = f"@if{row['link_index']}" if "link_index" in row else f"@{row['link'] or 'NONE'}" if "link" in row else ""
    xdp = f"{_WORDS[row['xdp']['mode']]} " if "xdp" in row else ""
    master = f"master {row['master']} " if "master" in row else ""
    queue = f"qlen {row['txqlen']}" if "txqlen" in row else ""
    yield printable(
        f"{row['ifindex']}: {row['ifname']}{peer}: <{','.join(row['flags'])}> mtu {row['mtu']} {xdp}"
        f"qdisc {row['qdisc']} {master}state {row['operstate']} mode {row['linkmode']} group {row['group']} {queue}"
    )
    brd = f" {'peer' if 'link_pointtopoint' in row else 'brd'} {row['broadcast']}" if "broadcast" in row else ""
    netns = f" link-netnsid {row['link_netnsid']}" if "link_netnsid" in row else ""
    yield f"    link/{row['link_type']} {row['address']}{brd}{netns}"
    if "ifalias" in row:
        yield f"    alias {row['ifalias']}"
    if "xdp" in row:
        yield from _xdp_lines(row["xdp"])


def _xdp_lines(xdp: Row) -> Iterator[str]:
    for slot in xdp["attached"]:
        suffix = _SUFFIXES[slot["mode"]] if xdp["mode"] == _MULTI else ""
        yield printable(f"    prog/xdp{suffix} {_program_text(slot['prog'])}")


def _program_text(prog: Row) -> str:
    text = f"id {prog['id']} "
    if "tag" in prog:
        text += f"name {prog['name']} tag {prog['tag']} " + ("jited " if prog["jited"] else "")
    if "load_time" in prog:
        text += f"load_time {prog['load_time']} created_by_uid {prog['created_by_uid']} "
        text += f"btf_id {prog['btf_id']} " if "btf_id" in prog else ""
    return text
