"""Markdown pages become man(7) text that man can print."""

import subprocess
from pathlib import Path

import pytest

from tests.support.tools import tool
from xdploaderd.manpage import man_page

PAGES = sorted((Path(__file__).parents[2] / "docs").glob("*.[1-8].md"))
HEAD = "# name(8) - what it is\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_page_is_titled_as_its_file(page: Path) -> None:
    name, section = page.name.removesuffix(".md").rsplit(".", 1)
    assert man_page(page.read_text(), source="x 1").startswith(f'.TH {name.upper()} {section} "" "x 1"\n.SH NAME\n')


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_no_markdown_is_left_over(page: Path) -> None:
    text = man_page(page.read_text(), source="x 1")
    assert "`" not in text
    assert "**" not in text


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_groff_has_nothing_to_complain_about(page: Path) -> None:
    done = subprocess.run(
        [tool("groff"), "-man", "-Tutf8", "-ww", "-z"],
        input=man_page(page.read_text(), source="x 1"),
        text=True,
        capture_output=True,
        check=True,
    )
    assert done.stderr == ""


def test_item_that_starts_with_code_is_a_tagged_paragraph() -> None:
    assert ".TP\n\\fB\\-\\-check\\fR\nRead it, and\nend" not in man_page(HEAD + "\n- `--check`: Read", source="")
    assert ".TP\n\\fB\\-\\-check\\fR\nRead it and end.\n" in man_page(
        HEAD + "\n- `--check`: Read it\n  and end.\n", source=""
    )


def test_code_block_keeps_its_lines_and_hides_control_lines() -> None:
    text = man_page(HEAD + "\n```\n.one\n  two \\n\n```\nafter\n", source="")
    assert ".nf\n\\&.one\n  two \\en\n.fi" in text
    assert text.endswith(".PP\nafter\n")


def test_page_without_a_title_is_refused() -> None:
    with pytest.raises(ValueError, match="does not start with"):
        man_page("## Synopsis\n", source="")
