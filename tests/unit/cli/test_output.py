"""How the command tells errors and survives a reader that goes away."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from xdploaderd.cli import main, output, plain
from xdploaderd.errors import ConfigError, LoaderError, PinMismatchError, VerifierError, error_context
from xdploaderd.kernel.verifier_log import summarise

Capture = pytest.CaptureFixture[str]


def _fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def run(_: object) -> int:
        raise error

    monkeypatch.setattr(plain, "version", run)
    return main.main(["version"])


def test_last_lines_of_a_verifier_log_are_shown_and_the_rest_pointed_to(capsys: Capture) -> None:
    log = [*(f"{number}: r1 = 0" for number in range(9)), "R1 \x1b[2J"]
    error = VerifierError("prog 'p': R1 invalid mem access", errno=13, log=log)
    output.print_error(error, as_json=False, verbose=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(
        "xdploaderctl: VerifierRejected: prog 'p': R1 invalid mem access (BPF_PROG_LOAD: EACCES)"
    )
    note = "xdploaderctl:   2 of the 10 lines of log are left out: --verbose prints all of it"
    assert lines[1:] == [note, *(f"xdploaderctl:   {line}" for line in log[2:-1]), r"xdploaderctl:   R1 \x1b[2J"]
    output.print_error(error, as_json=False, verbose=True)
    assert len(capsys.readouterr().err.splitlines()) == 1 + len(log)


def test_message_and_log_count_the_lines_of_one_log_alike(capsys: Capture) -> None:
    log = [f"{number}: r1 = 0" for number in range(20)]
    error = VerifierError(summarise(log), errno=13, log=log)
    output.print_error(error, as_json=False, verbose=False)
    message, note, *shown = capsys.readouterr().err.splitlines()
    assert "the end of 20 lines of log" in message
    assert note.endswith(f"  {20 - len(shown)} of the 20 lines of log are left out: --verbose prints all of it")
    output.print_error(error, as_json=True, verbose=False)
    told = json.loads(capsys.readouterr().err)
    assert f"the end of {len(told['log'])} lines of log" in told["message"]


def test_each_fault_of_a_configuration_has_its_line(capsys: Capture) -> None:
    with pytest.raises(ConfigError) as caught, error_context("outer"):
        raise ConfigError("2 errors: a; b", fields={"errors": ["f:1:1: a", "f:2:1: b"]})
    output.print_error(caught.value, as_json=False, verbose=False)
    assert capsys.readouterr().err.splitlines() == [
        "xdploaderctl: InvalidConfig: outer: f:1:1: a",
        "xdploaderctl: InvalidConfig: outer: f:2:1: b",
    ]


def test_differences_of_a_pinned_map_are_told_once(capsys: Capture) -> None:
    error = PinMismatchError("map 'm' differs: key size", path="/p", differences=["key size"])
    output.print_error(error, as_json=False, verbose=False)
    assert capsys.readouterr().err == "xdploaderctl: PinMismatch: map 'm' differs: key size\n"


def test_warning_is_told_once_in_either_form(capsys: Capture) -> None:
    output.print_warnings(["a", "b", "a"], as_json=False)
    assert capsys.readouterr() == ("", "xdploaderctl: warning: a\nxdploaderctl: warning: b\n")
    output.print_warnings(["a", "a"], as_json=True)
    assert capsys.readouterr() == ("", '{"warning": "a"}\n')


def test_interrupt_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    assert _fail_with(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "xdploaderctl: interrupted\n"


@pytest.mark.parametrize("kind", LoaderError.__subclasses__())
def test_every_error_has_its_own_exit_status(kind: type[LoaderError]) -> None:
    assert kind.exit_status not in (0, 1, 2, output.EXIT_DEGRADED)
    assert kind.code != LoaderError.code


def test_table_aligns_columns_and_escapes_cells(capsys: Capture) -> None:
    output.print_table(("A", "LONG"), [("value", "x"), ("", "\x07")])
    assert capsys.readouterr().out.splitlines() == ["A      LONG", "value  x", r"-      \x07"]


def _command(*argv: str, stdout: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xdploaderd.cli.main", *argv]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


def test_reader_that_goes_away_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = _command("version", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_full_disk_is_told() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = _command("version", stdout=full)
    os.close(full)
    assert done.returncode == 70
    assert done.stderr == "xdploaderctl: Failed: cannot write the output: no space left on device\n"


def test_error_that_nobody_reads_keeps_its_exit_status() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "xdploaderd.cli.main", "status", "--socket", "/nonexistent"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, check=False)
    os.close(writing)
    assert (done.returncode, done.stdout) == (69, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-"])
def test_closed_standard_streams_change_no_exit_status(closed: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m xdploaderd.cli.main status --socket /nonexistent {closed}"
    assert subprocess.run(["sh", "-c", command], capture_output=True, check=False).returncode == 69
