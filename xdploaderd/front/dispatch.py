"""Which command lines of `ip` and `tc` are ours, where the real tools are, and becoming them.

Every `ip` and `tc` of the system comes through here where they are links to us, so nothing is imported but what the
interpreter has at hand.
"""

import os
import sys

TOOLS = ("ip", "tc")
XDP_WORDS = ("xdp", "xdpgeneric", "xdpdrv", "xdpoffload")
OWN_OPTIONS = ("--direct", "--socket")
PASSED = "XDPLOADERD_PASSED"  # commands that were passed through: none of them is the real tool
_USUAL_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_TC_PLACES = frozenset({"clsact", "ingress", "egress", "parent"})
_BPF = "bpf"  # kind of a filter or action, and subject of `tc exec`


def tool_of(argv0: str) -> str:
    """Return the tool that we are called as; empty when by our own name."""
    name = os.path.basename(argv0)
    return name if name in TOOLS else ""


def is_real_tools(tool: str, words: "list[str]") -> bool:
    """Tell, at a glance, whether a command line has nothing to do with BPF; one that may have is parsed."""
    mine = XDP_WORDS if tool == "ip" else (_BPF,)
    return not any(word in mine or _is_option(word) for word in words) and not (tool == "tc" and _deletes(words))


def _deletes(words: "list[str]") -> bool:
    """Tell whether what is deleted may be a filter of the daemon's, which would make it again."""
    return any(word and "delete".startswith(word) for word in words) and not _TC_PLACES.isdisjoint(words)


def _is_option(word: str) -> bool:
    """Tell whether a word may be an option that changes what is ours: -batch in any length, and our own."""
    option = word[1:] if word.startswith("--") else word
    return (len(option) > 1 and "-batch".startswith(option)) or word.startswith(OWN_OPTIONS)


def real_tool(tool: str) -> str:
    """Return the path of the real tool: the first in PATH that is not this command; empty when there is none."""
    own = {os.path.realpath(sys.argv[0]), *os.environ.get(PASSED, "").split(os.pathsep)}
    for folder in f"{os.environ.get('PATH', '')}:{_USUAL_PATH}".split(":"):
        path = os.path.join(folder, tool)
        if folder and os.access(path, os.X_OK) and os.path.isfile(path) and os.path.realpath(path) not in own:
            return path
    return ""


def become(path: str, tool: str, words: "list[str]") -> None:
    """Replace this process by the real tool; its exit status and output are its own from here on."""
    os.execve(path, [tool, *words], environment())  # noqa: S606 - no shell is wanted


def environment() -> "dict[str, str]":
    """Return the environment for a real tool, in which this command is known not to be one."""
    own = os.path.realpath(sys.argv[0])
    passed = os.environ.get(PASSED, "")
    known = passed.split(os.pathsep) if passed else []
    return {**os.environ, PASSED: os.pathsep.join(known if own in known else [*known, own])}
