"""Types as JSON: what a model is told of a type, and how its answer becomes a value of it."""

import functools
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from attrs import field, frozen

from loopwright import mismatch
from loopwright.errors import BadInput, Mismatch, in_words
from loopwright.forms import CONFIG, Form, Reading, no_data, title_of
from loopwright.keys import Key
from loopwright.written import writer

_FENCED = re.compile(r"\s*```(?:json)?[ \t]*\r?\n(.*?)\s*```\s*", re.DOTALL | re.IGNORECASE)
_written = writer(nan=False, ascii=True)
_LEFT_OUT = ("title", "discriminator")
_NAMED = ("properties", "$defs", "patternProperties")
_VERBATIM = ("default", "const", "enum", "examples")


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

    @staticmethod
    def of(type_: Any) -> "Schema":
        """The schema of a type; the same type gives the same object.

        Known are scalars, containers, Literal, Enum, unions, Annotated constraints, dates, Decimal,
        UUID, Path, bytes (as base64), attrs classes, dataclasses, TypedDict, NamedTuple (as an
        object) and pydantic models, at any depth, recursive or generic; but a pydantic model holds
        only what pydantic knows, and reads as its own config says. In a union, several classes are
        told apart by a key that is a Literal in each, or else by the key ``is`` with the name.

        Raises `BadInput` for a type that JSON cannot hold, and says what to do.
        """
        with suppress(TypeError):  # what cannot be hashed cannot be looked up
            return _schema(type_)
        return _schema.__wrapped__(type_)

    @staticmethod
    def of_keys(name: str, keys: Iterable[Key]) -> "Schema":
        """The schema of a JSON object with these keys; its value is a dict of those given.

        Raises `BadInput` for a type that JSON cannot hold.
        """
        return _built(Form(Reading(), name, dict, tuple(keys)), name)

    def parse(self, data: Any) -> Any:
        """The value that decoded JSON stands for; it shares nothing with `data`.

        Strict as JSON is: ``"1"`` is no int, but an ISO text is a date and a list a tuple. Raises
        `Mismatch`.
        """
        try:
            text = _written(data)
        except (ValueError, TypeError, RecursionError) as error:
            raise Mismatch([f"not JSON: {error}"]) from None
        try:
            return self._adapter.validate_json(text, strict=True)
        except Exception as error:  # whatever a validator of the user's raises
            told = getattr(error, "errors", None)  # of pydantic's
            said = mismatch.told(told(include_url=False)) if told else [in_words(error)]
            raise Mismatch(said) from None

    def parse_json(self, text: str) -> Any:
        """The value that a JSON text stands for; see `data`. Raises `Mismatch`."""
        return self.parse(self.data(text))

    @staticmethod
    def data(text: str) -> Any:
        """The data of a JSON text, which may stand in one Markdown fence.

        Of a key that comes twice, the last one counts. Raises `Mismatch`, with the position of what
        is not JSON.
        """
        bare = text.removeprefix("\ufeff")
        fenced = _FENCED.fullmatch(bare)
        try:
            return json.loads(fenced[1] if fenced else bare)
        except (ValueError, RecursionError) as error:
            raise Mismatch([f"not JSON: {error}"]) from None

    def dump(self, value: Any) -> Any:
        """Plain JSON data from which `parse` makes an equal value.

        Raises `BadInput` for a value of which that cannot be said: it is not of the type, or JSON
        would give back another one (for a tuple where `Any` is declared, a list).

        >>> Schema.of(set[int]).dump({1})
        [1]
        """
        try:
            data = self._adapter.dump_python(value, mode="json", by_alias=True, warnings=False)
            same = self.parse(data) == value
        except Exception as error:  # whatever a property of the value raises, too
            raise self._unheld(value, str(error)) from error
        if not same:
            raise self._unheld(value, "JSON would give back another value")
        return data

    def _unheld(self, value: Any, reason: str) -> BadInput:
        return BadInput(f"a {type(value).__name__} cannot be held as {self.name}: {reason}")


@functools.lru_cache(maxsize=1024)
def _schema(type_: Any) -> Schema:
    return _built(type_, title_of(type_))


def _built(type_: Any, name: str) -> Schema:
    from pydantic import TypeAdapter

    native = hasattr(getattr(type_, "__origin__", type_), "__pydantic_validator__")
    try:
        form = Reading().read(type_)
        adapter: Any = TypeAdapter(form, config=None if native else CONFIG)
        return Schema(name, _tidy(adapter.json_schema()), adapter)
    except BadInput:
        raise
    except Exception as error:  # pydantic has no one class for what it cannot do
        raise no_data(name, str(error).splitlines()[0].partition(". Set ")[0]) from error


def _tidy(schema: Any) -> Any:
    """Without the titles that pydantic makes up, and without OpenAPI's discriminators."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("enum") == []:  # pydantic takes an Enum without members, and reads no value of it
        raise no_data(str(schema.get("title")), "it has no members")
    return {key: _inner(key, item) for key, item in schema.items() if key not in _LEFT_OUT}


def _inner(key: str, item: Any) -> Any:
    if key in _NAMED:
        return {name: _tidy(inner) for name, inner in item.items()}
    return item if key in _VERBATIM else _tidy(item)
