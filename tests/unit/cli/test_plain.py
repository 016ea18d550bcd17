"""Command lines of verbs without arguments: what is read without argparse is what argparse reads."""

import pytest

from xdploaderd.cli import arguments, online, plain


@pytest.mark.parametrize("verb", [*plain.ONLINE, "version"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), ()),
        (("--json",), ("--verbose",)),
        (("--socket", "/run/s"), ("--json",)),
        (("--socket", "a"), ("--socket", "b")),
        (("--verbose",), ("--socket", "")),
    ],
)
def test_right_lines_are_read_as_argparse_reads_them(
    verb: str, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    words = (*before, verb, *after)
    args = plain.plain_arguments(words)
    if verb == "version" and "--socket" in after:
        assert args is None
        return
    parsed = arguments.parse_arguments(words)
    assert args is not None
    assert (args.json, args.verbose, args.socket) == (parsed.json, parsed.verbose, parsed.socket)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--json",
        "load a b",
        "status extra",
        "status --help",
        "-h",
        "status status",
        "--socket status",
        "status --socket",
        "status --socket --json",
        "status --socket=/run/s",
        "--version",
        "statu",
    ],
)
def test_any_other_line_is_left_to_argparse(line: str) -> None:
    assert plain.plain_arguments(line.split()) is None


@pytest.mark.parametrize(("verb", "function"), plain.ONLINE.items())
def test_every_plain_verb_has_its_function(verb: str, function: str) -> None:
    assert callable(getattr(online, function)), verb


@pytest.mark.parametrize("verb", [*plain.ONLINE, "load", "map", "btfgen"])
def test_the_parser_of_one_verb_is_that_of_all(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for words in ([verb, "--help"], ["--socket=x", verb, "--help"]):
        with pytest.raises(SystemExit):
            arguments.parse_arguments(words)
        shown.append(capsys.readouterr().out)
    whole = arguments._build_parser("")
    with pytest.raises(SystemExit):
        whole.parse_args([verb, "--help"])
    assert shown == [capsys.readouterr().out] * 2
