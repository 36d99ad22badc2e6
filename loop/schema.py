"""Types as JSON: what a model is told of a type, and how its answer becomes a value of it.

pydantic does the reading and the writing. What it does not know (attrs classes) or would read too
laxly (dataclasses, TypedDict, NamedTuple) is stood in for by a closed pydantic model with the same
keys, from which the value is then made by calling the class. The user's classes stay as they are.
"""

import dataclasses
import functools
import json
import re
import sys
from collections import ChainMap, abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from itertools import combinations
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import attrs
from attrs import NOTHING, define, field, frozen

from loopwright.errors import BadInput, Mismatch

_CONFIG: dict[str, Any] = {
    "ser_json_bytes": "base64",
    "val_json_bytes": "base64",
    "allow_inf_nan": False,
}
_ABSENT = object()
_TAG = "is"
_LINES = 12
_SHOWN = 60


@frozen
class Key:
    """One key of a JSON object: its name and type, and what else is known of it.

    With a `default` the key may be left out. `attribute` is where a value keeps it, if it does.
    """

    name: str
    type: Any
    default: Any = NOTHING
    description: str = ""
    attribute: str = ""


@frozen(eq=False)
class Schema:
    """A type that JSON can hold: `json` is its JSON Schema, as a model is given it.

    >>> Schema.of(dict[str, int]).json
    {'additionalProperties': {'type': 'integer'}, 'type': 'object'}
    >>> Schema.of(tuple[int, ...]).parse_json("[1, 2]")
    (1, 2)
    """

    name: str
    json: dict[str, Any] = field(repr=False)
    _adapter: Any = field(repr=False)
    _closed: bool = field(repr=False)

    @staticmethod
    def of(type_: Any) -> "Schema":
        """The schema of a type; the same type gives the same object.

        Known are scalars, containers, Literal, Enum, unions, Annotated constraints, dates, Decimal,
        UUID, Path, bytes (as base64), attrs classes, dataclasses, TypedDict, NamedTuple (as an
        object) and pydantic models, at any depth, recursive or generic. In a union of classes that
        JSON alone could not tell apart, each gets the key ``is`` with its name.

        Raises `BadInput` for a type that JSON cannot hold, and says what to do.
        """
        known = _hints(SimpleNamespace(__annotations__={"it": type_}), _title(type_))["it"]
        try:
            return _schema(known)
        except TypeError:  # an annotation that cannot be hashed cannot be looked up either
            return _schema.__wrapped__(known)

    @staticmethod
    def of_keys(name: str, keys: Iterable[Key]) -> "Schema":
        """The schema of a JSON object with these keys; its value is a dict of those given.

        Raises `BadInput` for a type that JSON cannot hold.
        """
        reading = _Reading()
        form = _Form(dict, name, tuple(keys), dict)
        return _built(reading, reading.stood_in(form, {}), name)

    def parse(self, data: Any) -> Any:
        """The value that decoded JSON stands for; it shares nothing with `data`.

        Strict as JSON is: ``"1"`` is no int, but an ISO text is a date and a list a tuple. Raises
        `Mismatch`.
        """
        try:
            text = json.dumps(data, allow_nan=False)
        except RecursionError:
            raise Mismatch(["nested too deep"]) from None
        except (ValueError, TypeError) as error:
            raise Mismatch([f"not JSON: {_digits(error)}"]) from None
        return self._read(text)

    def parse_json(self, text: str) -> Any:
        """The value that a JSON text stands for; it may stand in one Markdown fence.

        Of a key that comes twice, the last one counts. Raises `Mismatch`; for what is not JSON it
        says the position.
        """
        bare = _unfenced(text)
        try:
            json.loads(bare, parse_constant=_refused, parse_float=_finite)
        except RecursionError:
            raise Mismatch(["nested too deep"]) from None
        except ValueError as error:
            raise Mismatch([f"not JSON: {_digits(error)}"]) from None
        return self._read(bare)

    def dump(self, value: Any, *, exact: bool = True) -> Any:
        """Plain JSON data from which `parse` makes an equal value.

        Where the type is open (`Sequence`, `Any`), a tuple comes back as a list. With
        ``exact=False`` it does not matter whether the value would come back.

        Raises `BadInput` for a value that is not of the type, or that JSON cannot hold.

        >>> Schema.of(set[int]).dump({1})
        [1]
        """
        try:
            data = self._adapter.dump_python(value, mode="json", by_alias=True, warnings="error")
            text = json.dumps(data, allow_nan=False)
            changed = _change(value, self._read(text), "") if exact else None
        except Exception as error:
            raise BadInput(f"{_a(value)} cannot be held as {self.name}: {_reason(error)}") from error
        if changed is not None:
            where = changed.lstrip(".") or "the top"
            reason = f"at {where} JSON would give back another value"
            raise BadInput(f"{_a(value)} cannot be held as {self.name}: {reason}")
        return json.loads(text)

    def _read(self, text: str) -> Any:
        from pydantic import ValidationError

        extra = {"extra": "forbid"} if self._closed else {}
        try:
            return self._adapter.validate_json(text, strict=True, **extra)
        except ValidationError as error:
            raise Mismatch(_problems(error.errors(include_url=False))) from None
        except UnicodeEncodeError:
            raise Mismatch([_SURROGATE]) from None


