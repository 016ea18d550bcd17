"""Which names of maps and programs can be names of pins."""

from dataclasses import replace

import pytest

from tests.builders.spec import data_map
from xdploaderd.errors import LoaderError, ObjectError, PinError
from xdploaderd.obj.pin_names import check_names, check_pin_name

HOSTILE = ["../x", "a/b", ".", "..", "n" * 256, "x\ny", "\x1b[2J", "", "a\0b"]


@pytest.mark.parametrize("name", HOSTILE)
def test_name_that_no_pin_can_have_is_refused(name: str) -> None:
    with pytest.raises(PinError, match="cannot be the name of a pin"):
        check_pin_name(name)
    with pytest.raises(LoaderError, match=r"cannot be the name of a pin|is no name of a map"):
        check_names([replace(data_map(name, "", 4), pinning=1)], ["main"])


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "..", ""])
def test_name_with_a_meaning_in_paths_is_refused_pinned_or_not(name: str) -> None:
    with pytest.raises(ObjectError, match="is no name of a map"):
        check_names([data_map(name, "", 4)], [])
    with pytest.raises(ObjectError, match="is no name of a program"):
        check_names([], [name])


def test_names_of_compilers_are_taken() -> None:
    check_names([data_map(".data.custom", ".data.custom", 4), data_map("flows", "", 4)], ["_ZN3foo3barE", "f.llvm.12"])
    check_pin_name("n" * 255)
