"""The manual pages name what `--help` offers."""

import re
from pathlib import Path

import pytest

from xdploaderd.cli import map_options
from xdploaderd.cli.help_page import page_of
from xdploaderd.cli.verb_table import MAP, VERBS
from xdploaderd.daemon.options import parse_options

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


def test_every_action_on_maps_stands_in_the_manual_page() -> None:
    assert [action for action in map_options.MAP_ACTIONS if f"- `map {action} " not in PAGE] == []


def test_every_option_of_the_daemon_stands_in_its_manual_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE)
    page = (DOCS / "xdploaderd.8.md").read_text()
    assert "--config" in options
    assert [option for option in options if option != "--help" and f"- `{option}" not in page] == []
