"""Values to JSON and back, without loss: the one strict encoder for everything that is stored.

Frozen attrs values become objects that leave out what has its default; where several classes are
possible the key ``is`` says which. JSON alone cannot hold every value, and SQLite's JSON functions
stumble over more (lone surrogates, NUL, NaN, integers beyond 64 bits). Such a value is stored as an
object with one key that starts with ``$``, and comes back as it was:

>>> encode({"a": float("nan"), "b": "\\ud800"})
'{"a":{"$float":"nan"},"b":{"$text":"\\\\\\\\ud800"}}'
>>> decode(encode({"$float": 1}))
{'$float': 1}
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs

from loopwright.compiled import BIG, Write, fields, text
from loopwright.errors import BadInput
from loopwright.legible import legible
from loopwright.written import writer

Plain = Any
"""What `json` can hold."""

_ATOMS = frozenset({str, int, float, bool, NoneType})

LONG = 512
"""Texts with more characters than this are stored once, by content."""

_DEEP = 500
"""SQLite's JSON functions stop at a depth of 1,000, Python's at the recursion limit."""

_TOO_DEEP = f"the data is nested more than {_DEEP} levels deep, or contains itself: make it flatter"

_dumps = writer(nan=False)
_written = writer()
_escaped = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_legible = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode(value: Any, parts: dict[str, str] | None = None) -> str:
    """JSON text of a frozen value or of plain data.

    Keys that are no strings are not noticed here: check data that a user gave with `plain`. With
    `parts`, texts of more than 512 characters are put there by their digest, and the JSON only
    names them. Raises `BadInput` for what JSON cannot hold, and says where it stands.
    """
    return quickly(text, value, parts) or carefully(value, parts)


def quickly(write: Write, value: Any, parts: dict[str, str] | None) -> str | None:
    """What `write` makes of the value, or nothing if it takes more care to store it."""
    try:
        text = write(value)
        if not text.isascii():
            text.encode()
    except (ValueError, TypeError, RecursionError):
        return None
    if "\\u0000" in text or (len(text) > LONG and parts is not None and _may_be_long(text)):
        return None
    return text


def _may_be_long(text: str) -> bool:
    """Whether one of the texts in this JSON may be a long one."""
    return max(map(len, text.replace('\\"', "__").split('"'))) > LONG


def carefully(value: Any, parts: dict[str, str] | None) -> str:
    """The same as `encode`, for what JSON alone cannot hold, and for long texts."""
    data = _tagged(plain(value))
    return _dumps(data if parts is None else _parted(data, parts))


def decode(text: str, part: Callable[[str], str] | None = None) -> Plain:
    """The plain data of a JSON text made by `encode`; `part` finds a text by its digest."""
    data = json.loads(text)
    return _untagged(data, part) if '"$' in text else data


def canonical(data: Plain) -> str:
    """The one text for the same data: keys sorted, and nothing in it that a screen would hide."""
    return _escaped(_sorted(_tagged(plain(data))))


def shown(data: Any) -> str:
    """Data as people read it: JSON with sorted keys, and nothing in it that a screen would hide.

    >>> shown({"b": "\u200b", "$a": "Grüße, 上海"})
    '{"$a":"Grüße, 上海","b":"\\\\u200b"}'
    """
    try:
        text = _legible(_sorted(plain(data)))
    except ValueError:  # of a number with more digits than Python writes
        return canonical(data)
    return legible(text, lambda char: _escaped(char)[1:-1])


def told(data: Any) -> str:
    """Data as a model reads it: JSON, and NaN as JavaScript has it. Raises `BadInput`.

    >>> told({"$ref": "Grüße"})
    '{"$ref":"Grüße"}'
    """
    data = plain(data)
    tagged = _tagged(data)  # raises for what JSON cannot hold, and says where
    try:
        return _written(data)
    except ValueError:  # of a number with more digits than Python writes
        return _dumps(tagged)


def digest(*values: Any) -> str:
    """A short digest of values that JSON can hold: the same for the same content, anywhere."""
    return hashlib.sha256("\n".join(map(canonical, values)).encode()).hexdigest()[:12]


def nameable(text: Any, what: str) -> str:
    """`text`, if it can name something in the log. Raises `BadInput`.

    >>> nameable("support", "ceiling")
    'support'
    """
    if not isinstance(text, str) or not text or len(text) > _LONGEST_NAME:
        most = f"a text of 1 to {_LONGEST_NAME} characters"
        raise BadInput(f"{text!r:.60} is no name of a {what}: give {most}")
    if _tagged_text(text) != text:
        raise BadInput(
            f"{text!r:.60} is no name of a {what}: it has a NUL or half of a surrogate pair"
        )
    return text


_LONGEST_NAME = 500
"""Characters: the id of a run that other runs began holds theirs, some seven for each level."""


def _sorted(data: Plain) -> Plain:
    if isinstance(data, dict):
        return {key: _sorted(data[key]) for key in sorted(data)}
    return [_sorted(item) for item in data] if isinstance(data, list) else data


# ------------------------------------------------------------------------------ values to plain


def plain(value: Any) -> Plain:
    """The plain data of a frozen value, all the way down; a copy. Raises `BadInput`."""
    try:
        return _plain(value)
    except RecursionError:
        raise BadInput(_TOO_DEEP) from None


def _plain(value: Any) -> Plain:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is tuple or kind is list:
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if attrs.has(kind):
        value = fields(value)
    return _plain_mapping(value) if isinstance(value, Mapping) else value


def _plain_mapping(mapping: Mapping[Any, Any]) -> Plain:
    """`json` would turn a key such as 1 into "1" without a word."""
    for key in mapping:
        if not isinstance(key, str):
            raise BadInput(f"the key {key!r} is no string: JSON objects have strings as keys")
    return {key: _plain(held) for key, held in mapping.items()}


# ------------------------------------------------------------------------------ plain to values


def revive(kind: Any, data: Plain) -> Any:
    """The value of the declared type `kind` whose plain data this is."""
    return _reader(kind)(data)


@cache
def _reader(kind: Any) -> Callable[[Plain], Any]:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _union_reader(inner)
    if origin is tuple:
        item = _reader(inner[0])
        return lambda data: tuple(map(item, data))
    if isinstance(kind, type) and attrs.has(kind):
        return _attrs_reader(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _as_it_is


def _as_it_is(data: Plain) -> Any:
    return data


def _union_reader(kinds: tuple[Any, ...]) -> Callable[[Plain], Any]:
    by_tag = {kind.__name__: kind for kind in kinds if attrs.has(kind)}
    if not by_tag:
        enums = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
        return (lambda data: data and enums[0](data)) if enums else _as_it_is
    only = next(iter(by_tag))

    def read(data: Plain) -> Any:
        if not isinstance(data, dict):
            return data
        return revive(by_tag[data.get("is", only)], data)

    return read


def _attrs_reader(kind: type) -> Callable[[Plain], Any]:
    hints = get_type_hints(kind)
    all_readers = {field.name: _reader(hints[field.name]) for field in attrs.fields(kind)}
    readers = [(name, read) for name, read in all_readers.items() if read is not _as_it_is]

    def read(data: Plain) -> Any:
        given = dict(data)
        given.pop("is", None)
        for name, reader in readers:
            if name in given:
                given[name] = reader(given[name])
        return kind(**given)

    return read


# ------------------------------------------------------------- what JSON or SQLite would stumble on


def _tagged(data: Plain, path: str = "", depth: int = 0) -> Plain:
    if depth > _DEEP:
        raise BadInput(_TOO_DEEP)
    if isinstance(data, str):
        return _tagged_text(data)
    if isinstance(data, int) and not isinstance(data, bool):
        return int(data) if -BIG <= data < BIG else {"$int": hex(data)}
    if isinstance(data, float):  # numpy's have a text of their own
        return float(data) if abs(data) < float("inf") else {"$float": float.__repr__(data)}
    if isinstance(data, Mapping):
        return _tagged_mapping(data, path, depth)
    if isinstance(data, list | tuple):
        return [_tagged(item, f"{path}.{i}", depth + 1) for i, item in enumerate(data)]
    if type(data) in _ATOMS:
        return data
    raise BadInput(
        f"a {type(data).__name__} at {path.lstrip('.') or 'the top'} cannot be stored: "
        "give strings, numbers, booleans, None, lists and dicts with string keys"
    )


def _tagged_mapping(data: Mapping[Any, Any], path: str, depth: int) -> Plain:
    held = {key: _tagged(item, f"{path}.{key}", depth + 1) for key, item in data.items()}
    if all(_tagged_text(key) == key for key in held) and not any(key[:1] == "$" for key in held):
        return held
    return {"$dict": [[_tagged_text(key), item] for key, item in held.items()]}


def _tagged_text(text: str) -> Plain:
    try:
        text.encode()
    except UnicodeEncodeError:
        return {"$text": _escaped(text)[1:-1]}
    return {"$text": _escaped(text)[1:-1]} if "\0" in text else text


def _parted(data: Plain, parts: dict[str, str]) -> Plain:
    if isinstance(data, str) and len(data) > LONG:
        digest = hashlib.sha256(data.encode()).hexdigest()[:32]
        parts[digest] = data
        return {"$part": digest}
    if isinstance(data, list):
        return [_parted(item, parts) for item in data]
    if isinstance(data, dict) and "$text" not in data and "$int" not in data:
        return {key: _parted(item, parts) for key, item in data.items()}
    return data


def _untagged(data: Plain, part: Callable[[str], str] | None) -> Plain:
    if isinstance(data, list):
        return [_untagged(item, part) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) != 1 or next(iter(data))[:1] != "$":
        return {key: _untagged(item, part) for key, item in data.items()}
    ((tag, held),) = data.items()
    if tag == "$part" and part:
        return part(held)
    if tag == "$dict":
        return {_untagged(key, part): _untagged(item, part) for key, item in held}
    return _UNTAG[tag](held)


_UNTAG: dict[str, Callable[[Any], Any]] = {
    "$text": lambda held: json.loads(f'"{held}"'),
    "$int": lambda held: int(held, 16),
    "$float": float,
}
