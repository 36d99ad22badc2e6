"""The kept encoder writes what `json` writes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.written import writer

DATA: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)


@given(DATA, st.booleans(), st.booleans())
def test_it_writes_as_json_does(data: Any, spaces: bool, ascii: bool) -> None:
    separators = (", ", ": ") if spaces else (",", ":")
    wanted = json.dumps(data, ensure_ascii=ascii, separators=separators)
    assert writer(spaces=spaces, ascii=ascii)(data) == wanted


@given(DATA)
def test_nan_is_refused_where_it_is_to_be(data: Any) -> None:
    try:
        wanted = json.dumps(data, allow_nan=False, separators=(",", ":"))
    except ValueError:
        with pytest.raises(ValueError, match="not JSON compliant"):
            writer(nan=False, ascii=True)(data)
    else:
        assert writer(nan=False, ascii=True)(data) == wanted


def test_what_json_does_not_know_is_asked_of_the_default() -> None:
    assert writer(sorted)({"a": {3, 1}}) == '{"a":[1,3]}'
    with pytest.raises(TypeError, match="set"):
        writer()({3, 1})


def test_what_contains_itself_is_no_json() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        writer()(loop)
