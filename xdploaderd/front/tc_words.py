"""Values of tc's command line, read and written as it has them: numbers, class ids, protocols.

Mirrors get_u32 of iproute2 lib/utils.c, get_tc_classid and print_tc_classid of tc/tc_util.c, and lib/ll_proto.c;
numbers of protocols are those of include/uapi/linux/if_ether.h.
"""

import re

from xdploaderd.net.tc_messages import TC_H_ROOT

U16_MAX, U32_MAX = 0xFFFF, 0xFFFFFFFF
_C_NUMBER = re.compile(r"[ \t]*\+?(?:0[xX](?P<hex>[0-9a-fA-F]{1,32})|0(?P<oct>[0-7]{0,32})|(?P<dec>[1-9][0-9]{0,31}))")
_CLASSID = re.compile(r"(?:0[xX])?(?P<major>[0-9a-fA-F]{0,8})(?P<colon>:)?(?:0[xX])?(?P<minor>[0-9a-fA-F]{0,8})")

ETH_P_ALL = 3
_PROTOCOLS: dict[str, int] = {  # the first name of a number is the one that is shown
    "loop": 0x60,
    "pup": 0x200,
    "pupat": 0x201,
    "ip": 0x800,
    "x25": 0x805,
    "arp": 0x806,
    "bpq": 0x8FF,
    "ieeepup": 0xA00,
    "ieeepupat": 0xA01,
    "dec": 0x6000,
    "dna_dl": 0x6001,
    "dna_rc": 0x6002,
    "dna_rt": 0x6003,
    "lat": 0x6004,
    "diag": 0x6005,
    "cust": 0x6006,
    "sca": 0x6007,
    "teb": 0x6558,
    "rarp": 0x8035,
    "atalk": 0x809B,
    "aarp": 0x80F3,
    "ipx": 0x8137,
    "ipv6": 0x86DD,
    "mpls_uc": 0x8847,
    "mpls_mc": 0x8848,
    "atmmpoa": 0x884C,
    "ppp_disc": 0x8863,
    "ppp_ses": 0x8864,
    "atmfate": 0x8884,
    "profinet": 0x8892,
    "aoe": 0x88A2,
    "ethercat": 0x88A4,
    "802.1ad": 0x88A8,
    "tipc": 0x88CA,
    "802_3": 1,
    "ax25": 2,
    "all": ETH_P_ALL,
    "802_2": 4,
    "snap": 5,
    "ddcmp": 6,
    "wan_ppp": 7,
    "ppp_mp": 8,
    "localtalk": 9,
    "can": 0xC,
    "ppptalk": 0x10,
    "tr_802_2": 0x11,
    "mobitex": 0x15,
    "control": 0x16,
    "irda": 0x17,
    "econet": 0x18,
    "802.1q": 0x8100,
    "lldp": 0x88CC,
    "ipv4": 0x800,
}
_SHOWN = {"802.1q": "802.1Q", "lldp": "LLDP"}
_NAMES = {number: _SHOWN.get(name, name) for name, number in reversed(_PROTOCOLS.items())}


def parse_number(word: str, limit: int) -> int | None:
    """Return a number as strtoul(3) of base 0 reads it; None when it is none or larger than the limit."""
    match = _C_NUMBER.fullmatch(word)
    if match is None:
        return None
    if match["hex"]:
        value = int(match["hex"], 16)
    else:
        value = int(match["dec"]) if match["dec"] else int(match["oct"] or "0", 8)
    return value if value <= limit else None


def parse_classid(word: str) -> int | None:
    """Return a class id: `root`, `none`, MAJOR:MINOR or one number, all hexadecimal; None when it is none."""
    if word in ("root", "none"):
        return TC_H_ROOT if word == "root" else 0
    match = _CLASSID.fullmatch(word)
    if match is None or not (match["major"] or match["colon"]) or (match["minor"] and not match["colon"]):
        return None
    major, minor = int(match["major"] or "0", 16), int(match["minor"] or "0", 16)
    if not match["colon"]:
        return major
    return major << 16 | minor if max(major, minor) <= U16_MAX else None


def classid_text(classid: int) -> str:
    """Return a class id as tc(8) shows it."""
    if classid in (0, TC_H_ROOT):
        return "root" if classid else "none"
    major, minor = classid >> 16, classid & U16_MAX
    return f"{major:x}:{minor:x}" if major and minor else f"{major:x}:" if major else f":{minor:x}"


def parse_protocol(word: str) -> int | None:
    """Return a protocol by name or number; None when it is none."""
    known = _PROTOCOLS.get(word.lower())
    return parse_number(word, U16_MAX) if known is None else known


def protocol_text(protocol: int) -> str:
    """Return a protocol as tc(8) shows it."""
    return _NAMES.get(protocol, f"[{protocol}]")
