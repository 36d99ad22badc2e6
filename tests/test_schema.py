"""`Schema`: every value survives JSON, and whatever does not fit is told in a line."""

import contextlib
import dataclasses
import datetime as dt
import enum
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
    Union,
)

import attrs
import pydantic
import pytest
from annotated_types import Ge, Le, Len
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from loopwright.errors import BadInput, Mismatch
from loopwright.keys import Key
from loopwright.schema import Schema

settings.register_profile("schema", deadline=None, max_examples=60)
settings.load_profile("schema")

T = TypeVar("T")
UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@frozen
class Point:
    x: int
    y: float = 0.5


@frozen
class Private:
    _hidden: str
    derived: int = field(init=False, default=7)
    many: tuple[Point, ...] = field(factory=tuple, converter=tuple, kw_only=True)
    share: float = field(default=0.0, validator=attrs.validators.ge(0))


@frozen
class Node:
    value: int
    children: "list[Node]" = field(factory=list)


@dataclasses.dataclass
class Card:
    point: Point
    when: dt.datetime
    colour: Colour = Colour.RED
    tags: set[str] = dataclasses.field(default_factory=set)


class Row(TypedDict, total=False):
    card: Required[Card]
    note: str


class Pair(NamedTuple):
    row: Row
    amount: Decimal = Decimal("1.10")


@frozen
class Box(Generic[T]):
    content: T


@frozen
class PointBox(Box[Point]):
    label: str = ""


@frozen
class Cat:
    name: str


@frozen
class Dog:
    name: str


@frozen
class Circle:
    kind: Literal["circle"]
    radius: float


@frozen
class Square:
    kind: Literal["square"]
    side: float


class Plain(pydantic.BaseModel):
    pair: dict[str, int] = {}
    limit: Annotated[int, pydantic.Field(ge=0)] = 3


class Closed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    plain: Plain
    others: "list[Closed]" = []


class Mixed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    node: Node


@frozen
class Around:
    closed: Closed
    shapes: "dict[str, Circle | Square]" = field(factory=dict)


class Root(pydantic.RootModel[list[int]]):
    pass


@frozen
class Plus:
    sign: Literal["+"] = "+"


@frozen
class Minus:
    sign: Literal["-", "−"] = "-"


@frozen
class Leaf:
    value: int


@frozen
class Branch:
    left: "Leaf | Branch | Cut"
    right: "Leaf | Branch | Cut"


@frozen
class Cut:
    left: "Leaf | Branch | Cut"
    right: "Leaf | Branch | Cut"


@frozen
class Cents:
    amount: float = field(converter=lambda cents: cents / 100)


@frozen
class Endless(Generic[T]):
    inner: "Endless[list[T]] | None"


Json = TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | None")
Tree = TypeAliasType("Tree", "Point | list[Tree]")