@functools.lru_cache(maxsize=1024)
def _schema(type_: Any) -> Schema:
    reading, name = _Reading(), _title(type_)
    try:
        return _built(reading, reading.read(type_, {}), name)
    except RecursionError:
        raise BadInput(f"{name} cannot be held in JSON: it is nested without end") from None


def _built(reading: "_Reading", type_: Any, name: str) -> Schema:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticErrorMixin

    try:
        adapter: Any = TypeAdapter(type_, config=_CONFIG)  # type: ignore[arg-type]
        if not adapter.pydantic_complete:
            adapter.rebuild()
        shown = adapter.json_schema(schema_generator=_generator())
    except (PydanticErrorMixin, TypeError, NameError) as error:
        raise _unsupported(name, str(error).splitlines()[0]) from error
    return Schema(name, _tidy(shown, reading.closed), adapter, reading.closed)


def _unsupported(name: str, reason: str) -> BadInput:
    return BadInput(
        f"{name} cannot be held in JSON ({reason}): use scalars, containers, Literal, Enum, attrs "
        "classes, dataclasses, TypedDict, NamedTuple or pydantic models"
    )


def _title(type_: Any) -> str:
    return type_.__name__ if isinstance(type_, type) and not get_args(type_) else repr(type_)


# ---------------------------------------------------------------------------------- JSON Schema


@functools.cache
def _generator() -> Any:
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        ignored_warning_kinds = GenerateJsonSchema.ignored_warning_kinds | {
            "non-serializable-default"
        }

    return Generator


_NAMED = ("properties", "$defs", "patternProperties")
_VERBATIM = ("default", "const", "enum", "examples")


def _tidy(schema: Any, closed: bool) -> Any:
    """Without the titles that pydantic makes up, and closed where nobody opened it."""
    if isinstance(schema, list):
        return [_tidy(item, closed) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidied(key, item, closed) for key, item in schema.items() if key != "title"}
    if closed and "properties" in tidy:
        tidy.setdefault("additionalProperties", False)
    return tidy


def _tidied(key: str, item: Any, closed: bool) -> Any:
    if key in _NAMED:
        return {name: _tidy(inner, closed) for name, inner in item.items()}
    return item if key in _VERBATIM else _tidy(item, closed)


# ----------------------------------------------------------------------- types as pydantic reads


