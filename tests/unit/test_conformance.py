"""docs/conformance.md: every item has a row, and every test it names exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| (yes|ours|part) \|$", re.MULTILINE)
ITEMS = {*range(1, 60), *range(85, 89)}


def table() -> list[tuple[int, str, list[str], str]]:
    text = (ROOT / "docs" / "conformance.md").read_text()
    return [(int(item), claim, tests.split(", "), result) for item, claim, tests, result in ROW.findall(text)]


def functions(path: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))


def test_each_item_has_one_row() -> None:
    items = [item for item, *_ in table()]
    assert len(items) == len(set(items))
    assert set(items) == ITEMS


def test_each_test_that_is_named_exists() -> None:
    named = {name for _, _, tests, _ in table() for name in tests}
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
