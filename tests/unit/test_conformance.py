"""docs/conformance.md: every item has a row, and every test it names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| (yes|ours|part) \|$", re.MULTILINE)
ITEMS = {*range(1, 79), *range(85, 89)}
EXTRA_ROW = re.compile(r"^\| [^|]+ \| ([^|]+::[^|]+) \|$", re.MULTILINE)
IPROUTE2_ROW = re.compile(r"^\| (I\d+) \| ([^|]+) \| ([^|]+) \| (yes|ours|part|open) \|$", re.MULTILINE)
IPROUTE2_ITEMS = {f"I{number}" for number in range(1, 71)}
NO_TEST = "-"


def table() -> list[tuple[int, str, list[str], str]]:
    text = (ROOT / "docs" / "conformance.md").read_text()
    return [(int(item), claim, tests.split(", "), result) for item, claim, tests, result in ROW.findall(text)]


def iproute2_table() -> list[tuple[str, list[str], str]]:
    text = (ROOT / "docs" / "conformance.md").read_text()
    return [(item, tests.split(", "), result) for item, _, tests, result in IPROUTE2_ROW.findall(text)]


def functions(path: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))


def test_each_item_has_one_row() -> None:
    items = [item for item, *_ in table()]
    assert len(items) == len(set(items))
    assert set(items) == ITEMS


def test_each_test_that_is_named_exists() -> None:
    named = {name for _, _, tests, _ in table() for name in tests}
    named |= {name for _, tests, _ in iproute2_table() for name in tests} - {NO_TEST}
    extra = EXTRA_ROW.findall((ROOT / "docs" / "conformance.md").read_text())
    assert len(extra) > 5
    named |= {name for tests in extra for name in tests.split(", ")}
    missing = [name for name in named if not exists(name)]
    assert sorted(missing) == []


def exists(name: str) -> bool:
    file, _, function = name.partition("::")
    path = ROOT / "tests" / file
    return path.is_file() and function in functions(path)


def test_what_is_not_as_libbpf_has_its_reason() -> None:
    text = (ROOT / "docs" / "conformance.md").read_text()
    reasons = {int(number) for number in re.findall(r"^- (\d+): ", text, re.MULTILINE)}
    assert reasons == {item for item, _, _, result in table() if result != "yes"}


def test_each_item_of_iproute2_has_one_row() -> None:
    items = [item for item, *_ in iproute2_table()]
    assert len(items) == len(set(items))
    assert set(items) == IPROUTE2_ITEMS


def test_item_of_iproute2_without_a_test_is_open() -> None:
    assert [item for item, tests, result in iproute2_table() if (tests == [NO_TEST]) != (result == "open")] == []


def test_what_is_not_as_iproute2_has_its_reason() -> None:
    text = (ROOT / "docs" / "iproute2.md").read_text()
    reasons = set(re.findall(r"^- (I\d+): ", text, re.MULTILINE))
    assert reasons == {item for item, _, result in iproute2_table() if result in ("ours", "part")}