@define(eq=False)
class _Form:
    """Stands for a class of the user where pydantic reads types: by its hook for annotations."""

    cls: Any
    name: str
    keys: tuple[Key, ...]
    make: Callable[..., Any]
    doc: str = ""
    extra: str = "forbid"
    tag: str = ""
    stand: Any = None
    fields: dict[str, str] = field(factory=dict)

    def __get_pydantic_core_schema__(self, _source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            self._made,
            handler.generate_schema(self.stand),
            serialization=core_schema.wrap_serializer_function_ser_schema(self._taken),
        )

    def _made(self, stand: Any) -> Any:
        given = {
            self.fields[name]: getattr(stand, name)
            for name in stand.model_fields_set & self.fields.keys()
        }
        ordered = {key.name: given[key.name] for key in self.keys if key.name in given}
        values = ordered | (stand.model_extra or {})
        try:
            return self.make(**values)
        except (ValueError, AssertionError):
            raise
        except Exception as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    def _taken(self, value: Any, handler: Any) -> Any:
        from pydantic_core import PydanticSerializationUnexpectedValue

        if type(value) is not self.cls:
            raise PydanticSerializationUnexpectedValue(f"{_a(value)} is no {self.name}")
        held = self._held(value)
        if self.tag:
            held[_TAG] = self.tag
        absent = {key.name: _ABSENT for key in self.keys if key.name not in held}
        if any(key.name in absent and key.default is NOTHING for key in self.keys):
            raise PydanticSerializationUnexpectedValue(f"{', '.join(absent)} is missing")
        data = handler(self.stand.model_construct(**held, **absent))
        return {name: item for name, item in data.items() if name not in absent}

    def _held(self, value: Any) -> dict[str, Any]:
        if self.cls is not dict:
            places = [(key.name, key.attribute) for key in self.keys if key.attribute]
            return {name: getattr(value, place) for name, place in places if hasattr(value, place)}
        from pydantic_core import PydanticSerializationUnexpectedValue

        unknown = [key for key in value if key not in {key.name for key in self.keys}]
        if unknown and self.extra == "forbid":
            raise PydanticSerializationUnexpectedValue(f"unexpected key {unknown[0]!r}")
        return dict(value)

    def __hash__(self) -> int:
        return id(self)


@frozen
class _Native:
    """A pydantic model as it is, where pydantic would not let a config stand around it."""

    cls: Any

    def __get_pydantic_core_schema__(self, _source: Any, handler: Any) -> Any:
        return handler.generate_schema(self.cls)


@define
class _Reading:
    """Reads one type: finds the classes in it, and puts forms in their place."""

    forms: dict[Any, _Form] = field(factory=dict)
    closed: bool = True

    def read(self, type_: Any, given: Mapping[Any, Any]) -> Any:
        """The type as pydantic is to read it; `given` says what type variables stand for."""
        origin, args = get_origin(type_), get_args(type_)
        bare = origin or type_
        if isinstance(type_, TypeVar):
            return self.read(given[type_], {}) if type_ in given else type_
        if isinstance(type_, NewType):
            return self.read(type_.__supertype__, given)
        if origin is Annotated:
            metadata = map(_plain_metadata, type_.__metadata__)
            return Annotated[(self.read(type_.__origin__, given), *metadata)]
        if origin in (Union, UnionType):
            return self._union(args, given)
        if getattr(bare, "_name", "") in _QUALIFIERS:
            return self.read(args[0], given)
        if hasattr(bare, "__value__"):
            return self._alias(type_, bare, given)
        if bare in _REFUSED:
            raise _unsupported(_title(type_), "it is no data")
        if isinstance(bare, type) and (form := self._class(_filled(type_, given), bare)):
            return form
        return self._container(type_, bare, args, given)

    def _container(self, type_: Any, bare: Any, args: Any, given: Mapping[Any, Any]) -> Any:
        if bare in (abc.Iterable, abc.Collection):
            bare, type_ = list, list
        inner = tuple(arg if arg is ... else self.read(arg, given) for arg in args)
        return bare[inner] if args and get_origin(type_) is not Literal else type_

    def _union(self, args: Sequence[Any], given: Mapping[Any, Any]) -> Any:
        from pydantic import Tag

        kinds = [arg for arg in args if arg is not NoneType]
        read = [self.read(kind, given) for kind in kinds]
        alike = _alike([form for form in map(_form_of, read) if form])
        for i, kind in enumerate(kinds):
            if _form_of(read[i]) in alike:
                read[i] = self._tagged(_filled(kind, given), _form_of(read[i]))
            if len(kinds) > 1:
                read[i] = Annotated[read[i], Tag(_Label.of(kind, _form_of(read[i])))]
        return Union[(*read, *(arg for arg in args if arg is NoneType))]

    def _tagged(self, type_: Any, form: Any) -> Any:
        key = (type_, _TAG)
        if key in self.forms:
            return Annotated[Any, self.forms[key]]
        tagged = attrs.evolve(form, tag=form.name, stand=None, fields={})
        self.forms[key] = tagged
        return self.stood_in(tagged, _variables(type_))

    def _alias(self, type_: Any, alias: Any, given: Mapping[Any, Any]) -> Any:
        from pydantic import RootModel

        variables = dict(zip(alias.__type_params__, get_args(type_), strict=False))
        ...
