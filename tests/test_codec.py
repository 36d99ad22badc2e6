"""Everything that is stored comes back as it was."""

import json
import sqlite3
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright import BadInput
from loopwright.calls import Call, Reply
from loopwright.codec import canonical, decode, encode, plain, revive
from loopwright.compiled import fields
from loopwright.compiled import text as text_of
from loopwright.decisions import ENDINGS, Refuse, Stop, Switch, TryAgain
from loopwright.events import EVENTS, Event
from loopwright.log import rows

text = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["\ud800", "a\0b", "$text", "$dict", "\u202e", "x" * 600, "é" * 600, "\x1b[31m"]
)
atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False)
    | text
)
data = st.recursive(
    atoms,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
mappings = st.dictionaries(text, data, max_size=3)


NARROW: dict[type, dict[str, st.SearchStrategy[Any]]] = {
    TryAgain: {"after": st.floats(0, 1e9)},
    Switch: {"to": st.sampled_from(["a:b", "anthropic:claude"])},
    Refuse: {"ending": st.none() | st.sampled_from(ENDINGS)},
    Stop: {"outcome": st.sampled_from(ENDINGS)},
}
"""Fields that do not take every value of their type."""


def _values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of the annotated type `kind`, built field by field."""
    import types
    from collections.abc import Mapping
    from enum import Enum
    from typing import Literal, Union, get_args, get_origin, get_type_hints

    import attrs

    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return data
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, types.UnionType):
        return st.one_of([_values(one) for one in inner])
    if origin is tuple:
        return st.lists(_values(inner[0]), max_size=2).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return mappings if inner[1] is Any else st.dictionaries(text, _values(inner[1]), max_size=2)
    if attrs.has(kind):
        hints = get_type_hints(kind)
        held = {f.name: _values(hints[f.name]) for f in attrs.fields(kind)}
        return st.builds(kind, **{**held, **NARROW.get(kind, {})})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    return {
        str: text,
        int: st.integers(),
        float: st.floats(allow_nan=False),
        bool: st.booleans(),
        type(None): st.none(),
    }[kind]


@pytest.mark.parametrize("name", EVENTS)
@given(given_data=st.data())
def test_every_event_survives_json_and_back(name: str, given_data: st.DataObject) -> None:
    event: Event = given_data.draw(_values(EVENTS[name]))
    parts: dict[str, str] = {}
    stored = encode(event, parts)
    stored.encode()
    assert revive(EVENTS[name], decode(stored, parts.__getitem__)) == event


@pytest.mark.parametrize("name", EVENTS)
@given(given_data=st.data())
def test_compiled_writers_write_what_the_fields_say(name: str, given_data: st.DataObject) -> None:
    event: Event = given_data.draw(_values(EVENTS[name]))
    try:
        wanted = json.dumps(event, default=fields, ensure_ascii=False, separators=(",", ":"))
        wanted.encode()
    except UnicodeEncodeError:
        return
    with suppress(ValueError):  # what only `encode` can store
        assert text_of(event) == wanted


@pytest.mark.parametrize("name", EVENTS)
@given(given_data=st.data())
def test_every_event_survives_its_row(name: str, given_data: st.DataObject) -> None:
    event: Event = given_data.draw(_values(EVENTS[name]))
    ((_, _, kind, time, call, stored, _),), parts = rows.written("r", 0, [event])
    assert rows.read(kind, time, call, stored, parts) == event


@given(data)
def test_data_survives_json_sqlite_and_back(value: Any) -> None:
    parts: dict[str, str] = {}
    stored = encode(value, parts)
    connection = sqlite3.connect(":memory:")
    (kept, valid) = connection.execute(
        "select :stored, json_valid(:stored)", {"stored": stored}
    ).fetchone()
    connection.close()
    assert valid
    assert decode(kept, parts.__getitem__) == value
    assert all(len(part) > 512 for part in parts.values())


@given(st.sampled_from(["nan", "inf", "-inf"]))
def test_numbers_that_json_lacks_survive(name: str) -> None:
    (back,) = decode(encode([float(name)]))
    assert repr(back) == name


def test_the_same_data_has_the_same_canonical_text() -> None:
    assert canonical({"b": 1, "a": "\u202e\x1b"}) == '{"a":"\\u202e\\u001b","b":1}'
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {2}]}, "a set at a.1 cannot be stored"),
        ({"a": {1: 2}}, "the key 1 is no string"),
        ({"a": object()}, "a object at a cannot be stored"),
        ({"a": b"x"}, "a bytes at a cannot be stored"),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        encode(plain(value))


def test_too_deep_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadInput, match="nested more than 500 levels deep"):
        encode(deep)


def test_defaults_take_no_room() -> None:
    assert json.loads(encode(Reply())) == {"is": "Reply"}


def test_calls_are_told_apart() -> None:
    from loopwright.calls import ModelCall, Sleep

    for call in (ModelCall("m1", "a:b"), Sleep("s1", 2.0)):
        assert revive(Call, decode(encode(call))) == call
