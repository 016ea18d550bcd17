"""essential_name: the flavor rule."""

import pytest

from xdploaderd.btf.names import essential_name


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("a___b", "a"),
        ("a___b___c", "a___b"),
        ("___x", "___x"),
        ("x____y", "x____y"),
        ("x___", "x___"),
        ("a_b___c", "a_b"),
        ("", ""),
        ("a", "a"),
        ("___", "___"),
        ("a___b____c", "a"),
        ("a____b___c", "a____b"),
        ("a___b_", "a"),
        ("_a___b", "_a"),
        ("a_____b", "a_____b"),
        ("a___b___", "a"),
    ],
)
def test_flavor_is_what_follows_the_last_lone_triple_underscore(name: str, essential: str) -> None:
    assert essential_name(name) == essential
