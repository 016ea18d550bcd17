"""xdploaderd.yaml: text that is no configuration is refused with its place, in bounded time."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.config.written import faults_of, parsed
from xdploaderd.config.attachments import parse_attachments
from xdploaderd.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("[" * 100_000, "1:17", "nested more than 16 levels"),
        ("{a: " * 100_000, "1:65", "nested more than 16 levels"),
        ("- " * 100_000, "1:33", "nested more than 16 levels"),
        ("a: &x 1\n", "1:4", "anchor '&x'"),
        ("a: *x\n", "1:4", "alias '*x'"),
        ("a: !!python/object:os.system x", "1:4", "tag"),
        ("a: ! x", "1:4", "tag"),
        ("%YAML 1.1\n---\na: b\n", "1:1", "directives"),
        ("a: b\n---\nc: d\n", "2:1", "second document"),
        ("a: b\na: c\n", "2:1", "key 'a' stands already in line 1, column 1"),
        ("attachments:\n- {name: a, name: b}\n", "2:13", "key 'name' stands already"),
        ("<<: {a: b}\n", "1:1", "merge keys"),
        ("? [a]\n: b\n", "1:3", "a key must be a word"),
        ("a: [b\n", "2:1", "no valid YAML"),
        ("a: \t- b\n", "1:5", "no valid YAML"),
        ("a: \x00\n", "1:4", "U+0000"),
        ("a:\n  \x1b[2J\n", "2:3", "U+001B"),
        ("text", "1:1", "want a mapping with the key 'attachments', not a word"),
        ("attachments: 5", "1:14", "want a list, not a word"),
        ("attachments: {}", "1:14", "want a list, not a mapping"),
    ],
)
def test_hostile_yaml_is_refused_with_its_place(text: str, place: str, message: str) -> None:
    start = time.monotonic()
    (fault,) = faults_of(text)
    assert time.monotonic() - start < 1.0
    assert fault.startswith(f"f:{place}: ")
    assert message in fault


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    with pytest.raises(ConfigError, match="f:2:2: byte 0x80"):
        parse_attachments(b"#\n \x80", source="f")


def test_text_over_one_mebibyte_is_refused() -> None:
    with pytest.raises(ConfigError, match="1048577 bytes"):
        parse_attachments(b"#" * (2**20 + 1), source="f")


YAML_TEXT = st.text(st.sampled_from("attchmens:-{}[],&*!<>|?#'\"%@ \n\t\\0x9") | st.characters(), max_size=80)


@pytest.mark.property
@given(YAML_TEXT | YAML_TEXT.map(lambda text: f"attachments:\n- name: {text}\n") | st.binary(max_size=60))
def test_parser_raises_config_error_and_nothing_else(text: str | bytes) -> None:
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    with suppress(ConfigError):
        parse_attachments(raw, source="f")


def test_unknown_key_with_invisible_characters_is_shown_escaped() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_attachments("a\ufeff: []\n".encode(), source="x.yaml")
    assert "x.yaml:1:1: a\\ufeff: unknown key 'a\\ufeff'" in str(caught.value)


def test_more_attachments_or_words_than_are_read_are_refused() -> None:
    with pytest.raises(ConfigError, match="4097 attachments in one file, want at most 4096"):
        parsed("attachments:\n" + "- x\n" * 4097)
    with pytest.raises(ConfigError, match=r"f:1:\d+: more than 65536 words, lists and mappings"):
        parsed("attachments: [" + "x," * 100_000 + "]")
