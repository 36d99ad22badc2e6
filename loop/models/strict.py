"""JSON for the wire: written plainly, and read whole or not at all."""

import json
import math
from collections.abc import Mapping
from typing import Any

from loopwright.written import writer

_DEEPEST = 100
"""Levels of nesting: what people and models write stays below 20, and the log's encoder, SQLite's
and Python's own parser give up at 500 to 1,000."""


dumps = writer(dict)
"""JSON text of plain data; other mappings are written as objects."""


def loads(text: str) -> Any:
    """The value of JSON text. Raises `ValueError` for what is not strictly JSON, or too deep."""
    try:
        value = _read(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _shallow(text, value)


def arguments(given: Any) -> tuple[dict[str, Any], str]:
    """A tool call's arguments as they came over the wire, and what is wrong with them, or ``""``.

    Nothing at all means no arguments. Nothing is completed or guessed: a cut object looks like a
    smaller one that is whole.

    >>> arguments('{"path": "/a", "con')
    ({}, 'Unterminated string starting at: line 1 column 16 (char 15)')
    """
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}, ""
    try:
        value = _shallow(given, _read_once(given)) if isinstance(given, str) else given
    except RecursionError:
        return {}, "nested too deeply"
    except ValueError as error:
        return {}, str(error)[:300]
    if value is None:
        return {}, ""
    if not isinstance(value, Mapping):
        return {}, f"the arguments are {_KIND.get(type(value), 'no object')}, but must be an object"
    return dict(value), ""


_KIND = {list: "a list", str: "a text", int: "a number", float: "a number", bool: "a boolean"}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:80]!r} is given twice")
    return found


_read = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite).decode
"""Kept: `json.loads` makes a decoder at each call that is not the plain one."""

_read_once = json.JSONDecoder(
    parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_duplicates
).decode


def _shallow(text: str, value: Any) -> Any:
    if text.count("[") + text.count("{") > _DEEPEST and _depth(value) > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        depth += 1
        level = [inner for outer in level for inner in _inside(outer)]
    return depth


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
