"""Types as JSON: what a model is told of a type, and how its answer becomes a value of it.

pydantic does the reading and the writing. What it does not know (attrs classes) or would read too
laxly (dataclasses, TypedDict, NamedTuple) is stood in for by a closed pydantic model with the same
keys, from which the value is then made by calling the class. The user's classes stay as they are.
"""

import dataclasses
import functools
import inspect
import json
import re
import sys
from collections import ChainMap, abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from itertools import combinations
from types import FrameType, NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NewType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
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
_LABEL = "\0or "
"""Begins the name of a union's alternative in pydantic's paths, to tell it from a key."""

_TAG = "is"
_SURROGATE = "not JSON: a text holds half of a surrogate pair (such as \\ud83d alone)"
_LINES = 12
_SHOWN = 60
_LONGEST = 400


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
    _options: dict[str, Any] = field(repr=False)
    _loose: bool = field(repr=False)

    @staticmethod
    def of(type_: Any) -> "Schema":
        """The schema of a type; the same type gives the same object.

        Known are scalars, containers, Literal, Enum, unions, Annotated constraints, dates, Decimal,
        UUID, Path, bytes (as base64), attrs classes, dataclasses, TypedDict, NamedTuple (as an
        object) and pydantic models, at any depth, recursive or generic. In a union of classes that
        JSON alone could not tell apart, each gets the key ``is`` with its name.

        Raises `BadInput` for a type that JSON cannot hold, and says what to do.
        """
        known = hints_of(SimpleNamespace(__annotations__={"it": type_}), _title(type_))["it"]
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
        form = reading.stood_in(_Form(dict, name, tuple(keys), dict), {})
        return _built(reading, form, name)

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
            changed = _change(value, self._read(text), "", self._loose) if exact else None
        except Exception as error:
            raise self._unheld(value, _reason(error)) from error
        if changed is not None:
            where = f"at {changed[1:]} " if changed else ""
            raise self._unheld(value, f"{where}JSON would give back another value")
        return json.loads(text)

    def _unheld(self, value: Any, reason: str) -> BadInput:
        return BadInput(f"{_a(value)} cannot be held as {self.name}: {reason}")

    def _read(self, text: str) -> Any:
        from pydantic import ValidationError

        try:
            return self._adapter.validate_json(text, strict=True, **self._options)
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

    try:
        adapter: Any = TypeAdapter(type_, config=_CONFIG)  # type: ignore[arg-type]
        if not adapter.pydantic_complete:
            adapter.rebuild()
        shown = adapter.json_schema(schema_generator=_generator())
    except Exception as error:
        raise _unsupported(name, _cause(error)) from error
    options = {"extra": "forbid"} if reading.closed and reading.native else {}
    return Schema(name, _tidy(shown, reading.closed), adapter, options, reading.loose)


def _unsupported(name: str, reason: str) -> BadInput:
    return BadInput(
        f"{name} cannot be held in JSON ({reason}): use scalars, containers, Literal, Enum, attrs "
        "classes, dataclasses, TypedDict, NamedTuple or pydantic models"
    )


def _cause(error: Exception) -> str:
    line = str(error).splitlines()[0]
    unknown = re.match(r"Unable to generate pydantic-core schema for (.+?)\. Set ", line)
    return f"{unknown[1]} has no fields and is no data" if unknown else line


def _title(type_: Any) -> str:
    origin, args = get_origin(type_), get_args(type_)
    if origin in (Union, UnionType):
        return " | ".join("None" if arg is NoneType else _title(arg) for arg in args)
    if isinstance(origin, type) and args:
        return f"{_title(origin)}[{', '.join(map(_title, args))}]"
    return type_.__name__ if isinstance(type_, type) else repr(type_)


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


def hints_of(thing: Any, name: str) -> dict[str, Any]:
    """The annotations of a class, a function or a namespace, evaluated.

    A name that its module does not know is looked up in the functions that are running: those of
    the module, and the one that called this library. Raises `BadInput` if they do not know it.
    """
    try:
        return get_type_hints(thing, include_extras=True)
    except NameError:
        pass
    own = {thing.__name__: thing} if isinstance(thing, type) else {}
    try:
        known: Any = ChainMap(own, *_outside(getattr(thing, "__module__", "")))
        return get_type_hints(thing, None, known, include_extras=True)
    except NameError as error:
        raise BadInput(f"{name}: {error}: define it at the top of a module, or before") from None


