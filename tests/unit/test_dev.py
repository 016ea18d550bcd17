"""./dev: its commands are those of its help and of the documentation; words that one would pass over are refused."""

import argparse
import re
import subprocess
from pathlib import Path

import pytest

from tools.arguments import count
from tools.ending import end_with

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "dev").read_text()
COMMANDS = frozenset(re.findall(r"^([a-z]+)\)", SCRIPT.partition("\ncase $command in\n")[2], re.MULTILINE)) | {"help"}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def dev(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "dev", *words], capture_output=True, text=True, check=False)


def test_help_names_every_command_and_no_other() -> None:
    shown = re.findall(r"^  ([a-z]+) ", dev("help").stdout, re.MULTILINE)
    assert len(shown) == len(set(shown)) > 10
    assert set(shown) == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_a_command_shows_its_lines_alone(command: str) -> None:
    done = dev(command, "--help")
    assert done.returncode == 0
    assert re.findall(r"^  ([a-z]+) ", done.stdout, re.MULTILINE) == [command]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_that_the_documentation_names_exist(page: Path) -> None:
    named = set(re.findall(r"(?:\./dev|`dev|^    dev) ([a-z]+)", page.read_text(), re.MULTILINE))
    assert named - COMMANDS == set()


@pytest.mark.parametrize(
    "words",
    [
        ("demo", "--quick"),
        ("lint", "--fix"),
        ("setup", "run", "dev"),
        ("oracle", "x"),
        ("bpf", "x"),
        ("lock", "x"),
        ("install", "--iproute2", "--root"),
        ("uninstall", "--detach", "x"),
        ("help", "test", "lint"),
    ],
)
def test_words_that_a_command_does_not_take_are_refused_before_it_does_anything(words: tuple[str, ...]) -> None:
    done = dev(*words)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(
        rf"dev: '{words[0]}' takes (no words|at most 1 word), not '{' '.join(words[1:])}'\n", done.stderr
    )


def test_unknown_command_is_named() -> None:
    done = dev("tests")
    assert done.returncode == 1
    assert done.stderr.endswith("dev: no command 'tests'\n")


@pytest.mark.parametrize("word", ["0", "-1", "x", "", "1.5", "2x"])
def test_number_of_rounds_is_at_least_one(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="want a whole number from 1"):
        count(word)


def test_number_of_rounds_is_read() -> None:
    assert count("12") == 12


def test_ctrl_c_ends_a_command_with_a_line_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def cut_off() -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        end_with(cut_off)
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted\n")


def test_every_command_in_python_ends_so() -> None:
    names = set(re.findall(r'BIN/python" -m ((?:tools|benchmarks)[a-z._]*)', SCRIPT))
    assert len(names) > 5
    for name in names:
        path = ROOT / name.replace(".", "/")
        source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        assert "    end_with(" in source.read_text(), name
