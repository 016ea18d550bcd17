"""Manual pages: the project's Markdown pages as man(7) text.

A page starts with `# name(section) - what it is`. Known are headings of two levels, paragraphs, fenced code, lists,
`code`, **strong** and *emphasis*; a list item that starts with code and a colon becomes a tagged paragraph.
"""

import re
from collections.abc import Iterator

_TITLE = re.compile(r"# (?P<name>[\w.-]+)\((?P<section>\d)\) - (?P<what>.+)")
_TAGGED = re.compile(r"- (?P<tag>`[^`]+`(?:, `[^`]+`)*): (?P<text>.+)", re.DOTALL)
_SPAN = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*|\*(?P<emphasis>[^*\s][^*]*)\*")
_FENCE = "```"


def man_page(markdown: str, *, source: str) -> str:
    """Return the page as man(7) text; `source` is the program and version shown at its foot. ValueError: no title."""
    title = _TITLE.match(markdown)
    if title is None:
        raise ValueError("page does not start with '# name(section) - what it is'")
    name = title["name"]
    head = (
        f'.TH {name.upper()} {title["section"]} "" "{source}"\n.SH NAME\n{_escape(name)} \\- {_inline(title["what"])}\n'
    )
    return head + "".join(_block(block) for block in _blocks(markdown[title.end() :]))


def _blocks(text: str) -> Iterator[str]:
    """Yield headings, paragraphs, list items and whole fenced blocks."""
    for number, part in enumerate(re.split(rf"^{_FENCE}\w*$\n?", text, flags=re.MULTILINE)):
        if number % 2:
            yield _FENCE + part
            continue
        for paragraph in re.split(r"\n\s*\n", part):
            yield from (item for item in re.split(r"\n(?=- )", paragraph.strip()) if item)


def _block(block: str) -> str:
    if block.startswith(_FENCE):
        return f".PP\n.RS 4\n.nf\n{_escape(block.removeprefix(_FENCE).rstrip())}\n.fi\n.RE\n"
    if block.startswith("### "):
        return f".SS {_inline(block[4:])}\n"
    if block.startswith("## "):
        return f".SH {_inline(block[3:]).upper()}\n"
    text = " ".join(block.split())
    if tagged := _TAGGED.fullmatch(text):
        return f".TP\n{_inline(tagged['tag'])}\n{_inline(tagged['text'])}\n"
    if text.startswith("- "):
        return f".IP \\(bu 2\n{_inline(text[2:])}\n"
    return f".PP\n{_inline(text)}\n"


def _inline(text: str) -> str:
    parts, at = [], 0
    for span in _SPAN.finditer(text):
        bold, italic = span["code"] or span["strong"], span["emphasis"]
        parts += [
            _escape(text[at : span.start()]),
            f"\\fB{_escape(bold)}\\fR" if bold else f"\\fI{_escape(italic)}\\fR",
        ]
        at = span.end()
    return "".join([*parts, _escape(text[at:])])


def _escape(text: str) -> str:
    """Protect what roff reads: backslashes, hyphens that are to be copied, and control lines."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)
