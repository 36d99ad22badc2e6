"""Awkward signatures, there and back: what satisfies the schema reaches the function as declared.

The arguments are made from the JSON Schema alone, as a model makes them, and not from the types.
"""

import base64
import dataclasses
import datetime as dt
import functools
import json
import typing
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import jsonschema
import pydantic
import pytest
from annotated_types import Ge, Le, Len
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright import Loop, Task
from loopwright.calls import ToolCall
from loopwright.errors import Mismatch
from loopwright.models import Scripted
from loopwright.schema import Schema
from loopwright.tools import tool


class Unit(Enum):
    C = "celsius"
    F = "fahrenheit"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@frozen
class Point:
    x: int
    y: float = 0.5


@frozen
class Route:
    stops: tuple[Point, ...]
    by: "dict[str, Point]" = field(factory=dict, kw_only=True)


@frozen
class Node:
    value: int
    children: "list[Node]" = field(factory=list)


@frozen
class Cat:
    name: str


@dataclasses.dataclass(frozen=True)
class Dog:
    name: str
    tricks: list[str] = dataclasses.field(default_factory=list)


class Row(TypedDict):
    limit: int
    order: NotRequired[Literal["up", "down"]]


class Pair(NamedTuple):
    left: int
    right: "Pair | None" = None


class Model(pydantic.BaseModel):
    many: Annotated[int, pydantic.Field(ge=0, lt=10)] = 3
    near: Dog | None = None


# Each function gives back what it was given.


def nested(route: Route) -> Any:
    return locals()


def recursive(node: Node, pair: Pair) -> Any:
    return locals()


def unions(pet: Cat | Dog, either: int | Point | list[str] | None) -> Any:
    return locals()


def enums(unit: Unit, level: Level = Level.HIGH, mode: Literal["a", 3, None] = "a") -> Any:
    return locals()


def times(at: dt.datetime, day: dt.date, hour: dt.time, lasting: dt.timedelta) -> Any:
    return locals()


def bounds(
    few: Annotated[int, Ge(1), Le(5)],
    short: Annotated[str, pydantic.Field(min_length=1, max_length=4)],
    some: Annotated[list[Annotated[int, Ge(0)]], Len(1, 3)],
) -> Any:
    return locals()


def positional(a: int, b: Point, c: str = "c", /) -> Any:
    return locals()


def named(*, a: Point, b: "list[Point] | None" = None) -> Any:
    return locals()


def mixed(a: int, /, b: Unit, *, c: Cat, d: bool = False) -> Any:
    return locals()


def forward(first: "Late", others: "dict[str, Late]") -> Any:
    return locals()


@frozen
class Late:
    """Stands below the function that names it."""

    word: str


def defaults(
    a: int = 1,
    b: str | None = None,
    c: list[int] = [1],  # noqa: B006
    d: Point = Point(1),
    e: Unit = Unit.C,
    f: dt.date = dt.date(2026, 1, 2),
    g: tuple[int, ...] = (),
    h: float = 0.5,
    i: None = None,
) -> Any:
    return locals()


def containers(
    row: Row, model: Model, pair: tuple[int, str], unique: set[int], scores: Mapping[str, float]
) -> Any:
    return locals()


def scalars(data: bytes, path: Path, id: UUID, much: Decimal, yes: bool, share: float) -> Any:
    return locals()


def google(point: Point, many: int = 3) -> Any:
    """Does it.

    Args:
        point: where
        many: how many
    """
    return locals()


def numpy(point: Point, many: int = 3) -> Any:
    """Do it.

    Parameters
    ----------
    point : Point
        where
    many : int
        how many
    """
    return locals()


def sphinx(point: Point, many: int = 3) -> Any:
    """Does it.

    :param point: where
    :param many: how many
    """
    return locals()


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return outer


class Shop:
    def order(self, item: Cat, many: Annotated[int, Ge(1)] = 1) -> Any:
        return {"item": item, "many": many}

    def __call__(self, item: Dog) -> Any:
        return {"item": item}

    @classmethod
    def of(cls, item: Cat) -> Any:
        return {"item": item}

    @staticmethod
    def hours(day: dt.date) -> Any:
        return {"day": day}


