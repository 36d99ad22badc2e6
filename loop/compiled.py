"""Writers of JSON for frozen classes, compiled once of each, as attrs makes initialisers.

What an event says is written at each step of every run: of all that a step does this took longest,
and half of it went into looking at fields that hold their defaults.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from json import encoder
from operator import attrgetter
from typing import Any, get_args

import attrs

from loopwright.fixed import Fixed
from loopwright.written import writer

Write = Callable[[Any], str]
"""Writes values of one type as JSON text."""

Values = Callable[[Any], Sequence[Any]]
"""Gets what some of the fields of a value hold."""

BIG = 2**63
"""The whole numbers of SQLite have 64 bits."""


def text(value: Any) -> str:
    """JSON text of a frozen value, or of data that holds some; what has its default is left out.

    Raises `ValueError`, `TypeError` or `RecursionError` for what JSON cannot hold, or what a reader
    of the log would stumble on.

    >>> from loopwright.calls import Quote, ModelCall
    >>> text(ModelCall("m1", "openai:gpt", quote=Quote(high=5)))
    '{"is":"ModelCall","id":"m1","model":"openai:gpt","quote":{"high":5}}'
    """
    return _WRITERS[type(value)](value)


def compiled(kind: type, without: tuple[str, ...] = ()) -> Write:
    """A function that writes values of the attrs class `kind`, `without` some of its fields.

    Its source holds nothing but the names of the fields, which are those of our own classes.
    """
    names: dict[str, Any] = {"writers": _WRITERS, "quoted": _WRITERS[str]}
    lines = ["def write(value):", f"    text = {_head(kind)!r}"]
    for i, field in enumerate(attrs.fields(kind)):
        if field.name not in without:
            lines += [f"    held = value.{field.name}", *_lines(field, i, names)]
    lines.append("    return '{' + text[1:] + '}'")
    exec("\n".join(lines), names)
    write: Write = names["write"]
    return write


def _lines(field: Any, i: int, names: dict[str, Any]) -> list[str]:
    """How a field is added to the text. A default that is frozen is known by its text, too: to
    compare that is quicker than to compare the values."""
    written = "quoted(held)" if field.type is str else "writers[type(held)](held)"
    add = f"text += ',\"{field.name}\":' + {written}"
    if field.default is attrs.NOTHING:
        return [f"    {add}"]
    usual = names[f"default_{i}"] = default(field.default)
    if not attrs.has(type(usual)):
        return [f"    if held is not default_{i} and held != default_{i}: {add}"]
    names[f"usual_{i}"] = text(usual)
    return [
        f"    if held is not default_{i} and (written := {written}) != usual_{i}:",
        f"        text += ',\"{field.name}\":' + written",
    ]


def _getter(given: Sequence[Any]) -> Values:
    """Gets the values of these fields."""
    names = [field.name for field in given]
    if len(names) < 2:
        return lambda value: [getattr(value, name) for name in names]
    return attrgetter(*names)


def _head(kind: type) -> str:
    return f',"is":"{tag(kind)}"' if tag(kind) else ""


@cache
def known(kind: type) -> type | None:
    """Our class that `kind` is, or is made from: what a user's class adds to it is not stored."""
    return next((one for one in kind.__mro__ if one.__module__ in _OURS and attrs.has(one)), None)


_OURS = ("loopwright.calls", "loopwright.decisions", "loopwright.events")


def fields(value: Any) -> dict[str, Any]:
    """The fields of a frozen value as they are; of ours those that have not their default."""
    kind: Any = type(value)
    if not attrs.has(kind):
        raise TypeError(f"a {kind.__name__}")
    ours: Any = known(kind)
    if ours is None:
        return {field.name: getattr(value, field.name) for field in attrs.fields(kind)}
    always, needed, names, defaults, get = _form(ours)
    data = always | {name: getattr(value, name) for name in needed}
    if names:
        for name, default, held in zip(names, defaults, get(value)):  # noqa: B905
            if held is not default and held != default:
                data[name] = held
    return data


Form = tuple[dict[str, Any], tuple[str, ...], tuple[str, ...], tuple[Any, ...], Values]


@cache
def _form(kind: Any) -> Form:
    """Of an attrs class: its tag, the fields without a default, those with, and a getter."""
    given = attrs.fields(kind)
    always = {"is": tag(kind)} if tag(kind) else {}
    needed = tuple(field.name for field in given if field.default is attrs.NOTHING)
    others = [field for field in given if field.default is not attrs.NOTHING]
    defaults = tuple(default(field.default) for field in others)
    return always, needed, tuple(field.name for field in others), defaults, _getter(others)


def default(given: Any) -> Any:
    """The value of a field's default."""
    return given.factory() if isinstance(given, attrs.Factory) else given  # type: ignore[arg-type]


@cache
def tag(kind: type) -> str:
    """The name of a class that stands where several are possible, else nothing."""
    from loopwright import calls, decisions

    tagged = (*get_args(calls.Block), *get_args(calls.Call), *get_args(calls.Result))
    return kind.__name__ if kind in (*tagged, *get_args(decisions.Decision)) else ""


class _Writers(dict[type, Write]):
    """The writers by type. That of a frozen class is compiled when it is first needed."""

    def __missing__(self, kind: type) -> Write:
        ours = known(kind)
        if ours is None:
            return _any
        self[kind] = compiled(ours)
        return self[kind]


_written = writer(fields, nan=False)


def _any(value: Any) -> str:
    """Only data can have keys or whole numbers that it takes more care to store."""
    text = _written(value)
    if '"$' in text or _BEYOND_64_BITS(text):
        raise ValueError("a key that begins with a dollar, or a number beyond 64 bits")
    return text


_BEYOND_64_BITS = re.compile(r"\d{19}").search


def _int(value: int) -> str:
    return repr(value) if -BIG <= value < BIG else _any(value)


def _float(value: float) -> str:
    return repr(value) if value - value == 0.0 else _any(value)


def _tuple(values: tuple[Any, ...]) -> str:
    return f"[{','.join([_WRITERS[type(value)](value) for value in values])}]"


_WRITERS = _Writers(
    {
        str: encoder.encode_basestring,
        int: _int,
        float: _float,
        bool: lambda value: "true" if value else "false",
        tuple: _tuple,
        dict: _any,
        Fixed: _any,
    }
)
