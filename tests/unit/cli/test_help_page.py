"""Pages of help that are made without argparse are those that argparse makes."""

import pytest

from xdploaderd.cli import arguments, help_format
from xdploaderd.cli.help_page import help_arguments, page_of
from xdploaderd.cli.main import main
from xdploaderd.cli.verb_table import MAP, VERBS

Capture = pytest.CaptureFixture[str]
PAGES = [verb for verb in VERBS if verb != MAP]


@pytest.mark.parametrize("columns", ["60", "80", "117", "200"])
@pytest.mark.parametrize("verb", PAGES)
def test_page_of_a_verb_is_argparse_s(
    verb: str, columns: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    help_format._width.cache_clear()
    with pytest.raises(SystemExit):
        arguments.parse_arguments([verb, "--help"])
    help_format._width.cache_clear()
    assert page_of(verb, int(columns) - 2) + "\n" == capsys.readouterr().out


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_command_prints_the_page(flag: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["load", flag]) == 0
    assert capsys.readouterr().out == page_of("load", 98) + "\n"


@pytest.mark.parametrize("line", ["--help", "map --help", "map dump --help", "load a --help", "laod -h", "load --hel"])
def test_any_other_line_is_left_to_argparse(line: str) -> None:
    assert help_arguments(line.split()) is None