SIGNATURES: dict[str, tuple[Any, Any]] = {
    **{
        each.__name__: (each, each)
        for each in (
            nested, recursive, unions, enums, times, bounds, positional, named, mixed, forward,
            defaults, containers, scalars, google, numpy, sphinx,
        )
    },
    "wrapped": (wrapped(mixed), mixed),
    "a partial by position": (functools.partial(mixed, 5), mixed),
    "a partial by name": (functools.partial(named, b=None), named),
    "a partial of something wrapped": (functools.partial(wrapped(positional), 5), positional),
    "a method": (Shop().order, Shop.order),
    "a callable object": (Shop(), Shop.__call__),
    "a class method": (Shop.of, Shop.of),
    "a static method": (Shop.hours, Shop.hours),
    "cached": (functools.lru_cache(google), google),
}  # fmt: skip


# ------------------------------------------------------------------- arguments from the schema

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
FORMATS: dict[str, st.SearchStrategy[str]] = {
    "date-time": st.datetimes(timezones=st.just(dt.UTC)).map(dt.datetime.isoformat),
    "date": st.dates().map(dt.date.isoformat),
    "time": st.times().map(dt.time.isoformat),
    "duration": st.integers(0, 999).map(lambda days: f"P{days}DT3H"),
    "uuid": st.uuids().map(str),
    "path": st.from_regex(r"[a-z]{1,4}(/[a-z]{1,4})?", fullmatch=True),
    "base64url": st.binary(max_size=6).map(lambda data: base64.urlsafe_b64encode(data).decode()),
}


DECIMAL = [{"type": "number"}, {"type": "string"}]
"""Pydantic does not say which texts are numbers; that they are meant, the name has to tell."""


