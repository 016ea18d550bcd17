"""Hostile inputs made by hand, where random ones do not get: each is taken or refused soon and in little memory."""

from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.fuzz import hostile_btf, hostile_elf, hostile_text, hostile_types
from tests.fuzz.control_peer import talk_to_server
from tests.fuzz.judge import judge, judge_fairly
from tests.fuzz.targets import TARGETS

TABLES: Mapping[str, Mapping[str, Callable[[], bytes]]] = {
    "btf": hostile_btf.BLOBS,
    "elf": {**hostile_elf.HEADERS, **hostile_elf.TABLES, **hostile_types.TYPES},
    "pinning": hostile_text.PINNING,
    "attachments": hostile_text.ATTACHMENTS,
    "varlink": hostile_text.VARLINK,
}
INPUTS = [(target, name) for target, table in TABLES.items() for name in table]


@pytest.mark.parametrize(("target", "name"), INPUTS, ids=[f"{target}-{name}" for target, name in INPUTS])
def test_hostile_input_is_taken_or_refused_by_a_typed_error(target: str, name: str) -> None:
    verdict = judge_fairly(TARGETS[target].run, TABLES[target][name]())
    assert verdict, f"{verdict.problem} at {verdict.place}"


def test_field_of_any_section_header_may_be_near_the_end_of_its_range() -> None:
    for name, build in hostile_elf.FIELDS.items():
        verdict = judge(TARGETS["elf"].run, build())
        assert verdict, f"{name}: {verdict.problem} at {verdict.place}"


@pytest.mark.parametrize("block", [b"x" * (1 << 20), b"\0" * (1 << 20)], ids=["no NUL", "NULs"])
def test_gigabyte_is_cut_off_at_once(block: bytes) -> None:
    sent = 0

    def blocks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1024):
            yield block
            sent += 1

    verdict = judge(lambda _raw: talk_to_server(blocks()), b"")
    assert verdict, verdict.problem
    assert sent < 8
