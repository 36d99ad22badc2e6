"""The keys of a class with fields: what its constructor takes, and what else is known of them."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import (
    Any,
    Generic,
    NotRequired,
    Required,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import attrs
from attrs import NOTHING, frozen

from loopwright.errors import BadInput

REQUIRED: Any = inspect.Parameter.empty
"""Stands where a key has no default."""


@frozen
class Key:
    """One key of a JSON object: its name and type, and what else is known of it.

    With a `default` the key may be left out; ``...`` is one that cannot be shown. `attribute` is
    where a value keeps it, if it does.
    """

    name: str
    type: Any
    default: Any = REQUIRED
    description: str = ""
    attribute: str = ""


def keys_of(type_: Any) -> tuple[Key, ...] | None:
    """The keys of an attrs class, dataclass, TypedDict or NamedTuple; None if it is no such class.

    Raises `BadInput` for a class whose values cannot be made from keys, or not be compared.
    """
    cls = get_origin(type_) or type_
    keys = _keys(cls)
    if keys is None:
        return None
    if cls.__eq__ is object.__eq__:
        raise BadInput(f"{cls.__name__} needs ==, to tell whether a value survives: drop eq=False")
    _, about = documented(cls)
    given = _variables(type_)
    return tuple(
        attrs.evolve(key, type=filled(key.type, given), description=about.get(key.name, ""))
        for key in keys
    )


def _keys(cls: Any) -> list[Key] | None:
    if attrs.has(cls):
        return _of_attrs(cls)
    if dataclasses.is_dataclass(cls):
        return _of_dataclass(cls)
    if hasattr(cls, "__required_keys__"):
        return _of_typed_dict(cls)
    return _of_named_tuple(cls) if issubclass(cls, tuple) and hasattr(cls, "_fields") else None


def _of_attrs(cls: Any) -> list[Key]:
    hints = _hints(cls)
    return [
        Key(a.alias, hints.get(a.name, a.type or Any), _default(a.default), attribute=a.name)
        for a in attrs.fields(cls)
        if a.init
    ]


def _default(default: Any) -> Any:
    made = isinstance(default, attrs.Factory)  # type: ignore[arg-type]
    return REQUIRED if default is NOTHING else ... if made else default


def _of_dataclass(cls: Any) -> list[Key]:
    hints = _hints(cls)
    if any(isinstance(hint, dataclasses.InitVar) for hint in hints.values()):
        raise BadInput(f"{cls.__name__} has an InitVar, which a value does not keep: use a field")
    return [
        Key(f.name, hints[f.name], _dataclass_default(f), attribute=f.name)
        for f in dataclasses.fields(cls)
        if f.init
    ]


def _dataclass_default(spot: "dataclasses.Field[Any]") -> Any:
    if spot.default_factory is not dataclasses.MISSING:
        return ...
    return REQUIRED if spot.default is dataclasses.MISSING else spot.default


def _of_typed_dict(cls: Any) -> list[Key]:
    return [
        Key(name, hint, REQUIRED if _required(cls, name, hint) else ...)
        for name, hint in _hints(cls).items()
    ]


def _required(cls: Any, name: str, hint: Any) -> bool:
    """The hint is asked first: an annotation that is a text hides its qualifier from the class."""
    if get_origin(hint) in (Required, NotRequired):
        return get_origin(hint) is Required
    return name in cls.__required_keys__


def _of_named_tuple(cls: Any) -> list[Key]:
    hints, defaults = _hints(cls), cls._field_defaults
    return [
        Key(name, hints.get(name, Any), defaults.get(name, REQUIRED), attribute=name)
        for name in cls._fields
    ]


def _hints(cls: Any) -> dict[str, Any]:
    return hints_of(cls, cls.__name__, {cls.__name__: cls})


def hints_of(thing: Any, name: str, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The annotations of a class, a function or a namespace, evaluated in its module.

    Raises `BadInput` for a name that stands neither there nor in `known`.
    """
    try:
        return get_type_hints(thing, None, dict(known or {}), include_extras=True)
    except NameError as error:
        raise BadInput(f"{name}: {error}: define it at the top of the module") from None


def filled(type_: Any, given: Mapping[Any, Any]) -> Any:
    """The type with its variables replaced by what they stand for."""
    if isinstance(type_, TypeVar):
        return given.get(type_, type_)
    if isinstance(type_, type):
        return type_
    free = getattr(type_, "__parameters__", ())
    return type_[tuple(given.get(variable, variable) for variable in free)] if free else type_


def _variables(type_: Any) -> dict[Any, Any]:
    """What the variables of a generic class and of its bases stand for."""
    cls = get_origin(type_) or type_
    given = dict(zip(getattr(cls, "__parameters__", ()), get_args(type_), strict=False))
    for base in cls.__dict__.get("__orig_bases__", ()):
        if isinstance(get_origin(base), type) and get_origin(base) is not Generic:
            given = _variables(filled(base, given)) | given
    return given


def documented(cls: Any) -> tuple[str, dict[str, str]]:
    """What the user wrote of a class and of its attributes; not what was generated."""
    text = cls.__dict__.get("__doc__") or ""
    return ("", {}) if text.startswith(f"{cls.__name__}(") else described(text)


def described(docstring: str) -> tuple[str, dict[str, str]]:
    """The description in a docstring (Google, NumPy or Sphinx form), and those of its names."""
    from docstring_parser import ParseError, parse

    try:
        parsed = parse(docstring)
    except ParseError:
        return inspect.cleandoc(docstring), {}
    about = {param.arg_name: param.description or "" for param in parsed.params}
    parts = (parsed.short_description, parsed.long_description)
    return "\n\n".join(part for part in parts if part), about
