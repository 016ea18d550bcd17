#!/usr/bin/env python3
"""Print xdploaderd/uapi/bpf_enums.py from a kernel's BTF (include/uapi/linux/bpf.h as the kernel was built).

usage: bpftool -j btf dump file /sys/kernel/btf/vmlinux | tools/gen_uapi.py > xdploaderd/uapi/bpf_enums.py
"""

import json
import sys

WANTED = {
    "bpf_cmd": ("BpfCmd", "BPF_", "Commands of bpf(2)."),
    "bpf_map_type": ("MapType", "BPF_MAP_TYPE_", "Kinds of maps."),
    "bpf_prog_type": ("ProgType", "BPF_PROG_TYPE_", "Kinds of programs."),
    "bpf_attach_type": ("AttachType", "BPF_", "Where a program is meant to run: expected_attach_type."),
    "bpf_func_id": ("Helper", "BPF_FUNC_", "Functions of the kernel that programs call by number."),
}


def main() -> None:
    """Read bpftool's JSON on standard input and print the module."""
    enums = {t["name"]: t for t in json.load(sys.stdin)["types"] if t["kind"] == "ENUM" and t["name"] in WANTED}
    print('"""Enumerations of include/uapi/linux/bpf.h, written by tools/gen_uapi.py: do not edit."""\n')
    print("from enum import IntEnum")
    for c_name, (name, prefix, doc) in WANTED.items():
        print(f'\n\nclass {name}(IntEnum):\n    """{doc} enum {c_name}."""\n')
        seen: set[int] = set()
        for value in enums[c_name]["values"]:
            if value["name"].startswith("__") or value["val"] in seen:
                continue  # __MAX_*, and deprecated second names of one number
            seen.add(value["val"])
            print(f"    {value['name'].removeprefix(prefix)} = {value['val']}")


if __name__ == "__main__":
    main()
