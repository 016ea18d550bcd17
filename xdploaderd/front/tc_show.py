"""What `tc filter show` and `tc qdisc show` print where there is no tc(8): bpf filters in full, others by their kind.

Mirrors print_filter of iproute2 tc/tc_filter.c, bpf_print_opt of tc/f_bpf.c, print_qdisc of tc/tc_qdisc.c and
bpf_dump_prog_info of lib/bpf_legacy.c; text and JSON are the same fields, told in the same order.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xdploaderd.errors import KernelError
from xdploaderd.front.bytecode import bytecode_text
from xdploaderd.front.tc_words import classid_text, protocol_text
from xdploaderd.info import ProgInfo
from xdploaderd.kernel.bpf import Bpf
from xdploaderd.net.tc_messages import (
    DIRECT_ACTION,
    IFINDEX_BLOCK,
    IN_HW,
    NOT_IN_HW,
    SKIP_HW,
    SKIP_SW,
    SOCK_FILTER,
    TC_H_MIN_EGRESS,
    TC_H_MIN_INGRESS,
    TC_H_ROOT,
    BpfFilter,
    FilterPlace,
    ShownFilter,
    ShownQdisc,
)
from xdploaderd.uapi.bpf import ProgId

_JSON_INDENT = 4
_DIRECTIONS = {TC_H_ROOT: "root", TC_H_MIN_INGRESS: "ingress", TC_H_MIN_EGRESS: "egress"}
_GEN_FLAGS = ((SKIP_HW, "skip_hw"), (SKIP_SW, "skip_sw"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing told: `text` as the text form has it, blank included; `key` and `value` of the JSON form."""

    text: str
    key: str = ""
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shower:
    """How to print: what was asked for is not told again; `names` are those of interfaces by index."""

    bpf: Bpf
    names: Mapping[int, str]
    asked: FilterPlace
    details: bool = False

    def filter_text(self, found: ShownFilter) -> str:
        """Return one line, the trailing blank included."""
        return "filter " + "".join(
            field.text for field in (*self._place(found.place, found.kind), *self._options(found))
        )

    def filter_json(self, found: ShownFilter) -> dict[str, Any]:
        """Return one object."""
        told = json_of(self._place(found.place, found.kind))
        return {**told, "options": json_of(self._options(found))} if found.has_options else told

    def _place(self, place: FilterPlace, kind: str) -> Iterator[Field]:
        asked = self.asked
        if place.ifindex == IFINDEX_BLOCK:
            if asked.ifindex != IFINDEX_BLOCK or asked.parent != place.parent:
                yield Field(text=f"block {place.parent} ", key="block", value=place.parent)
        else:
            yield from self._device(place)
        if place.protocol and place.protocol != asked.protocol:
            name = protocol_text(place.protocol)
            yield Field(text=f"protocol {name} ", key="protocol", value=name)
        if place.priority and place.priority != asked.priority:
            yield Field(text=f"pref {place.priority} ", key="pref", value=place.priority)
        yield Field(text=f"{kind} ", key="kind", value=kind)
        if place.chain is not None and place.chain != asked.chain:
            yield Field(text=f"chain {place.chain} ", key="chain", value=place.chain)

    def _device(self, place: FilterPlace) -> Iterator[Field]:
        if place.ifindex != self.asked.ifindex:
            name = self.names.get(place.ifindex, f"if{place.ifindex}")
            yield Field(text=f"dev {name} ", key="dev", value=name)
        if self.asked.parent and place.parent == self.asked.parent:
            return
        if direction := _DIRECTIONS.get(place.parent):
            yield Field(text=f"{direction} ", key=direction, value=True)
        else:
            parent = classid_text(place.parent)
            yield Field(text=f"parent {parent} ", key="parent", value=parent)

    def _options(self, found: ShownFilter) -> Iterator[Field]:
        if found.bpf is None:
            return
        shown = found.bpf
        if found.place.handle:
            handle = f"{found.place.handle:#x}"
            yield Field(text=f"handle {handle} ", key="handle", value=handle)
        if shown.classid is not None:
            flow = classid_text(shown.classid)
            yield Field(text=f"flowid {flow} ", key="flowid", value=flow)
        if shown.name is not None:
            yield Field(text=f"{shown.name} ", key="bpf_name", value=shown.name)
        for word in _flag_words(shown):
            yield Field(text=f"{word} ", key=word, value=True)
        if shown.ops:
            yield Field(text=f"bytecode '{bytecode_text(shown.ops)}'", key="bytecode", value=_ops_json(shown.ops))
        yield from self._program(shown)

    def _program(self, shown: BpfFilter) -> Iterator[Field]:
        info = self._info(shown.prog_id) if shown.prog_id is not None else None
        if shown.prog_id is not None:
            told = list(_prog_fields(info, details=self.details)) if info else []
            value = {"id": shown.prog_id, **json_of(told)}
            text = f"id {shown.prog_id} " + "".join(field.text for field in told)
            yield Field(text=text, key="prog", value=value)
        if info is None and shown.tag:
            yield Field(text=f"tag {shown.tag} ", key="tag", value=shown.tag)

    def _info(self, prog_id: int) -> ProgInfo | None:
        """Return what is known of a program; None when it is gone, or CAP_SYS_ADMIN is missing to look at it."""
        try:
            with self.bpf.prog_by_id(ProgId(prog_id)) as fd:
                return self.bpf.prog_info(fd)
        except KernelError:
            return None