# -------------------------------------------------------------------------------- the strategies

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)
points = st.builds(Point, st.integers(), finite)
nodes = st.recursive(
    st.builds(Node, st.integers()),
    lambda inner: st.builds(Node, st.integers(), st.lists(inner, max_size=3)),
    max_leaves=6,
)
stamps = st.datetimes(timezones=st.just(dt.UTC)) | st.datetimes()
cards = st.builds(Card, points, stamps, st.sampled_from(Colour), st.sets(texts, max_size=3))
rows = st.builds(lambda card: Row(card=card), cards) | st.builds(
    lambda card, note: Row(card=card, note=note), cards, texts
)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
privates = st.builds(Private, texts, many=st.lists(points, max_size=3), share=st.floats(0, 1e9))
plains = st.builds(
    Plain, pair=st.dictionaries(texts, st.integers(), max_size=3), limit=st.integers(0, 9)
)
closed = st.recursive(
    st.builds(Closed, plain=plains),
    lambda inner: st.builds(Closed, plain=plains, others=st.lists(inner, max_size=2)),
    max_leaves=3,
)
trees = st.recursive(points, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
jsons = st.recursive(
    texts | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)

LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, finite),
    (bool, st.booleans()),
    (str, texts),
    (bytes, st.binary(max_size=9)),
    (None, st.none()),
    (Decimal, decimals),
    (dt.datetime, stamps),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas()),
    (uuid.UUID, st.uuids()),
    (Path, st.from_regex(r"[a-z/]{1,8}", fullmatch=True).map(Path)),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (UserId, st.integers()),
    (Literal["a", 3, None], st.sampled_from(["a", 3, None])),
    (Annotated[int, Ge(3)], st.integers(3)),
    (Annotated[str, pydantic.Field(max_length=5, description="short")], st.text("ab", max_size=5)),
    (Point, points),
    (Private, privates),
    (Node, nodes),
    (Card, cards),
    (Row, rows),
    (Pair, st.builds(Pair, rows, decimals)),
    (Box[Point], st.builds(Box, points)),
    (PointBox, st.builds(PointBox, points, texts)),
    (Box[bytes], st.builds(Box, st.binary(max_size=9))),
    (Cat | Dog, st.builds(Cat, texts) | st.builds(Dog, texts)),
    (
        Circle | Square | None,
        st.builds(Circle, st.just("circle"), finite)
        | st.builds(Square, st.just("square"), finite)
        | st.none(),
    ),
    (int | str | Point, st.integers() | texts | points),
    (Plain, plains),
    (Closed, closed),
    (Around, st.builds(Around, closed)),
    (Root, st.lists(st.integers()).map(Root)),
    (
        Annotated[int, Ge(3)] | Annotated[int, Le(-3)] | list[int],
        st.integers(3) | st.integers(max_value=-3) | st.lists(st.integers()),
    ),
    (Json, jsons),
    (Tree, trees),
    (Any, jsons),
]


