"""What the documentation names is there: files, modules, verbs, their options; and its examples are command lines."""

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from xdploaderd.cli import texts
from xdploaderd.cli.arguments import parse_arguments
from xdploaderd.cli.help_page import page_of
from xdploaderd.cli.verb_table import MAP, VERBS
from xdploaderd.front.dispatch import TOOLS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("tests/**/README.md")])
FOLDERS = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
PACKAGES = sorted(path.name for path in (ROOT / "xdploaderd").iterdir() if path.is_dir())
PLACEHOLDERS = {"VERB", "COMMAND", "{"}


def named(page: Path, pattern: str) -> list[str]:
    return re.findall(pattern, page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    links = [link for link in named(page, r"\]\(([^)#]+)\)") if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    files = named(page, rf"\b((?:{'|'.join(FOLDERS)})/[\w./*-]+\.(?:py|sh|md|json|in|lock|o))\b")
    modules = named(page, rf"`((?:{'|'.join(PACKAGES)})/[\w*]+\.py)\b")
    tests = named(page, r"`(test_\w+\.py)\b")
    assert [file for file in files if not any(folder.glob(file) for folder in (ROOT, page.parent))] == []
    assert [module for module in modules if not [*(ROOT / "xdploaderd").glob(module)]] == []
    assert [test for test in tests if not [*(ROOT / "tests").rglob(test)]] == []


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in a line of code that begins with xdploaderctl."""
    for line in re.findall(r"^(?: {2,}|# )?(xdploaderctl .*)$", text, re.MULTILINE):
        for command in line.split(";"):
            words = shlex.split(command, comments=True)[1:]
            yield list(takewhile(lambda word: word not in {"|", ">"}, words))


EXAMPLES = {
    **{str(page.relative_to(ROOT)): [*command_lines(page.read_text())] for page in PAGES},
    **{name: [*command_lines(text)] for name, text in vars(texts).items() if name.endswith("EPILOG")},
}


@pytest.mark.parametrize("place", [place for place, examples in EXAMPLES.items() if examples])
def test_examples_are_command_lines_of_ours(place: str) -> None:
    for words in EXAMPLES[place]:
        if words[0] not in {*TOOLS, *PLACEHOLDERS}:
            parse_arguments(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_verbs_and_their_options_in_running_text_exist(page: Path) -> None:
    for text in named(page, r"`xdploaderctl ([^`]+)`"):
        verb, *words = text.split()
        if verb in TOOLS or verb in PLACEHOLDERS:
            continue
        assert verb in VERBS, text
        options = [word.partition("=")[0].strip("[]") for word in words if word.strip("[").startswith("--")]
        assert verb == MAP or [option for option in options if option not in page_of(verb, 500)] == [], text
