"""On which line an element of a list in a JSON text stands."""

import json

import pytest

from xdploaderd.obj.json_lines import line_of

TEXT = """
{ "made by": {"entries": [1]},
  "note": "[\\n",
  "entries" : [
    {"key": 1}, {"key":
      [2]},

    3]}
"""


@pytest.mark.parametrize(("number", "line"), [(0, 5), (1, 5), (2, 8)])
def test_line_is_that_where_the_element_begins(number: int, line: int) -> None:
    assert line_of(TEXT.encode(), "entries", number) == line
    assert line_of(TEXT.encode("utf-16"), "entries", number) == line


def test_list_may_be_the_whole_text() -> None:
    raw = json.dumps(["a", [], {}], indent=1).encode()
    assert [line_of(raw, "entries", number) for number in range(3)] == [2, 3, 4]
    assert line_of(b"[[0]]", "entries", 0) == 1
