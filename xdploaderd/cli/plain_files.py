"""Command lines of verbs that read files, taken apart without argparse where there is nothing to say about them."""

from __future__ import annotations

from types import SimpleNamespace

from xdploaderd.cli.plain import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xdploaderd.cli.plain import Run

_FLAGS = {"--json": "json", "--verbose": "verbose"}


class FileVerb:
    """A verb with operands, at least one, and options that take a value: `single` ones and such that add up, by name.

    All that are `required` are single.
    """

    __slots__ = ("operands", "repeated", "required", "run", "single")

    def __init__(
        self, run: Run, *, operands: str, single: dict[str, str], repeated: dict[str, str], required: tuple[str, ...]
    ) -> None:
        self.run = run
        self.operands = operands
        self.single = single
        self.repeated = repeated
        self.required = required


FILE_VERBS = {
    "btfgen": FileVerb(
        lazy("btfgen", "btfgen"),
        operands="objects",
        single={"--btf": "btf", "-o": "output", "--output": "output"},
        repeated={"--limit": "limit"},
        required=("btf", "output"),
    ),
}


def file_arguments(words: Sequence[str]) -> SimpleNamespace | None:
    """Return what argparse makes of a right command line of such a verb, None for any other line."""
    args = SimpleNamespace(json=False, verbose=False, socket=None)
    left = iter(words)
    for word in left:
        if word in _FLAGS:
            setattr(args, _FLAGS[word], True)
        elif word in FILE_VERBS:
            return args if _take_all(args, FILE_VERBS[word], left) else None
        else:
            return None
    return None


def _take_all(args: SimpleNamespace, verb: FileVerb, left: Iterator[str]) -> bool:
    """Take the words behind the verb; False where one is not right."""
    operands: list[str] = []
    args.run = verb.run
    lists: dict[str, list[str]] = {name: [] for name in verb.repeated.values()}
    vars(args).update({**dict.fromkeys(verb.single.values()), **lists, verb.operands: operands})
    apart = False  # operands are to stand together
    for word in left:
        if not word.startswith("-"):
            if apart and operands:
                return False
            operands.append(word)
            apart = False
            continue
        apart = True
        if not _take_option(args, verb, word, left):
            return False
    return bool(operands) and all(getattr(args, name) is not None for name in verb.required)


def _take_option(args: SimpleNamespace, verb: FileVerb, option: str, left: Iterator[str]) -> bool:
    if option in _FLAGS:
        setattr(args, _FLAGS[option], True)
        return True
    value = next(left, "-")
    if value.startswith("-"):
        return False
    if option in verb.single:
        setattr(args, verb.single[option], value)
    elif option in verb.repeated:
        getattr(args, verb.repeated[option]).append(value)
    else:
        return False
    return True