def fitting(schema: Any, defs: Any) -> st.SearchStrategy[Any]:
    """Data that fits a JSON Schema, as far as it tells."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return st.deferred(lambda: fitting(defs[name], defs))
    if schema.get("anyOf") == DECIMAL:
        return st.integers() | st.floats(-1e6, 1e6) | st.integers().map(str)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return st.one_of(*(fitting(one, defs) for one in schema[key]))
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    return KINDS[schema["type"]](schema, defs)


def _text(schema: Any, _defs: Any) -> st.SearchStrategy[str]:
    if "format" in schema:
        return FORMATS[schema["format"]]
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(str.isascii)
    low, high = schema.get("minLength", 0), schema.get("maxLength", 5)
    return st.text("abß", min_size=low, max_size=high) if low else TEXTS


def _integer(schema: Any, _defs: Any) -> st.SearchStrategy[int]:
    high = schema.get("maximum", schema.get("exclusiveMaximum", 10**6) - 1)
    return st.integers(schema.get("minimum", -(10**6)), high)


def _array(schema: Any, defs: Any) -> st.SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*(fitting(one, defs) for one in schema["prefixItems"])).map(list)
    low, high = schema.get("minItems", 0), schema.get("maxItems", 2)
    unique = schema.get("uniqueItems", False)
    return st.lists(fitting(schema["items"], defs), min_size=low, max_size=high, unique=unique)


def _object(schema: Any, defs: Any) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        return st.dictionaries(TEXTS, fitting(schema["additionalProperties"], defs), max_size=2)
    made = {name: fitting(one, defs) for name, one in schema["properties"].items()}
    needed = schema.get("required", ())
    return st.fixed_dictionaries(
        {name: made[name] for name in needed},
        optional={name: one for name, one in made.items() if name not in needed},
    )


KINDS: dict[str, Callable[[Any, Any], st.SearchStrategy[Any]]] = {
    "string": _text,
    "integer": _integer,
    "number": lambda _, __: st.floats(-1e6, 1e6) | st.integers(-9, 9),
    "boolean": lambda _, __: st.booleans(),
    "null": lambda _, __: st.none(),
    "array": _array,
    "object": _object,
}


@pytest.mark.parametrize("name", SIGNATURES)
@settings(max_examples=20)
@given(data=st.data())
def test_what_satisfies_the_schema_reaches_the_function_as_declared(
    name: str, data: st.DataObject
) -> None:
    function, declared = SIGNATURES[name]
    made = tool(function, name="made")
    schema = made.spec.schema
    arguments = data.draw(fitting(schema, schema.get("$defs", {})))
    jsonschema.validate(arguments, dict(schema), cls=jsonschema.Draft202012Validator)
    args, kwargs = made.bind(json.loads(json.dumps(arguments)))
    received = made(*args, **kwargs)
    types = typing.get_type_hints(declared, include_extras=True)
    for told, value in arguments.items():
        type_ = types[told] | None if value is None else types[told]
        expected = Schema.of(type_).parse(value)
        assert (received[told], type(received[told])) == (expected, type(expected))
        Schema.of(type_).dump(received[told])  # raises if it is not of the type, at any depth


# ------------------------------------------------------------------------------------ bad values


def everything(
    route: Route,
    node: Node,
    pet: Cat | Dog,
    unit: Unit,
    at: dt.datetime,
    few: Annotated[int, Ge(1), Le(5)],
    row: Row,
    pair: tuple[int, str],
    model: Model,
    scores: dict[str, float],
    /,
    *,
    mode: Literal["a", 3] = "a",
) -> Any:
    return locals()


GOOD: dict[str, Any] = {
    "route": {"stops": [{"x": 1}], "by": {"car": {"x": 2, "y": 1.5}}},
    "node": {"value": 1, "children": [{"value": 2, "children": [{"value": 3}]}]},
    "pet": {"is": "Cat", "name": "Tom"},
    "unit": "celsius",
    "at": "2026-01-02T03:04:05Z",
    "few": 3,
    "row": {"limit": 1, "order": "up"},
    "pair": [1, "a"],
    "model": {"many": 1, "near": {"name": "Rex"}},
    "scores": {"a": 0.5},
}

BAD: list[tuple[str, Any]] = [
    ("route", None),
    ("route.stops", {"x": 1}),
    ("route.stops.0.x", "1"),
    ("route.stops.0.z", 1),
    ("route.by.car.y", "fast"),
    ("route.by.car", [1, 2]),
    ("node.value", 1.5),
    ("node.children.0.children.0.value", True),
    ("node.children.0.children", 5),
    ("pet", {"is": "Cow", "name": "Tom"}),
    ("pet.name", 5),
    ("unit", "kelvin"),
    ("at", "tomorrow"),
    ("few", 0),
    ("few", 6),
    ("row.order", "left"),
    ("row.limit", None),
    ("pair.1", 2),
    ("model.many", 10),
    ("model.near.name", {}),
    ("scores.a", "high"),
    ("mode", "b"),
    ("more", 1),
]


def changed(data: Any, path: list[str], value: Any) -> Any:
    """`data` with another value at the end of the path."""
    if not path:
        return value
    if isinstance(data, list):
        at = int(path[0])
        return [*data[:at], changed(data[at], path[1:], value), *data[at + 1 :]]
    inner = data.get(path[0]) if isinstance(data, dict) else None
    return {**data, path[0]: changed(inner, path[1:], value)}


def test_the_good_one_fits() -> None:
    tool(everything).bind(GOOD)


@pytest.mark.parametrize(("path", "value"), BAD)
def test_a_bad_value_gets_an_error_that_names_its_path(path: str, value: Any) -> None:
    arguments = changed(GOOD, path.split("."), value)
    with pytest.raises(Mismatch) as caught:
        tool(everything).bind(arguments)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}: ")
    model = Scripted([ToolCall("1", "everything", arguments), "Done."])
    run = Loop(model).run_now(Task("Do it.", tools=[tool(everything)]))
    assert problem in str(run.messages[2].blocks)


@pytest.mark.parametrize("name", GOOD)
def test_one_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(Mismatch) as caught:
        tool(everything).bind({key: value for key, value in GOOD.items() if key != name})
    assert caught.value.problems == (f"{name}: Field required",)
