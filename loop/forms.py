"""Forms: what stands for a type where pydantic reads it.

pydantic does not know attrs classes, and would take more than the keys of a dataclass, a TypedDict
or a NamedTuple. For each of them stands a form: a closed object with the same keys, from which the
value is made by calling the class. Everything else, pydantic models too, is left to pydantic.
"""

import functools
import inspect
import sys
from collections import abc
from collections.abc import Callable, Sequence
from enum import Enum
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    ForwardRef,
    Literal,
    NewType,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
)

import attrs
from attrs import define, field

from loopwright.errors import BadInput
from loopwright.keys import REQUIRED, Key, documented, filled, hints_of, keys_of

LABEL = "\0or "
"""Begins the name of a union's alternative in pydantic's paths, to tell it from a key."""

CONFIG: Any = {"ser_json_bytes": "base64", "val_json_bytes": "base64", "allow_inf_nan": False}
_TAG = "is"
_QUALIFIERS = (Required, NotRequired, Final)
_REFUSED = (type, abc.Callable, abc.Iterator, abc.Generator)
_NO_TYPES = (dict, str, ForwardRef, functools.partial)


def title_of(type_: Any) -> str:
    """The type in words, for messages and tags."""
    origin, args = get_origin(type_), get_args(type_)
    if origin is Annotated:
        return title_of(args[0])
    if origin in (Union, UnionType):
        return " | ".join("None" if arg is NoneType else title_of(arg) for arg in args)
    if isinstance(origin, type) and args:
        return f"{title_of(origin)}[{', '.join(map(title_of, args))}]"
    return type_.__name__ if isinstance(type_, type) else repr(type_)


def no_data(name: str, reason: str) -> BadInput:
    """The error for a type that JSON cannot hold."""
    return BadInput(
        f"{name} cannot be held in JSON ({reason}): use scalars, containers, Literal, Enum, attrs "
        "classes, dataclasses, TypedDict, NamedTuple or pydantic models"
    )


@define(eq=False)
class _Stand:
    """Stands for a type that may contain itself, by pydantic's hook for types."""

    reading: "Reading"
    name: str
    begun: bool = field(default=False, init=False)

    def __get_pydantic_core_schema__(self, _source: Any, handler: Any) -> Any:
        from pydantic_core.core_schema import definition_reference_schema

        ref = f"{self.name}:{id(self)}"
        if self.begun:
            return definition_reference_schema(ref)
        self.begun = True
        return self.core(handler) | {"ref": ref}

    def core(self, handler: Any) -> Any:
        raise NotImplementedError


@define(eq=False)
class _Alias(_Stand):
    """Stands for a named type."""

    meaning: Any

    def core(self, handler: Any) -> Any:
        from pydantic_core.core_schema import no_info_after_validator_function

        inner = handler.generate_schema(self.reading.read(self.meaning))
        return no_info_after_validator_function(lambda value: value, inner)


@define(eq=False)
class Form(_Stand):
    """Stands for a class with fields, or for plain keys (then `cls` is dict).

    Among others it has a `tag`: the name that its object carries beside its keys.
    """

    cls: Any
    keys: tuple[Key, ...]
    doc: str = ""
    tag: str = ""

    def core(self, handler: Any) -> Any:
        from pydantic_core import core_schema

        fields = {key.name: self._field(key, handler) for key in self.keys}
        return core_schema.no_info_after_validator_function(
            self._made,
            core_schema.typed_dict_schema(fields, extra_behavior="forbid", config=CONFIG),
            serialization=core_schema.wrap_serializer_function_ser_schema(self._taken),
        )

    def _field(self, key: Key, handler: Any) -> Any:
        from pydantic_core.core_schema import typed_dict_field

        inner = handler.generate_schema(self.reading.read(key.type))
        return typed_dict_field(inner, required=key.default is REQUIRED)

    def _made(self, data: dict[str, Any]) -> Any:
        if self.tag:
            del data[_TAG]
        try:
            return self.cls(**data)
        except Exception as error:  # whatever a converter or a validator of the class raises
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            told = next((arg for arg in error.args if isinstance(arg, str)), error)
            raise ValueError(f"{kind}{told}") from error

    def _taken(self, value: Any, handler: Any) -> Any:
        from pydantic_core import PydanticSerializationUnexpectedValue

        if type(value) is not (dict if issubclass(self.cls, dict) else self.cls):
            raise PydanticSerializationUnexpectedValue(
                f"a {type(value).__name__} is no {self.name}"
            )
        held = {key.name: getattr(value, key.attribute) for key in self.keys if key.attribute}
        plain = value if isinstance(value, dict) else {}
        return handler(({_TAG: self.tag} if self.tag else {}) | held | plain)

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Any:
        shown = handler(core)
        told = handler.resolve_ref_schema(shown)
        if self.doc:
            told["description"] = self.doc
        for key in self.keys:
            self._tell(key, told["properties"][key.name])
        return shown

    def _tell(self, key: Key, told: dict[str, Any]) -> None:
        default = key.default.value if isinstance(key.default, Enum) else key.default
        if default is None or isinstance(default, str | int | float):
            told["default"] = default
        if key.description:
            told.setdefault("description", key.description)

    def words(self, name: str) -> tuple[str, ...]:
        """The texts that the key of this name may be, if its type is a Literal of texts."""
        types = [key.type for key in self.keys if key.name == name]
        words = get_args(types[0]) if types and get_origin(types[0]) is Literal else ()
        return words if all(isinstance(word, str) for word in words) else ()

    def signed(self, sign: str) -> "Form":
        """The same, but this key is required; it holds the name if the class does not know it."""
        own = next((key for key in self.keys if key.name == sign), None)
        first = attrs.evolve(own or Key(sign, Literal[self.name]), default=REQUIRED)
        keys = (first, *(key for key in self.keys if key is not own))
        return attrs.evolve(self, keys=keys, tag="" if own else self.name)


