"""Command lines of verbs that read files: what is read without argparse is what argparse reads."""

import pytest

from xdploaderd.cli import arguments, plain_files

RIGHT = [
    "btfgen --btf k -o out a.o",
    "btfgen a.o b.o --btf k --output out",
    "btfgen --btf k a.o b.o c.o -o out",
    "--json btfgen -o out --btf k --verbose a.o",
    "--verbose btfgen --limit symbols=9 --btf k -o out a.o --limit maps=2 --json",
    "btfgen --btf k --btf other -o out -o again a.o",
    "btfgen --btf btfgen -o btfgen btfgen",
]


@pytest.mark.parametrize("line", RIGHT)
def test_right_lines_are_read_as_argparse_reads_them(line: str) -> None:
    args = plain_files.file_arguments(line.split())
    parsed = arguments.parse_arguments(line.split())
    assert args is not None
    assert vars(args) == {name: value for name, value in vars(parsed).items() if name != "check"} | {"run": args.run}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--json",
        "load a b",
        "btfgen",
        "btfgen --help",
        "btfgen --btf k -o out",
        "btfgen --btf k a.o",
        "btfgen -o out a.o",
        "btfgen --btf k -o out a.o --btf",
        "btfgen --btf k -o --json a.o",
        "btfgen --btf k a.o -o out b.o",
        "btfgen --btf k a.o --json b.o -o out",
        "btfgen --btf=k -o out a.o",
        "btfgen --btf k -oout a.o",
        "btfgen --btf k -o out -- a.o",
        "btfgen --btf k -o out - a.o",
        "btfgen --bt k -o out a.o",
        "btfgen --btf k -o out --unknown x a.o",
        "--socket s btfgen --btf k -o out a.o",
        "btfgens --btf k -o out a.o",
    ],
)
def test_any_other_line_is_left_to_argparse(line: str) -> None:
    assert plain_files.file_arguments(line.split()) is None