def _outside(module: str) -> list[dict[str, Any]]:
    """What is known in the code that called this library, nearest first."""
    frame: FrameType | None = sys._getframe()
    package = __name__.partition(".")[0]
    spaces: list[dict[str, Any]] = []
    while frame:
        name = frame.f_globals.get("__name__", "")
        if name.partition(".")[0] != package and (name == module or not spaces):
            spaces += [frame.f_locals, frame.f_globals]
        frame = frame.f_back
    return spaces


@define(eq=False)
class _Form:
    """Stands for a class where pydantic reads types, by pydantic's hook for annotations."""

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

        taken = core_schema.wrap_serializer_function_ser_schema(self._taken)
        inner = handler.generate_schema(self.stand)
        return core_schema.no_info_after_validator_function(self._made, inner, serialization=taken)

    def _made(self, stand: Any) -> Any:
        named = ((name, key) for name, key in self.fields.items() if name in stand.model_fields_set)
        values = {key: getattr(stand, name) for name, key in named}
        try:
            return self.make(**values, **(stand.model_extra or {}))
        except Exception as error:
            raise _faulted(self.cls, values, error) from error

    def _taken(self, value: Any, handler: Any) -> Any:
        from pydantic_core import PydanticSerializationUnexpectedValue

        if type(value) is not self.cls:
            raise PydanticSerializationUnexpectedValue(f"{_a(value)} is no {self.name}")
        held = self._held(value) | ({_TAG: self.tag} if self.tag else {})
        absent = {key.name: _ABSENT for key in self.keys if key.name not in held}
        needed = [key.name for key in self.keys if key.name in absent and key.default is REQUIRED]
        if needed:
            raise PydanticSerializationUnexpectedValue(f"{needed[0]} is missing")
        data = handler(self.stand.model_construct(**held, **absent))
        return {name: item for name, item in data.items() if name not in absent}

    def _held(self, value: Any) -> dict[str, Any]:
        from pydantic_core import PydanticSerializationUnexpectedValue

        if self.cls is not dict:
            return {key.name: getattr(value, key.attribute) for key in self.keys if key.attribute}
        unknown = [key for key in value if key not in {key.name for key in self.keys}]
        if unknown and self.extra == "forbid":
            raise PydanticSerializationUnexpectedValue(f"unexpected key {unknown[0]!r}")
        return dict(value)