def json_of(fields: Iterable[Field]) -> dict[str, Any]:
    """Return fields as the members of an object."""
    return {field.key: field.value for field in fields if field.key}


def _flag_words(shown: BpfFilter) -> Iterator[str]:
    if shown.flags & DIRECT_ACTION:
        yield "direct-action"
    yield from (word for flag, word in _GEN_FLAGS if shown.flags_gen & flag)
    if shown.flags_gen & IN_HW:
        yield "in_hw"
    elif shown.flags_gen & NOT_IN_HW:
        yield "not_in_hw"


def _ops_json(ops: bytes) -> dict[str, Any]:
    insns = [{"code": code, "jt": jt, "jf": jf, "k": k} for code, jt, jf, k in SOCK_FILTER.iter_unpack(ops)]
    return {"length": len(insns), "insns": insns}


def _prog_fields(info: ProgInfo, *, details: bool) -> Iterator[Field]:
    yield Field(text=f"name {info.name} ", key="name", value=info.name)
    yield Field(text=f"tag {info.tag} ", key="tag", value=info.tag)
    yield Field(text="jited " if info.jited else "", key="jited", value=int(info.jited))
    if details and info.load_time_ns:
        yield Field(text=f"load_time {info.load_time_ns} ", key="load_time", value=info.load_time_ns)
        yield Field(text=f"created_by_uid {info.created_by_uid} ", key="created_by_uid", value=info.created_by_uid)
    if details and info.btf_id:
        yield Field(text=f"btf_id {info.btf_id} ", key="btf_id", value=info.btf_id)


def qdisc_fields(found: ShownQdisc, names: Mapping[int, str], *, asked: int) -> list[Field]:
    """Return what is told of a qdisc; `asked` is the interface that was asked for, 0 for all."""
    handle = f"{found.handle >> 16:x}:"
    fields = [
        Field(text=f"qdisc {found.kind}", key="kind", value=found.kind),
        Field(text=f" {handle} ", key="handle", value=handle),
    ]
    if not asked:
        name = names.get(found.ifindex, f"if{found.ifindex}")
        fields.append(Field(text=f"dev {name} ", key="dev", value=name))
    if found.parent == TC_H_ROOT:
        fields.append(Field(text="root ", key="root", value=True))
    elif found.parent:
        parent = classid_text(found.parent)
        fields.append(Field(text=f"parent {parent} ", key="parent", value=parent))
    blocks = (("ingress_block", found.ingress_block, 0), ("egress_block", found.egress_block, 0))
    numbers = (("refcnt", found.refcount, 1), *blocks)
    fields += [Field(text=f"{key} {n} ", key=key, value=n) for key, n, usual in numbers if n != usual]
    return [*fields, Field(text="", key="options", value={})]


def json_text(values: list[Any], *, pretty: bool) -> str:
    """Return one JSON document as iproute2 has it: in one line, or indented."""
    if pretty:
        return json.dumps(values, indent=_JSON_INDENT, ensure_ascii=False)
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)
