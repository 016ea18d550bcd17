"""Each tool tells its command lines, on standard output and with success."""

import pytest

from xdploaderd.cli.main import main


@pytest.mark.parametrize(("tool", "word"), [("ip", "link set [dev] DEV XDP"), ("tc", "filter { add | replace")])
def test_help_tells_the_command_lines(tool: str, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([tool, "--help"]) == 0
    told = capsys.readouterr()
    assert word in told.out
    assert f"xdploaderctl-{tool}(8)" in told.out
    assert not told.err
