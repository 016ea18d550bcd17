"""Names of BTF types as CO-RE compares them (libbpf relo_core.c, bpf_core_essential_name_len)."""

_SEPARATOR = "___"


def essential_name(name: str) -> str:
    """Return the part before the last `___` that has other characters on both sides; the whole name if there is none.

    `sk_buff___old` is the flavor `old` of `sk_buff`; `___x`, `x___` and `x____y` have no flavor.
    """
    at = name.rfind(_SEPARATOR)
    while at > 0:
        after = name[at + 3 : at + 4]
        if after and after != "_" and name[at - 1] != "_":
            return name[:at]
        at = name.rfind(_SEPARATOR, 0, at + 2)
    return name
