"""Entry of xdploaderctl, and of `ip` and `tc` where they are links to it: what each is for is imported on use.

A command line that is none of ours goes to the real tool before anything else is imported.
"""

import gc
import sys

from xdploaderd.front import dispatch


def main(argv: "list[str] | None" = None) -> int:
    """Run the command line and return its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    tool = linked = dispatch.tool_of(sys.argv[0]) if argv is None else ""
    if not tool and words and words[0] in dispatch.TOOLS:
        tool, words = words[0], words[1:]
    if not tool:
        if argv is None:
            gc.disable()  # until the verb runs (cli/plain.py): nothing of what imports make is garbage
        from xdploaderd.cli.verbs import run_verb

        return run_verb(words)
    asks_us = not linked and words == ["--help"]
    if not asks_us and dispatch.is_real_tools(tool, words) and (path := dispatch.real_tool(tool)):
        dispatch.become(path, tool, words)
    if tool == "tc":
        from xdploaderd.front import tc

        return tc.run(words)
    from xdploaderd.front import ip

    return ip.run(words)


if __name__ == "__main__":
    sys.exit(main())
