"""The manual pages name what `--help` offers."""

import re
from pathlib import Path

import pytest

from xdploaderd.cli import map_options, texts
from xdploaderd.cli.help_page import page_of
from xdploaderd.cli.verb_table import MAP, VERBS
from xdploaderd.daemon.options import parse_options
from xdploaderd.daemon.plan.status import State
from xdploaderd.errors import LoaderError

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "xdploaderctl.1.md").read_text()


@pytest.mark.parametrize("verb", VERBS)
def test_verb_stands_in_the_manual_page(verb: str) -> None:
    assert re.search(rf"^- (?:`[^`]+`, )*`{verb}\b", PAGE, re.MULTILINE)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != MAP])
def test_every_option_of_a_verb_stands_in_the_manual_page(verb: str) -> None:
    options = re.findall(r"^  (?:-\w(?: \w+)?, )?(--[\w-]+)", page_of(verb, 500), re.MULTILINE)
    assert "--json" in options
    assert [option for option in options if f"{option}`" not in PAGE and f"{option} " not in PAGE] == []


def items(section: str) -> dict[str, str]:
    """Return what stands behind each item of a section's list."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^- `([^`]+)`: (.*)$", text, re.MULTILINE))


def kinds(error: type[LoaderError]) -> set[type[LoaderError]]:
    return {error}.union(*(kinds(each) for each in error.__subclasses__()))


def test_every_code_stands_with_its_exit_status_and_no_other_does() -> None:
    told = {
        (code, int(status))
        for status, text in items("Exit status").items()
        for code in re.findall(r"`([A-Z]\w+)`", text)
    }
    assert told == {(error.code, error.exit_status) for error in kinds(LoaderError) if "xdploaderd" in error.__module__}


def test_exit_statuses_of_the_help_are_those_of_the_manual_page() -> None:
    told = texts.EPILOG.partition("exit status:\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"(?:^  |  )(\d+)  ", told, re.MULTILINE), key=int) == list(items("Exit status"))


def test_every_state_stands_in_the_manual_page() -> None:
    assert list(items("States")) == list(State)


def test_every_action_on_maps_stands_in_the_manual_page() -> None:
    assert [action for action in map_options.MAP_ACTIONS if f"- `map {action} " not in PAGE] == []


def test_every_option_of_the_daemon_stands_in_its_manual_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE)
    page = (DOCS / "xdploaderd.8.md").read_text()
    assert "--config" in options
    assert [option for option in options if option != "--help" and f"- `{option}" not in page] == []