def _is_mapping(bare: Any) -> bool:
    return isinstance(bare, type) and issubclass(bare, abc.Mapping)


def _unkeyed(kind: Any) -> bool:
    """Whether no text, which a key of an object is, is one of these choices; texts of numbers are
    numbers."""
    if get_origin(kind) is Literal:
        return not {*map(type, get_args(kind))}.isdisjoint((int, bytes))
    if isinstance(kind, type) and issubclass(kind, Enum) and not issubclass(kind, int):
        return not all(isinstance(one.value, str) for one in kind)
    return kind in (None, NoneType)


@define
class Reading:
    """Reads one type, and puts forms in the place of the classes in it."""

    stands: dict[Any, Any] = field(factory=dict)

    def read(self, type_: Any) -> Any:
        """The type as pydantic is to read it. Raises `BadInput` for what is no type of data."""
        origin, args = get_origin(type_), get_args(type_)
        bare = origin or type_
        if isinstance(type_, _NO_TYPES) or inspect.isroutine(type_) or bare in _REFUSED:
            raise no_data(title_of(type_), "it is no type of data")
        if isinstance(type_, NewType):
            return self.read(type_.__supertype__)
        if origin is Annotated:
            return Annotated[(self.read(args[0]), *type_.__metadata__)]
        if origin in (Union, UnionType):
            return self._union(args)
        if origin in _QUALIFIERS:
            return self.read(args[0])
        if hasattr(bare, "__value__"):
            return self._alias(type_, bare)
        form = self._form(type_, bare) if isinstance(bare, type) else None
        return form or self._container(type_, bare, args)

    def _container(self, type_: Any, bare: Any, args: tuple[Any, ...]) -> Any:
        if bare in (abc.Iterable, abc.Collection):  # pydantic would read these lazily, or not
            bare = type_ = list
        if bare is Literal and any(isinstance(one, bytes) for one in args):
            raise no_data(title_of(type_), "its bytes are no text")
        if args and _is_mapping(bare) and _unkeyed(args[0]):
            raise no_data(title_of(type_), "the keys of an object are texts")
        return bare[tuple(map(self.read, args))] if args and bare is not Literal else type_

    def _alias(self, type_: Any, alias: Any) -> Any:
        if type_ not in self.stands:
            given = dict(zip(alias.__type_params__, get_args(type_), strict=False))
            self.stands[type_] = _Alias(self, alias.__name__, filled(_meaning(alias), given))
        return self.stands[type_]

    def _form(self, type_: Any, cls: Any) -> Form | None:
        if hasattr(cls, "__pydantic_validator__") or hasattr(cls, "__get_pydantic_core_schema__"):
            return None
        if type_ not in self.stands:
            keys = keys_of(type_)
            if keys is None:
                return None
            self.stands[type_] = Form(self, title_of(type_), cls, keys, documented(cls)[0])
        form: Form = self.stands[type_]
        return form

    def _union(self, args: tuple[Any, ...]) -> Any:
        """The alternatives by name; several forms are one of them, and told apart by a key."""
        kinds = [(title_of(arg), self.read(arg)) for arg in args if arg is not NoneType]
        forms = [one for _, one in kinds if isinstance(one, Form)]
        if len(forms) > 1:
            kinds = [(name, one) for name, one in kinds if one not in forms]
            kinds.append((" | ".join(form.name for form in forms), self._apart(forms)))
        nothing = [None] if NoneType in args else []
        return Union[(*_labelled(kinds), *nothing)]

    def _apart(self, forms: Sequence[Form]) -> Any:
        from pydantic import Discriminator

        sign = _sign(forms)
        signed = [self.stands.setdefault((form, sign), form.signed(sign)) for form in forms]
        labels = {word: LABEL + form.name for form in signed for word in form.words(sign)}
        if len(set(labels.values())) < len(forms):
            names = ", ".join(form.name for form in forms)
            raise BadInput(f"classes of a union need different names: {names}")
        options = ", ".join(map(repr, labels))
        discriminator = Discriminator(
            _reader(sign, labels),
            custom_error_type="sign",
            custom_error_message=f"Input should be an object whose {sign!r} is one of {options}",
        )
        return Annotated[
            Union[(*_labelled([(form.name, form) for form in signed]),)], discriminator
        ]


def _labelled(kinds: Sequence[tuple[str, Any]]) -> list[Any]:
    from pydantic import Tag

    if len(kinds) < 2:
        return [one for _, one in kinds]
    return [Annotated[one, Tag(LABEL + name)] for name, one in kinds]


def _sign(forms: Sequence[Form]) -> str:
    """The key whose Literal tells these classes apart; ``is`` if they have none."""
    for key in forms[0].keys:
        words = [form.words(key.name) for form in forms]
        if all(words) and len(set().union(*words)) == sum(map(len, words)):
            return key.name
    return _TAG


def _reader(sign: str, labels: dict[str, str]) -> Callable[[Any], str | None]:
    def label(value: Any) -> str | None:
        word = value.get(sign) if isinstance(value, dict) else None
        return labels.get(word) if isinstance(word, str) else None

    return label


def _meaning(alias: Any) -> Any:
    """What an alias stands for; it may be a text, or have texts in it."""
    home = vars(sys.modules[alias.__module__]) if alias.__module__ in sys.modules else {}
    stated = SimpleNamespace(__annotations__={"it": alias.__value__}, __globals__=home)
    return hints_of(stated, alias.__name__)["it"]