def deeper(typed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Types made of types, each with the strategy of its values."""
    return st.one_of(
        typed.map(lambda t: (list[t[0]], st.lists(t[1], max_size=3))),  # type: ignore[name-defined]
        typed.map(lambda t: (tuple[t[0], ...], st.lists(t[1], max_size=3).map(tuple))),  # type: ignore[name-defined]
        typed.map(lambda t: (dict[str, t[0]], st.dictionaries(texts, t[1], max_size=3))),  # type: ignore[name-defined]
        typed.map(lambda t: (Box[t[0]], st.builds(Box, t[1]))),  # type: ignore[name-defined]
        typed.map(_attrs_class),
        typed.map(_data_class),
        typed.map(_typed_dict),
        typed.map(_named_tuple),
        st.tuples(typed, typed).map(
            lambda two: (tuple[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))
        ),
    )


def _attrs_class(typed: Any) -> Any:
    made = attrs.make_class("Made", {"_a": attrs.field(type=typed[0])}, frozen=True)
    return made, st.builds(made, typed[1])


def _data_class(typed: Any) -> Any:
    made = dataclasses.make_dataclass("Data", [("model_x", typed[0]), ("json", int, 3)])
    return made, st.builds(made, typed[1], st.integers())


def _typed_dict(typed: Any) -> Any:
    made = TypedDict("Made", {"class": typed[0], "x y": NotRequired[int]})  # type: ignore[misc]
    return made, st.fixed_dictionaries({"class": typed[1]}, optional={"x y": st.integers()})


def _named_tuple(typed: Any) -> Any:
    made = NamedTuple("Made", [("first", typed[0])])  # type: ignore[misc]  # noqa: UP014
    return made, st.builds(made, typed[1])


types = st.recursive(st.sampled_from(LEAVES), deeper, max_leaves=4)


# -------------------------------------------------------------------------------------- the laws


def survives(type_: Any, value: Any) -> None:
    schema = Schema.of(type_)
    back = schema.parse(json.loads(json.dumps(schema.dump(value), allow_nan=False)))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("typed", LEAVES, ids=lambda typed: str(typed[0])[:40])
@settings(max_examples=25)
@given(data=st.data())
def test_a_value_of_each_type_survives_json(typed: Any, data: st.DataObject) -> None:
    survives(typed[0], data.draw(typed[1]))


@settings(max_examples=120)
@given(st.data())
def test_a_value_of_a_type_made_of_types_survives_json(data: st.DataObject) -> None:
    type_, values = data.draw(types)
    survives(type_, data.draw(values))


@settings(max_examples=80)
@given(st.data())
def test_in_any_union_a_value_survives_or_is_refused(data: st.DataObject) -> None:
    (one, values), (other, _) = data.draw(types), data.draw(types)
    with contextlib.suppress(BadInput):
        survives(Union[one, other], data.draw(values))  # noqa: UP007


@settings(max_examples=200)
@given(st.data(), jsons)
def test_any_data_is_a_value_or_a_mismatch(data: st.DataObject, raw: Any) -> None:
    schema = Schema.of(data.draw(types)[0])
    try:
        value = schema.parse(raw)
    except Mismatch as mismatch:
        told = mismatch.problems
    else:
        told = ("none",)
        assert schema.parse(schema.dump(value)) == value
    assert 1 <= len(told) <= 12
    assert all(told)


@given(st.text() | st.from_regex(r'[\[\]{}",:\\ud8a-f0-9eE+.NI-]{0,30}', fullmatch=True))
def test_any_text_is_a_value_or_a_mismatch(text: str) -> None:
    with contextlib.suppress(Mismatch):
        Schema.of(Any).parse_json(text)


@given(jsons)
def test_what_is_parsed_shares_nothing_with_the_data(raw: Any) -> None:
    before = json.dumps(raw)
    value = Schema.of(Any).parse([raw, {}])
    value[1]["new"] = value
    if isinstance(value[0], dict | list):
        value[0].clear()
    assert json.dumps(raw) == before


@settings(max_examples=50)
@given(st.data())
def test_the_json_schema_is_plain_closed_and_untitled(data: st.DataObject) -> None:
    type_, _ = data.draw(types)
    schema = Schema.of(type_)
    assert json.loads(json.dumps(schema.json)) == schema.json
    for found in objects(schema.json):
        assert "title" not in found or isinstance(found["title"], dict)
        of_pydantic = "pair" in found.get("properties", ())
        assert "properties" not in found or of_pydantic or found["additionalProperties"] is False


def objects(data: Any) -> list[Any]:
    if isinstance(data, list):
        return [found for item in data for found in objects(item)]
    if not isinstance(data, dict):
        return []
    return [data, *(found for item in data.values() for found in objects(item))]


# ---------------------------------------------------------------------------- what does not fit

FAR: list[tuple[Any, str, list[str]]] = [
    (int, '"1"', ["Input should be a valid integer, not '1'"]),
    (int, "true", ["Input should be a valid integer, not True"]),
    (int, "1.5", ["Input should be a valid integer, not 1.5"]),
    (str, "3", ["Input should be a valid string, not 3"]),
    (list[Point], '[{"x": 1}, {"z": 2}]', ["1.x: Field required", "1.z: Unexpected key"]),
    (dict[str, Point], '{"a": {}}', ["a.x: Field required"]),
    (Point, "[]", ["Input should be an object, not []"]),
    (Node, '{"value": 1, "children": [{"value": "a"}]}',
     ["children.0.value: Input should be a valid integer, not 'a'"]),
    (Private, '{"hidden": "a", "share": -1}', ["'share' must be >= 0: -1.0"]),
    (Private, '{"_hidden": "a"}', ["hidden: Field required", "_hidden: Unexpected key"]),
    (Private, '{"hidden": "a", "derived": 1}', ["derived: Unexpected key"]),
    (Colour, '"green"', ["Input should be 'red' or 'blue', not 'green'"]),
    (Literal["a", "b"], '"c"', ["Input should be 'a' or 'b', not 'c'"]),
    (Annotated[int, Ge(3)], "1", ["Input should be greater than or equal to 3, not 1"]),
    (Annotated[list[int], Len(2)], "[1]",
     ["List should have at least 2 items after validation, not 1, not [1]"]),
    (int | str, "[]",
     ["Input should fit one of int (Input should be a valid integer), "
      "str (Input should be a valid string)"]),
    (list[Annotated[int, Ge(3)] | Point | Dog], '[{"is": "Dog"}, {"is": "Cat"}]',
     ["0.name: Field required",
      "1: Input should fit one of int (Input should be a valid integer), "
      "Point | Dog (Input should be an object whose 'is' is one of 'Point', 'Dog')"]),
    (list[int | Point], '[1, {"y": 2}]', ["1.x: Field required"]),
    (Circle | Square, '{"kind": "square", "radius": 2}',
     ["side: Field required", "radius: Unexpected key"]),
    (Circle | Square, '{"kind": "oval"}',
     ["Input should be an object whose 'kind' is one of 'circle', 'square', "
      "not {'kind': 'oval'}"]),
    (Cat | Dog, '{"is": "Dog"}', ["name: Field required"]),
    (list[Cat | Dog], '[{"is": []}, 3]',
     ["0: Input should be an object whose 'is' is one of 'Cat', 'Dog', not {'is': []}",
      "1: Input should be an object whose 'is' is one of 'Cat', 'Dog', not 3"]),
    (Plain, '{"pair": {"a": "b"}}', ["pair.a: Input should be a valid integer, not 'b'"]),
    (Around, '{"closed": {"plain": {"limit": -1}, "x": 1}, "shapes": {"a": {"kind": "circle"}}}',
     ["closed.plain.limit: Input should be greater than or equal to 0, not -1",
      "closed.x: Unexpected key",
      "shapes.a.radius: Field required"]),
    (Any, "NaN", ["not JSON: Out of range float values are not JSON compliant"]),
    (Any, "[-Infinity]", ["not JSON: Out of range float values are not JSON compliant"]),
    (Any, "1e999", ["not JSON: Out of range float values are not JSON compliant"]),
    (Any, '{"a": ', ["not JSON: Expecting value: line 1 column 7 (char 6)"]),
    (Any, "", ["not JSON: Expecting value: line 1 column 1 (char 0)"]),
    (Any, "[" * 500 + "]" * 500, ["Invalid JSON: recursion limit exceeded at line 1 column 202"]),
    (str, '"\\ud83d"', ["Invalid JSON: unexpected end of hex escape at line 1 column 8"]),
]  # fmt: skip


def _number(text: str) -> str:
    """The number that newer versions of Python name in their message."""
    return {"NaN": "nan", "[-Infinity]": "-inf", "1e999": "inf"}.get(text, "none")


@pytest.mark.parametrize(("type_", "text", "problems"), FAR)
def test_what_does_not_fit_is_told(type_: Any, text: str, problems: list[str]) -> None:
    with pytest.raises(Mismatch) as caught:
        Schema.of(type_).parse_json(text)
    told = list(caught.value.problems)
    assert [line.removesuffix(f": {_number(text)}") for line in told] == problems


@pytest.mark.parametrize(
    ("text", "said"), [("[" * 100_000, "recursion"), ("1" * 5000, "4300 digits")]
)
def test_what_python_cannot_read_is_a_mismatch(text: str, said: str) -> None:
    with pytest.raises(Mismatch, match=f"not JSON: .*{said}"):
        Schema.of(Any).parse_json(text)


def test_many_problems_are_capped_and_long_values_cut() -> None:
    with pytest.raises(Mismatch) as caught:
        Schema.of(list[int]).parse(["x" * 1000] * 50)
    assert len(caught.value.problems) == 12
    assert caught.value.problems[-1] == "... and 39 more problems"
    assert len(caught.value.problems[0]) < 120


@pytest.mark.parametrize(
    "data", [float("nan"), {1, 2}, object(), ["\ud800"], {"a": 10**5000}, {(1, 2): 3}]
)
def test_what_is_no_json_data_is_a_mismatch(data: Any) -> None:
    with pytest.raises(Mismatch):
        Schema.of(Any).parse(data)


def test_data_nested_too_deep_is_a_mismatch() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Mismatch, match=r"not JSON: .*recursion"):
        Schema.of(Any).parse(deep)


@pytest.mark.parametrize(
    "text",
    ["[1]", " [1]\n", "```json\n[1]\n```", "```\n[1]\n```\n", "\ufeff[1]", "```JSON\r\n[1]\r\n```"],
)
def test_an_answer_may_stand_in_a_fence(text: str) -> None:
    assert Schema.of(list[int]).parse_json(text) == [1]


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert Schema.of(Point).parse_json('{"x": 1, "x": 2}') == Point(2)


def test_what_json_means() -> None:
    assert Schema.of(float).parse(3) == 3.0
    assert Schema.of(dt.date).parse("2026-01-02") == dt.date(2026, 1, 2)
    assert Schema.of(Sequence[int]).parse([1]) == [1]
    assert Schema.of(Mapping[str, int]).parse({"a": 1}) == {"a": 1}
    assert Schema.of(Iterable[int]).parse([1]) == [1]
    assert Schema.of(dict[int, str]).parse({"1": "a"}) == {1: "a"}


def test_a_converter_that_fails_is_a_problem() -> None:
    made = attrs.make_class("Made", {"x": attrs.field(type=int, converter=lambda x: x + "a")})
    with pytest.raises(Mismatch, match="TypeError: unsupported operand"):
        Schema.of(list[made]).parse([{"x": 1}])  # type: ignore[valid-type]


def test_a_validator_of_attrs_is_a_problem_of_its_object() -> None:
    @frozen
    class Span:
        low: int
        high: int = field()
        unit: str = field(default="m", validator=attrs.validators.in_(["m", "km"]))
        kind: str = field(default="", validator=attrs.validators.optional(_never))

        @high.validator
        def _ordered(self, _attribute: Any, value: int) -> None:
            if value < self.low:
                raise ValueError("give a high that is\nnot below low")

    with pytest.raises(Mismatch) as caught:
        Schema.of(list[Span]).parse(
            [
                {"low": 2, "high": 1},
                {"low": 1, "high": 2, "unit": "k"},
                {"low": 1, "high": 2, "kind": "any"},
            ]
        )
    assert caught.value.problems == (
        "0: give a high that is not below low",
        "1: 'unit' must be in ['m', 'km'] (got 'k')",
        "2: KeyError: no kind",
    )


def _never(_span: Any, _attribute: Any, value: str) -> None:
    if value:
        raise KeyError("no kind")


# ------------------------------------------------------------------------ what cannot be held


def a_function() -> None: ...


@pytest.mark.parametrize(
    ("type_", "named"),
    [
        (object(), "object"),
        (a_function, "a_function"),
        (json, "json"),
        (type("Bare", (), {}), "Bare"),
        (list[type("Bare", (), {})], "Bare"),  # type: ignore[misc]
        (attrs.make_class("Holder", {"it": attrs.field(type=type("Bare", (), {}))}), "Bare"),
        (type, "type"),
        (5, "5"),
        ({"type": "int"}, "type"),
        (list["Nowhere"], "Nowhere"),  # type: ignore[name-defined]  # noqa: F821
        (Mixed, "Node"),
        (Iterator[int], "Iterator"),
        (Callable[[], int], "Callable"),
        (Endless[int], "Endless"),
        (attrs.make_class("Alone", {"x": attrs.field(type=int)}, eq=False), "Alone needs =="),
        (dataclasses.make_dataclass("Once", [("x", dataclasses.InitVar[int])]), "an InitVar"),
        (Cat | type(Cat.__name__, (Dog,), {}), "need different names: Cat, Cat"),
        (Literal[b"a"], "its bytes are no text"),
        (dict[Literal[1, 2], str], "the keys of an object are texts"),
        (dict[None, str], "the keys of an object are texts"),
        (
            dict[enum.Enum("Numbers", {"one": 1, "two": "2"}), str],
            "the keys of an object are texts",
        ),  # type: ignore[misc]
    ],
)
def test_a_type_that_json_cannot_hold_is_refused_at_once(type_: Any, named: str) -> None:
    with pytest.raises(BadInput, match=named):
        Schema.of(type_)


@pytest.mark.parametrize(
    ("type_", "value", "said"),
    [
        (int, "x", "a str cannot be held as int: Input should be a valid integer, not 'x'"),
        (list[Point], [Dog("a")], "unknown type: <class 'tests.test_schema.Dog'>"),
        (Card, Card(Point("s"), dt.datetime.min), "point.x: Input should be a valid integer"),  # type: ignore[arg-type]
        (Any, Point(1), "unknown type: <class 'tests.test_schema.Point'>"),
        (Any, (1, 2), "would give back another value"),
        (float, float("nan"), "a float cannot be held as float"),
        (Row, {"note": "a"}, "card: Field required"),
        (Row, {"card": Card(Point(1), dt.datetime.min), "mark": "a"}, "another value"),
        (dt.date | str, "2026-01-02", "would give back another value"),
        (Point, type("Sub", (Point,), {})(1), "unknown type: <class 'tests.test_schema.Sub'>"),
        (Cents, Cents(5), "would give back another value"),
    ],
)
def test_a_value_that_cannot_be_held_is_refused(type_: Any, value: Any, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        Schema.of(type_).dump(value)
    assert said in str(caught.value)


def test_what_contains_itself_cannot_be_held() -> None:
    node = Node(1)
    node.children.append(node)
    with pytest.raises(BadInput, match="Circular reference"):
        Schema.of(Node).dump(node)


# ------------------------------------------------------------------------------------- the rest


def test_the_same_type_gives_the_same_schema() -> None:
    assert Schema.of(list[Point]) is Schema.of(list[Point])


def test_the_schema_tells_what_the_user_wrote() -> None:
    @frozen
    class Promotion:
        """A text that sells.

        Attributes:
            headline: at most ten words
        """

        headline: str
        body: Annotated[str, pydantic.Field(description="two sentences")] = "none"

    assert Schema.of(Promotion).json == {
        "additionalProperties": False,
        "description": "A text that sells.",
        "properties": {
            "headline": {"description": "at most ten words", "type": "string"},
            "body": {"default": "none", "description": "two sentences", "type": "string"},
        },
        "required": ["headline"],
        "type": "object",
    }
    assert "description" not in Schema.of(Card).json


def test_a_class_may_name_itself_and_what_its_module_knows() -> None:
    @frozen
    class Petal:
        point: "Point"
        petals: "list[Petal]"

    @frozen
    class Twig:
        petal: "Petal"

    survives(Petal, Petal(Point(1), [Petal(Point(2), [])]))
    with pytest.raises(BadInput, match="Twig: name 'Petal' is not defined: define it at the top"):
        Schema.of(Twig)


def test_a_tree_of_classes_is_read_once_each() -> None:
    tree: Any = Leaf(1)
    for _ in range(25):
        tree = Branch(tree, Leaf(2))
    survives(Leaf | Branch | Cut, tree)


def test_a_pydantic_model_reads_as_its_config_says() -> None:
    class Open(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        a: int

    assert Schema.of(Open).parse({"a": 1, "b": 2}) == Open(a=1, b=2)  # type: ignore[call-arg]
    assert Schema.of(Open).json["additionalProperties"] is True
    assert Schema.of(Plain).parse({"limit": 1, "b": 2}) == Plain(limit=1)


def test_a_pydantic_model_keeps_its_own_validators() -> None:
    class Tagged(pydantic.BaseModel):
        tags: list[str]

        @pydantic.field_validator("tags", mode="before")
        @classmethod
        def split(cls, value: Any) -> Any:
            return value.split(",") if isinstance(value, str) else value

    assert Schema.of(list[Tagged]).parse([{"tags": "a,b"}]) == [Tagged(tags=["a", "b"])]


def test_classes_that_cannot_be_told_apart_get_a_tag() -> None:
    assert Schema.of(Cat | Dog).dump(Dog("a")) == {"is": "Dog", "name": "a"}
    assert Schema.of(Circle | Square).dump(Square("square", 1.0)) == {"kind": "square", "side": 1.0}
    assert Schema.of(Cat).dump(Cat("a")) == {"name": "a"}
    assert Schema.of(Box[int] | Box[str]).dump(Box("a")) == {"is": "Box[str]", "content": "a"}
    assert Schema.of(Plus | Minus).dump(Minus()) == {"sign": "-"}
    assert Schema.of(Plus | Minus).json["$defs"]["Minus"]["required"] == ["sign"]


def test_the_classes_of_the_user_stay_as_they_are() -> None:
    made = attrs.make_class("Made", {"x": attrs.field(type="int")})
    before = dict(vars(made))
    Schema.of(made | list[made])  # type: ignore[valid-type]
    assert dict(vars(made)) == before
    assert made.__subclasses__() == []


def test_an_object_by_its_keys() -> None:
    schema = Schema.of_keys("search", [Key("city", str), Key("days", int, 3, "how many")])
    assert schema.parse({"city": "Ulm"}) == {"city": "Ulm"}
    assert schema.json["properties"]["days"] == {
        "default": 3,
        "description": "how many",
        "type": "integer",
    }
    assert isinstance(Cat | Dog, UnionType)
