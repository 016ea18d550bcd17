"""Places of errors: outermost first, an object named once."""

import pytest

from xdploaderd.errors import LoaderError, ObjectError, error_context


def text_of(*places: str) -> str:
    with pytest.raises(LoaderError) as caught:
        _fail(list(places))
    return str(caught.value)


def _fail(places: list[str]) -> None:
    if not places:
        raise ObjectError("is bad")
    with error_context(places[0]):
        _fail(places[1:])


def test_places_stand_outermost_first() -> None:
    assert text_of("map 'm'", "member 'x'") == "map 'm': member 'x': is bad"


def test_object_is_named_once_by_who_knows_its_path() -> None:
    assert text_of("object '/o/x.o'", "object 'x.o'", "map 'm'") == "object '/o/x.o': map 'm': is bad"
    assert text_of("prog 'p'", "object 'x.o'") == "prog 'p': object 'x.o': is bad"
