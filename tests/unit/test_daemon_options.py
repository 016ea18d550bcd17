"""Wrong options of the daemon, and of the commands that write the system's files, end with status 64 and a reason."""

import pytest

from xdploaderd.daemon.options import parse_options
from xdploaderd.errors import UsageError
from xdploaderd.install import COMMANDS, main

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--nothing"], "unrecognized arguments: --nothing"),
        (["--orphan-grace", "x"], "want a number of seconds from 0 to 86400, not 'x'"),
        (["--orphan-grace", "86401"], "want a number of seconds from 0 to 86400, not '86401'"),
        (["--orphan-grace", "nan"], "want a number of seconds from 0 to 86400, not 'nan'"),
        (["--log-level", "loud"], "invalid choice: 'loud'"),
    ],
)
def test_option_of_the_daemon_is_refused_with_the_reason(capsys: Capture, argv: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as end:
        parse_options(argv)
    told = capsys.readouterr()
    assert (end.value.code, told.out) == (64, "")
    assert said in told.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["install-system", "--force"], "unrecognized arguments: --force"),
        (["uninstall-system", "--iproute2"], "unrecognized arguments: --iproute2"),
        (["install-system", "--root"], "--root: expected one argument"),
    ],
)
def test_option_of_install_is_refused_with_the_reason(argv: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        main(argv)


def test_help_names_the_other_commands(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    assert " and ".join(COMMANDS) in capsys.readouterr().out