@define(eq=False)
class _Named:
    """Stands for a type with another name: an alias, which may contain itself, or a root model."""

    make: Callable[[Any], Any]
    take: Callable[[Any], Any]
    stand: Any = None

    def __get_pydantic_core_schema__(self, _source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        inner = handler.generate_schema(self.stand)
        taken = core_schema.wrap_serializer_function_ser_schema(
            lambda value, handler: handler(self.stand.model_construct(self.take(value)))
        )
        return core_schema.no_info_after_validator_function(
            lambda stand: self.make(stand.root), inner, serialization=taken
        )


@frozen
class _Native:
    """A pydantic model as it is; pydantic takes no config beside the bare class."""

    cls: Any

    def __get_pydantic_core_schema__(self, _source: Any, handler: Any) -> Any:
        return handler.generate_schema(self.cls)


def _faulted(cls: Any, values: Mapping[str, Any], error: Exception) -> Exception:
    """The error as pydantic takes it, with the key whose validator objects if it can be found."""
    from pydantic import ValidationError

    known = error if isinstance(error, ValueError | AssertionError) else None
    reason = next((arg for arg in error.args if isinstance(arg, str)), error)
    told = known or ValueError(f"{type(error).__name__}: {reason}")
    if isinstance(error, ValidationError) or not attrs.has(cls):
        return told
    for a in attrs.fields(cls):
        if a.validator and a.alias in values and _objects(a, values, error):
            spot: Any = {"type": "value_error", "loc": (a.alias,), "ctx": {"error": told}}
            return ValidationError.from_exception_data(cls.__name__, [spot])
    return told


def _objects(attribute: Any, values: Mapping[str, Any], error: Exception) -> bool:
    try:
        attribute.validator(SimpleNamespace(**values), attribute, values[attribute.alias])
    except Exception as again:
        return str(again) == str(error)
    return False


_QUALIFIERS = {"Required", "NotRequired", "ReadOnly", "Final", "ClassVar"}
_CONTAINERS = (list, tuple, dict, set, frozenset, abc.Mapping, abc.MutableMapping)
_LOOSE = (Any, object, abc.Iterable, abc.Collection, abc.Sequence, abc.MutableSequence)
_REFUSED = (type, abc.Callable, abc.Generator, abc.Iterator, abc.AsyncIterator, abc.AsyncGenerator)


@define
class _Reading:
    """Reads one type: finds the classes in it and puts what stands for them in their place."""

    seen: dict[Any, Any] = field(factory=dict)
    closed: bool = True
    native: bool = False
    loose: bool = False

    def read(self, type_: Any, given: Mapping[Any, Any]) -> Any:
        """The type as pydantic is to read it; `given` says what type variables stand for."""
        origin, args = get_origin(type_), get_args(type_)
        bare = origin or type_
        if isinstance(type_, TypeVar):
            return self.read(given[type_], {}) if type_ in given else type_
        if isinstance(type_, NewType):
            return self.read(type_.__supertype__, given)
        if origin is Annotated:
            metadata = map(_undiscriminated, type_.__metadata__)
            return Annotated[(self.read(type_.__origin__, given), *metadata)]
        if origin in (Union, UnionType):
            return self._union(args, given)
        if getattr(origin, "_name", "") in _QUALIFIERS:
            return self.read(args[0], given)
        if hasattr(bare, "__value__"):
            return self._alias(_filled(type_, given), bare)
        if any(bare is refused for refused in _REFUSED) or _no_type(type_):
            raise _unsupported(_title(type_), "it is no data")
        form = self._class(_filled(type_, given), bare) if isinstance(bare, type) else None
        return form or self._container(type_, args, given)

    def _container(self, type_: Any, args: tuple[Any, ...], given: Mapping[Any, Any]) -> Any:
        bare = get_origin(type_) or type_
        if bare is Literal:
            return type_
        self.loose = self.loose or bare in _LOOSE or (bare in _CONTAINERS and not args)
        if bare in (abc.Iterable, abc.Collection):
            bare = type_ = list
        return bare[tuple(self.read(arg, given) for arg in args)] if args else type_

    def _union(self, args: tuple[Any, ...], given: Mapping[Any, Any]) -> Any:
        from pydantic import Tag

        kinds = [_filled(arg, given) for arg in args if arg is not NoneType]
        read = [self.read(kind, given) for kind in kinds]
        alike = _alike([form for form in map(_form_of, read) if form])
        for i, (kind, form) in enumerate(zip(kinds, map(_form_of, read), strict=True)):
            if form in alike:
                read[i] = self._tagged(kind, form)
            if len(kinds) > 1:
                read[i] = Annotated[read[i], Tag(_LABEL + (form.name if form else _title(kind)))]
        return Union[(*read, *(arg for arg in args if arg is NoneType))]

    def _alias(self, type_: Any, alias: Any) -> Any:
        if type_ not in self.seen:
            self.seen[type_] = named = _Named(_same, _same)
            given = dict(zip(alias.__type_params__, get_args(type_), strict=False))
            named.stand = _root(alias.__name__, self.read(_meaning(alias), given))
        return Annotated[Any, self.seen[type_]]

    def _class(self, type_: Any, cls: Any) -> Any:
        if type_ in self.seen:
            return Annotated[Any, self.seen[type_]]
        if hasattr(cls, "__pydantic_validator__"):
            reached = _reached(cls, set())
            if not any(map(attrs.has, reached)):
                return self._left(cls, reached)
            if "root" in getattr(cls, "model_fields", ()):
                return self._root_model(cls)
        elif hasattr(cls, "__get_pydantic_core_schema__"):
            return None
        form = _form(type_, cls)
        if form is None:
            return None
        self.seen[type_] = form
        return self.stood_in(form, _variables(type_))

    def _left(self, cls: Any, reached: set[Any]) -> Any:
        self.native, self.loose = True, self.loose or not reached.isdisjoint(_LOOSE)
        self.closed = self.closed and not any("extra" in _config(below) for below in reached)
        return Annotated[Any, _Native(cls)]

    def _root_model(self, cls: Any) -> Any:
        self.seen[cls] = named = _Named(cls, lambda value: value.root)
        named.stand = _root(cls.__name__, self.read(cls.model_fields["root"].annotation, {}))
        return Annotated[Any, named]

    def _tagged(self, type_: Any, form: _Form) -> Any:
        if (type_, _TAG) not in self.seen:
            tagged = attrs.evolve(form, tag=form.name, stand=None, fields={})
            self.seen[type_, _TAG] = tagged
            self.stood_in(tagged, _variables(type_))
        return Annotated[Any, self.seen[type_, _TAG]]

    def stood_in(self, form: _Form, given: Mapping[Any, Any]) -> Any:
        """The form, and pydantic's model behind it."""
        from pydantic import Field, create_model

        fields: dict[str, Any] = {}
        if form.tag:
            fields[_TAG] = (Literal[form.tag], Field(alias=_TAG))
        for i, key in enumerate(form.keys):
            name = key.name if _usable(key.name) else str(i)
            form.fields[name] = key.name
            fields[name] = (_maybe_absent(self.read(key.type, given), form, key), _info(key))
        self.closed = self.closed and form.extra == "forbid"
        config = {**_CONFIG, "extra": form.extra, "defer_build": True, "protected_namespaces": ()}
        about: Any = {"__config__": config, "__doc__": form.doc or None}
        form.stand = create_model(form.name, __module__=form.cls.__module__, **about, **fields)
        return Annotated[Any, form]


def _no_type(type_: Any) -> bool:
    return inspect.isroutine(type_) or isinstance(type_, functools.partial | dict)


def _meaning(alias: Any) -> Any:
    """What an alias stands for, where its names are known."""
    known = vars(sys.modules[alias.__module__]) if alias.__module__ in sys.modules else {}
    home: Any = {"__globals__": known, "__module__": alias.__module__}
    stated = SimpleNamespace(__annotations__={"it": alias.__value__}, **home)
    return hints_of(stated, alias.__name__)["it"]


def _same(value: Any) -> Any:
    return value


def _root(name: str, type_: Any) -> Any:
    from pydantic import RootModel, create_model

    class Root(RootModel[Any]):
        model_config = {"defer_build": True}

    return create_model(name, __base__=Root, __doc__=None, root=(type_, ...))


def _usable(name: str) -> bool:
    """Whether pydantic takes this as a field's name."""
    from pydantic import BaseModel

    return name.isidentifier() and name[0] != "_" and not hasattr(BaseModel, name)


def _maybe_absent(type_: Any, form: _Form, key: Key) -> Any:
    from pydantic import WrapSerializer

    if key.default is REQUIRED or (form.cls is not dict and key.attribute):
        return type_
    return Annotated[type_, WrapSerializer(_unless_absent)]


def _unless_absent(value: Any, handler: Any) -> Any:
    return None if value is _ABSENT else handler(value)


def _info(key: Key) -> Any:
    from pydantic import Field

    options: dict[str, Any] = {"description": key.description} if key.description else {}
    if key.default is not REQUIRED:
        shown = isinstance(key.default, str | int | float | None)
        default = key.default.value if isinstance(key.default, Enum) else key.default
        extra = {"default": default} if shown else lambda schema: schema.pop("default", None)
        options |= {"default": None, "json_schema_extra": extra}
    return Field(alias=key.name, **options)


def _undiscriminated(metadata: Any) -> Any:
    """Without a discriminator: a union's classes are told apart by their keys here."""
    from pydantic import Discriminator, Field

    if isinstance(metadata, Discriminator) or getattr(metadata, "discriminator", None) is not None:
        return Field(description=getattr(metadata, "description", None))
    return metadata


def _form_of(read: Any) -> Any:
    metadata = getattr(read, "__metadata__", ())
    return metadata[-1] if metadata and isinstance(metadata[-1], _Form) else None


def _alike(forms: Sequence[_Form]) -> list[_Form]:
    """Those of a union's classes whose objects might be taken for another's."""
    pairs = [pair for pair in combinations(forms, 2) if not _apart(*pair)]
    return [form for form in forms if any(form in pair for pair in pairs)]


def _apart(one: _Form, other: _Form) -> bool:
    if any(a.name == b.name and _disjoint(a.type, b.type) for a in one.keys for b in other.keys):
        return True
    return _needs_more(one, other) and _needs_more(other, one)


def _needs_more(one: _Form, other: _Form) -> bool:
    known = {key.name for key in other.keys}
    return any(key.name not in known and key.default is REQUIRED for key in one.keys)


def _disjoint(one: Any, other: Any) -> bool:
    literal = get_origin(one) is Literal and get_origin(other) is Literal
    return literal and not set(get_args(one)) & set(get_args(other))


def _filled(type_: Any, given: Mapping[Any, Any]) -> Any:
    """The type with its variables replaced by what they stand for."""
    if isinstance(type_, TypeVar):
        return given.get(type_, type_)
    free = () if isinstance(type_, type) else getattr(type_, "__parameters__", ())
    return type_[tuple(given.get(variable, variable) for variable in free)] if free else type_


def _variables(type_: Any) -> dict[Any, Any]:
    """What the variables of a generic class and of its bases stand for."""
    cls = get_origin(type_) or type_
    given = dict(zip(getattr(cls, "__parameters__", ()), get_args(type_), strict=False))
    for base in cls.__dict__.get("__orig_bases__", ()):
        if isinstance(get_origin(base), type) and get_origin(base) is not Generic:
            given = _variables(_filled(base, given)) | given
    return given


# ----------------------------------------------------------------------- the classes with fields


def _form(type_: Any, cls: Any) -> _Form | None:
    """What stands for a class with fields; None if it is not one."""
    keys = _keys(cls)
    if keys is None:
        return None
    text, about = _documented(cls)
    told = [attrs.evolve(k, description=k.description or about.get(k.name, "")) for k in keys]
    kind = dict if issubclass(cls, dict) else cls
    make = getattr(cls, "model_validate", None)
    return _Form(
        kind,
        _title(type_),
        tuple(told),
        (lambda **values: make(values)) if make else kind,
        text,
        _config(cls).get("extra") or "forbid",
    )


def _keys(cls: Any) -> list[Key] | None:
    """The keys of a class with fields, as its constructor takes them; None if it is not one."""
    if hasattr(cls, "model_fields"):
        return _model_keys(cls)
    if attrs.has(cls):
        return _attrs_keys(cls)
    if dataclasses.is_dataclass(cls):
        return _dataclass_keys(cls)
    if hasattr(cls, "__required_keys__"):
        return _typed_dict_keys(cls)
    return _named_tuple_keys(cls) if issubclass(cls, tuple) and hasattr(cls, "_fields") else None


def _attrs_keys(cls: Any) -> list[Key]:
    hints = hints_of(cls, cls.__name__)
    return [
        Key(a.alias, hints.get(a.name, a.type or Any), _default(a.default), attribute=a.name)
        for a in attrs.fields(cls)
        if a.init
    ]


def _default(default: Any) -> Any:
    made = isinstance(default, attrs.Factory)  # type: ignore[arg-type]
    return REQUIRED if default is NOTHING else ... if made else default


def _dataclass_keys(cls: Any) -> list[Key]:
    hints = hints_of(cls, cls.__name__)
    keys = [
        Key(f.name, hints[f.name], _dataclass_default(f), attribute=f.name)
        for f in dataclasses.fields(cls)
        if f.init
    ]
    once = [(name, hint) for name, hint in hints.items() if isinstance(hint, dataclasses.InitVar)]
    return keys + [Key(name, hint.type, getattr(cls, name, REQUIRED)) for name, hint in once]


def _dataclass_default(spot: "dataclasses.Field[Any]") -> Any:
    if spot.default_factory is not dataclasses.MISSING:
        return ...
    return REQUIRED if spot.default is dataclasses.MISSING else spot.default


def _typed_dict_keys(cls: Any) -> list[Key]:
    return [
        Key(name, hint, REQUIRED if _required(cls, name, hint) else ...)
        for name, hint in hints_of(cls, cls.__name__).items()
    ]


def _required(cls: Any, name: str, hint: Any) -> bool:
    """The hint is asked first: an annotation that is a text hides its qualifier from the class."""
    while get_origin(hint) is Annotated or getattr(get_origin(hint), "_name", "") in _QUALIFIERS:
        qualifier = getattr(get_origin(hint), "_name", "")
        if qualifier in ("Required", "NotRequired"):
            return qualifier == "Required"
        hint = get_args(hint)[0]
    return name in cls.__required_keys__


def _named_tuple_keys(cls: Any) -> list[Key]:
    hints, defaults = hints_of(cls, cls.__name__), cls._field_defaults
    return [
        Key(name, hints.get(name, Any), defaults.get(name, REQUIRED), attribute=name)
        for name in cls._fields
    ]


def _model_keys(cls: Any) -> list[Key]:
    return [
        Key(
            info.validation_alias if isinstance(info.validation_alias, str) else name,
            Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation,
            REQUIRED if info.is_required() else ...,
            info.description or "",
            name,
        )
        for name, info in cls.model_fields.items()
    ]


def _reached(type_: Any, seen: set[Any]) -> set[Any]:
    """All the classes that a value of this type may hold, at any depth, maybe `Any`."""
    for arg in get_args(type_):
        _reached(arg, seen)
    cls = get_origin(type_) or type_
    if (cls is Any or isinstance(cls, type)) and cls not in seen:
        seen.add(cls)
        for key in (_keys(cls) if isinstance(cls, type) else None) or ():
            _reached(key.type, seen)
    return seen


def _config(cls: Any) -> Mapping[str, Any]:
    return getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", None) or {}


def _documented(cls: Any) -> tuple[str, dict[str, str]]:
    """What the user wrote of a class and of its attributes; not what was generated."""
    text = cls.__dict__.get("__doc__") or ""
    if text.startswith(f"{cls.__name__}("):
        return "", {}
    return described(text)


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


# ---------------------------------------------------------------------------- what does not fit


_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\r?\n(.*?)\s*```\s*", re.DOTALL | re.IGNORECASE)
_UNEXPECTED = re.compile(
    r"Expected (.+?) - serialized value may not be as expected "
    r"\[(?:field_name='(\w+)', )?input_value=(.*), input_type=(\w+)\]"
)
_KIND_ENDS = ("_type", "_parsing")
_KINDS = ("literal_error", "enum")

_Error = tuple[tuple[Any, ...], Mapping[str, Any]]


def _unfenced(text: str) -> str:
    bare = text.removeprefix("\ufeff")
    fenced = _FENCED.fullmatch(bare)
    return fenced[1] if fenced else bare


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _finite(number: str) -> float:
    if abs(value := float(number)) == float("inf"):
        raise ValueError(f"{_cut(number)} is too large a number")
    return value


def _digits(error: Exception) -> str:
    return "a number has too many digits" if "digits" in str(error) else str(error)


def _problems(errors: Iterable[Any]) -> tuple[str, ...]:
    lines = _lines([(error["loc"], error) for error in errors])
    if len(lines) <= _LINES:
        return tuple(lines)
    return (*lines[: _LINES - 1], f"... and {len(lines) - _LINES + 1} more problems")


def _lines(errors: Sequence[_Error]) -> list[str]:
    """One line for each error, and one for a union of which no alternative was clearly meant."""
    groups: dict[Any, dict[str, list[_Error]]] = {}
    for i, (loc, error) in enumerate(errors):
        at = next((n for n, part in enumerate(loc) if _is_label(part)), None)
        group = i if at is None else loc[:at]
        label = "" if at is None else loc[at]
        rest = loc if at is None else loc[:at] + loc[at + 1 :]
        groups.setdefault(group, {}).setdefault(label, []).append((rest, error))
    told: list[str] = []
    for group, branches in groups.items():
        told += [_line(*branches[""][0])] if isinstance(group, int) else _told(group, branches)
    return told


def _told(loc: tuple[Any, ...], branches: Mapping[str, list[_Error]]) -> list[str]:
    near = {label: found for label, found in branches.items() if not _far(found, len(loc))}
    fits = {label: found for label, found in near.items() if not _far(found, len(loc) + 1, _KINDS)}
    pool = sorted((fits or near).values(), key=_misfit)
    if len(pool) == 1 or (pool and _misfit(pool[0]) < _misfit(pool[1])):
        return _lines(pool[0])
    options = [_option(label, near.get(label), len(loc)) for label in branches]
    value = next((_value(e) for errors in branches.values() for at, e in errors if at == loc), "")
    return [_at(loc, f"Input should fit one of {', '.join(options)}{value}")]


def _option(label: str, errors: Sequence[_Error] | None, depth: int) -> str:
    name = label.removeprefix(_LABEL)
    if not errors:
        return name
    first = _lines([(loc[depth:], error) for loc, error in errors])[0]
    return f"{name} ({first})"


def _far(errors: Sequence[_Error], depth: int, also: tuple[str, ...] = ()) -> bool:
    """Whether the value at this depth is of another kind altogether."""
    return any(
        sum(not _is_label(part) for part in loc) == depth
        and (error["type"] in _KINDS or (not also and error["type"].endswith(_KIND_ENDS)))
        for loc, error in errors
    )


def _misfit(errors: Sequence[_Error]) -> int:
    return sum(error["type"] in ("missing", "extra_forbidden") for _, error in errors)


def _is_label(part: Any) -> bool:
    return isinstance(part, str) and part.startswith(_LABEL)


def _line(loc: tuple[Any, ...], error: Mapping[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "json_invalid":
        return _invalid(error["msg"])
    if kind == "extra_forbidden":
        return _at(loc, "Unexpected key")
    if kind in ("value_error", "assertion_error"):
        return _at(loc, str(context["error"]))
    return _at(loc, error["msg"] + ("" if kind == "missing" else _value(error)))


def _invalid(message: str) -> str:
    if "recursion" in message:
        return "nested too deep"
    if "hex escape" in message or "surrogate" in message:
        return _SURROGATE
    return message.replace("Invalid JSON", "not JSON")


def _at(loc: tuple[Any, ...], text: str) -> str:
    path = ".".join(_cut(str(part)) for part in loc)
    line = " ".join(text.split())[:_LONGEST]
    return f"{path}: {line}" if path else line


def _value(error: Mapping[str, Any]) -> str:
    return f", not {_cut(repr(error['input']))}"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


# --------------------------------------------------------------------------- what cannot be held


def _a(value: Any) -> str:
    return f"a {type(value).__name__}"


def _reason(error: Exception) -> str:
    unexpected = _UNEXPECTED.search(str(error))
    if unexpected is None:
        lines = str(error).splitlines() or [type(error).__name__]
        line = lines[1 if len(lines) > 1 and lines[0].endswith("warnings:") else 0].strip()
        unknown = re.match(r"Unable to serialize unknown type: <class '(?:.*\.)?(\w+)'>", line)
        if unknown:
            return f"a {unknown[1]} is not of the declared type"
        return re.sub(r"^PydanticSerializationUnexpectedValue\(|^Error calling .*?: |\)$", "", line)
    expected, name, shown, kind = unexpected.groups()
    where = f"at {name} " if name else ""
    return f"{where}{_cut(shown)}, a {kind}, is no {expected.strip('`')}"


def _change(value: Any, back: Any, path: str, loose: bool) -> str | None:
    """The path of the first part that came back changed; `loose` lets a tuple be a list."""
    if type(value) is type(back) and value == back:
        return None
    parts, others = _parts(value), _parts(back)
    if parts is None or others is None:
        return None if value == back else path
    alike = type(value) is type(back) or (loose and type(value) is tuple and type(back) is list)
    if not alike or parts.keys() != others.keys():
        return path
    changes = (_change(part, others[n], f"{path}.{n}", loose) for n, part in parts.items())
    return next((change for change in changes if change is not None), None)


def _parts(value: Any) -> dict[Any, Any] | None:
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if attrs.has(type(value)):
        return {a.name: getattr(value, a.name) for a in attrs.fields(type(value)) if a.eq}
    if dataclasses.is_dataclass(value):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.compare}
    return value if isinstance(value, dict) else getattr(value, "__dict__", None)
