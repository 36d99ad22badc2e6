"""`tool`: awkward signatures, arguments that do not fit, and what the model is told."""

import asyncio
import contextlib
import datetime as dt
import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict

import pydantic
import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.errors import BadInput, Mismatch
from loopwright.tools import Tool, tool


class Unit(Enum):
    C = "celsius"
    F = "fahrenheit"


@frozen
class Place:
    city: str
    country: str = "CN"


class Filters(TypedDict):
    limit: int
    order: NotRequired[Literal["up", "down"]]


class Spot(NamedTuple):
    x: int
    y: int = 0


# --------------------------------------------------------------------------- awkward signatures


def nothing() -> str: ...
def plain(a: int, b: str) -> str: ...
def defaults(a: int = 1, b: str | None = None, c: list[int] = [1]) -> str: ...  # noqa: B006
def positional(a: int, b: int = 2, /, c: int = 3) -> str: ...
def named(*, a: int, b: int = 2) -> str: ...
def mixed(a: int, /, b: int, *, c: int) -> str: ...
def everything(a: int, /, b: int = 2, *, c: int = 3, d: str) -> str: ...
def classes(place: Place, spot: Spot, filters: Filters) -> str: ...
def optional(place: Optional[Place] = None) -> str: ...  # noqa: UP045
def implicit(place: Place = None) -> str: ...  # type: ignore[assignment]
def enums(unit: Unit = Unit.C, mode: Literal["a", 1] = "a") -> str: ...
def constrained(a: Annotated[int, pydantic.Field(ge=1, description="how many")]) -> str: ...
def texts(a: "int", when: "dt.date") -> "str": ...
def shadowing(self_: int, json: int, schema: str, model_config: bool, _hidden: int) -> str: ...
def union(a: int | Place | list[str]) -> str: ...
def anything(a: Any, b: dict[str, Any]) -> str: ...
def sequence(days: tuple[dt.date, ...], unit: set[str]) -> str: ...


async def awaited(a: int) -> str:
    return f"got {a}"


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return outer


class Adder:
    """Adds."""

    def __init__(self, base: int) -> None:
        self.base = base

    def __call__(self, a: int) -> int:
        return self.base + a

    def add(self, a: int) -> int:
        """Adds to the base."""
        return self.base + a


SIGNATURES: list[tuple[Any, dict[str, Any], tuple[Any, ...], dict[str, Any]]] = [
    (nothing, {}, (), {}),
    (plain, {"a": 1, "b": "x"}, (1, "x"), {}),
    (defaults, {}, (1, None, [1]), {}),
    (defaults, {"c": [2]}, (1, None, [2]), {}),
    (positional, {"a": 1}, (1, 2, 3), {}),
    (positional, {"a": 1, "c": 9}, (1, 2, 9), {}),
    (named, {"a": 1}, (), {"a": 1, "b": 2}),
    (mixed, {"a": 1, "b": 2, "c": 3}, (1, 2), {"c": 3}),
    (everything, {"a": 1, "d": "z"}, (1, 2), {"c": 3, "d": "z"}),
    (
        classes,
        {"place": {"city": "Ulm"}, "spot": {"x": 1}, "filters": {"limit": 1}},
        (Place("Ulm"), Spot(1), {"limit": 1}),
        {},
    ),
    (optional, {"place": None}, (None,), {}),
    (implicit, {}, (None,), {}),
    (implicit, {"place": None}, (None,), {}),
    (enums, {"unit": "fahrenheit", "mode": 1}, (Unit.F, 1), {}),
    (enums, {}, (Unit.C, "a"), {}),
    (constrained, {"a": 2}, (2,), {}),
    (texts, {"a": 1, "when": "2026-01-02"}, (1, dt.date(2026, 1, 2)), {}),
    (
        shadowing,
        {"self_": 1, "json": 2, "schema": "s", "model_config": True, "_hidden": 3},
        (1, 2, "s", True, 3),
        {},
    ),
    (union, {"a": {"city": "Ulm"}}, (Place("Ulm"),), {}),
    (anything, {"a": [None], "b": {"x": 1}}, ([None], {"x": 1}), {}),
    (
        sequence,
        {"days": ["2026-01-02"], "unit": ["a", "a"]},
        ((dt.date(2026, 1, 2),), {"a"}),
        {},
    ),
    (awaited, {"a": 1}, (1,), {}),
    (decorated(plain), {"a": 1, "b": "x"}, (1, "x"), {}),
    (functools.partial(plain, 5), {"b": "x"}, ("x",), {}),
    (functools.partial(plain, b="secret"), {"a": 1}, (1,), {"b": "secret"}),
    (functools.partial(decorated(plain), 5), {"b": "x"}, ("x",), {}),
    (Adder(1), {"a": 2}, (2,), {}),
    (Adder(1).add, {"a": 2}, (2,), {}),
    (functools.lru_cache(plain), {"a": 1, "b": "x"}, (1, "x"), {}),
]


def received(made: Tool, arguments: Mapping[str, Any], key: str = "") -> tuple[Any, Any]:
    """What the function is given, defaults included: the arguments by position, and by name."""
    args, kwargs = made.bind(arguments, key)
    bound = inspect.signature(made.function).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args, bound.kwargs


@pytest.mark.parametrize(("function", "arguments", "args", "kwargs"), SIGNATURES)
def test_arguments_are_bound(
    function: Any, arguments: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    made = tool(function)
    assert received(made, arguments) == (args, kwargs)
    assert json.loads(json.dumps(made.spec.schema)) == made.spec.schema
    assert made.spec.schema["type"] == "object"
    assert made.spec.schema["additionalProperties"] is False


@pytest.mark.parametrize("function", [plain, everything, classes, union, sequence])
@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "d", "place", "spot", "filters", "days", "?"]),
        st.recursive(
            st.none() | st.integers() | st.text() | st.floats(),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["city", "x", "limit", "b"]), inner, max_size=2)
            ),
            max_leaves=4,
        ),
        max_size=4,
    )
)
def test_whatever_the_arguments_they_fit_or_are_a_mismatch(
    function: Any, arguments: dict[str, Any]
) -> None:
    with contextlib.suppress(Mismatch):
        args, kwargs = tool(function).bind(arguments)
        inspect.signature(function).bind(*args, **kwargs)


MISFITS: list[tuple[Any, Any, list[str]]] = [
    (plain, {"a": "1", "b": "x"}, ["a: Input should be a valid integer, not '1'"]),
    (plain, {"b": 1}, ["a: Field required", "b: Input should be a valid string, not 1"]),
    (plain, {"a": 1, "b": "x", "c": 2}, ["c: Unexpected key"]),
    (plain, [], ["the arguments are no object but a list"]),
    (plain, "", ["the arguments are no object but a str"]),
    (constrained, {"a": 0}, ["a: Input should be greater than or equal to 1, not 0"]),
    (
        classes,
        {"place": {}, "spot": {"x": 1, "z": 2}, "filters": {"limit": 1, "order": "left"}},
        [
            "place.city: Field required",
            "spot.z: Unexpected key",
            "filters.order: Input should be 'up' or 'down', not 'left'",
        ],
    ),
    (anything, {"a": 1, "b": [1]}, ["b: Input should be an object, not [1]"]),
    (sequence, {"days": ["soon"], "unit": []}, ["days.0: Input should be a valid date in the "
     "format YYYY-MM-DD, input is too short, not 'soon'"]),
    (union, {"a": 1.5},
     ["a: Input should fit one of int (Input should be a valid integer), "
      "Place (Input should be an object), list[str] (Input should be a valid array)"]),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "problems"), MISFITS)
def test_arguments_that_do_not_fit_are_told(
    function: Any, arguments: Any, problems: list[str]
) -> None:
    with pytest.raises(Mismatch) as caught:
        tool(function).bind(arguments)
    assert list(caught.value.problems) == problems


def test_a_tool_that_changes_its_arguments_changes_no_history() -> None:
    arguments = {"a": {"deep": [1]}, "b": {"x": {}}}
    (first, second), _ = received(tool(anything), arguments)
    first["deep"].append(2)
    second.clear()
    assert arguments == {"a": {"deep": [1]}, "b": {"x": {}}}


# ------------------------------------------------------------------------- refused when decorated


class Shop:
    def __init__(self, stock: int) -> None:
        self.stock = stock

    def left(self, sold: int) -> int: ...

    async def order(self, many: int) -> int:
        return self.stock + many

    @classmethod
    def called(cls, loud: bool = False) -> str:
        return cls.__name__.upper() if loud else cls.__name__

    @staticmethod
    @tool
    def hours(day: str) -> str:
        return day


def untyped(a, b: int): ...  # type: ignore[no-untyped-def]
def rest(a: int, *more: int) -> str: ...
def options(a: int, **more: int) -> str: ...
def held(a: int, callback: Callable[[int], int]) -> str: ...
def opened(file: object, stream: Iterator[int]) -> str: ...
def unknown(a: "Nowhere") -> str: ...  # type: ignore[name-defined]  # noqa: F821
def numbered(a: int, idempotency_key: int) -> str: ...


def yielding(a: int) -> Iterator[int]:
    yield a


async def streaming(a: int) -> Any:
    yield a


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (untyped, {}, "untyped: the parameter a has no type: write a: str, for example"),
    (rest, {}, r"rest: \*more: int cannot be told: give it a parameter that is a list or dict"),
    (options, {}, r"options: \*\*more: int cannot be told"),
    (Shop.left, {}, r"left: the parameter self has no type: write tool\(thing.method\)"),
    (vars(Shop)["called"], {}, "cannot be a tool: decorate a function"),
    (held, {}, "held: the parameter callback: .*cannot be held in JSON"),
    (opened, {}, "opened: the parameter stream: .*cannot be held in JSON"),
    (unknown, {}, "unknown: name 'Nowhere' is not defined"),
    (numbered, {}, "numbered: the parameter idempotency_key is given a text"),
    (yielding, {}, "yielding yields its values"),
    (streaming, {}, "streaming yields its values"),
    (lambda a: a, {}, "a tool cannot be called '<lambda>'"),
    (plain, {"name": "two words"}, "a tool cannot be called 'two words'"),
    (plain, {"name": "x" * 65}, "a tool cannot be called"),
    (plain, {"name": "name\n"}, "a tool cannot be called"),
    (plain, {"effect": "safe"}, "effect='safe': give one of read, idempotent"),
    (plain, {"timeout": 0}, "timeout=0: give a positive number of seconds"),
    (plain, {"timeout": float("inf")}, "timeout=inf"),
    (plain, {"timeout": True}, "timeout=True"),
    (plain, {"timeout": "5"}, "timeout='5'"),
    (Place, {}, "cannot be a tool: decorate a function"),
    (5, {}, "5 cannot be a tool"),
    (iter, {}, "iter does not tell its parameters"),
]


@pytest.mark.parametrize(("function", "options", "said"), REFUSED)
def test_what_cannot_be_a_tool_is_refused_at_once(
    function: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        tool(function, **options)


# --------------------------------------------------------------------------- what the model is told


def google(city: str, days: int = 3) -> str:
    """Tells the weather.

    As it will be.

    Args:
        city: where
        days: how many

    Returns:
        the weather
    """
    return city * days


def numpy(city: str, days: int = 3) -> str:
    """Tells the weather.

    As it will be.

    Parameters
    ----------
    city : str
        where
    days : int
        how many
    """
    return city * days


def sphinx(city: str, days: int = 3) -> str:
    """Tells the weather.

    As it will be.

    :param city: where
    :param days: how many
    """
    return city * days


@pytest.mark.parametrize("function", [google, numpy, sphinx])
def test_the_docstring_is_told(function: Any) -> None:
    spec = tool(function).spec
    assert spec.name == function.__name__
    assert spec.description == "Tells the weather.\n\nAs it will be."
    assert spec.schema == {
        "additionalProperties": False,
        "properties": {
            "city": {"description": "where", "type": "string"},
            "days": {"default": 3, "description": "how many", "type": "integer"},
        },
        "required": ["city"],
        "type": "object",
    }


def test_what_is_said_at_the_parameter_counts_more_than_the_docstring() -> None:
    made = tool(constrained)
    assert made.spec.schema["properties"]["a"]["description"] == "how many"


def test_what_a_partial_has_bound_is_not_told() -> None:
    made = tool(functools.partial(plain, b="secret"))
    assert "secret" not in str(made.spec)
    assert list(made.spec.schema["properties"]) == ["a"]
    assert made.name == "plain"


def test_name_and_description_can_be_given() -> None:
    made = tool(name="look-up", description="Looks.", effect="read", timeout=5)(lambda: "x")
    assert (made.name, made.description, made.effect) == ("look-up", "Looks.", "read")
    assert (made.timeout, made.spec.name, made.asynchronous) == (5.0, "look-up", False)


def test_the_defaults_are_cautious() -> None:
    made = tool(plain)
    assert (made.effect, made.timeout, made.wants_key) == ("unsafe", 60.0, False)


# --------------------------------------------------------------------------------- still callable


def test_a_tool_is_called_like_the_function() -> None:
    assert tool(google)("Ulm", days=1) == "Ulm"
    assert asyncio.run(tool(awaited)(3)) == "got 3"
    assert inspect.signature(tool(google)) == inspect.signature(google)


@pytest.mark.parametrize(
    ("function", "asynchronous"),
    [
        (plain, False),
        (awaited, True),
        (functools.partial(awaited, 1), True),
        (decorated(awaited), False),  # a plain function, whatever it gives back
    ],
)
def test_an_async_function_is_known_as_one(function: Any, asynchronous: bool) -> None:
    assert tool(function).asynchronous is asynchronous


def test_a_bound_method_is_a_tool() -> None:
    made = tool(Adder(3).add)
    assert (made(4), made.name, made.description) == (7, "add", "Adds to the base.")
    order = tool(Shop(5).order)
    assert (order.asynchronous, list(order.spec.schema["properties"])) == (True, ["many"])
    assert asyncio.run(order(1)) == 6


def test_static_and_class_methods_are_tools() -> None:
    assert (Shop.hours("Monday"), Shop(1).hours.name) == ("Monday", "hours")
    assert received(tool(Shop.called), {"loud": True}) == ((True,), {})
    assert tool(Shop(1).called)(loud=True) == "SHOP"


def test_a_tool_can_be_made_again_with_other_options() -> None:
    made = tool(tool(google), effect="read", name="again")
    assert (made.effect, made.name, made("U")) == ("read", "again", "UUU")


def test_types_are_known_that_stand_at_the_top_of_the_module() -> None:
    @frozen
    class Order:
        item: str

    def send(place: "Place", order: "Order") -> str: ...

    with pytest.raises(BadInput, match="send: name 'Order' is not defined: define it at the top"):
        tool(send)
    send.__annotations__["order"] = Order
    called = received(tool(send), {"place": {"city": "Ulm"}, "order": {"item": "tea"}})
    assert called == ((Place("Ulm"), Order("tea")), {})


# -------------------------------------------------------------------------------------- the key


def test_the_key_is_given_and_not_told() -> None:
    @tool
    def pay(amount: int, idempotency_key: str) -> str:
        return f"{amount} {idempotency_key}"

    assert pay.wants_key
    assert list(pay.spec.schema["properties"]) == ["amount"]
    assert received(pay, {"amount": 1}, "k1") == ((1, "k1"), {})
    assert received(pay, {"amount": 1}) == ((1, ""), {})
    with pytest.raises(Mismatch, match="idempotency_key: Unexpected key"):
        pay.bind({"amount": 1, "idempotency_key": "forged"}, "k1")


def test_a_key_with_a_default_keeps_it() -> None:
    @tool
    def pay(*, idempotency_key: str = "none") -> str:
        return idempotency_key

    assert received(pay, {}) == ((), {"idempotency_key": "none"})
    assert received(pay, {}, key="k") == ((), {"idempotency_key": "k"})


# ------------------------------------------------------------------------------------ the result


@frozen
class Report:
    places: list[Place]
    day: dt.date
    _secret: int = field(default=1)


class Page(pydantic.BaseModel):
    n: int = pydantic.Field(alias="next")
    model_config = pydantic.ConfigDict(populate_by_name=True)


class Vague(pydantic.BaseModel):
    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def broken(self) -> int:
        raise LookupError("no such thing")


REPORT = Report([Place("Ulm")], dt.date(2026, 1, 2))
TOLD = '{"places": [{"city": "Ulm", "country": "CN"}], "day": "2026-01-02", "secret": 1}'


def returning(annotation: Any) -> Tool:
    def answer() -> Any: ...

    answer.__annotations__["return"] = annotation
    return tool(answer)


@pytest.mark.parametrize(
    ("annotation", "value", "told"),
    [
        (str, "as it is ü", "as it is ü"),
        (Any, "text", "text"),
        (Any, None, "null"),
        (str | None, None, "null"),
        (None, None, "done"),
        (Any, 3, "3"),
        (Any, True, "true"),
        (Any, {"a": [1.5, None]}, '{"a": [1.5, null]}'),
        (Any, {3: "x"}, '{"3": "x"}'),
        (Any, (1, 2), "[1, 2]"),
        (Any, {2, 1}, "[1, 2]"),
        (Any, b"\xff", '"_w=="'),
        (Any, Unit.C, '"celsius"'),
        (Any, dt.date(2026, 1, 2), '"2026-01-02"'),
        (Any, Spot(1), "[1, 0]"),
        (Any, {(1, 2): 3}, '{"1,2": 3}'),
        (Any, {"rows": (n for n in (1, 2))}, '{"rows": [1, 2]}'),
        (Any, Filters(limit=1), '{"limit": 1}'),
        (Any, Page(n=1), '{"next": 1}'),
        (Any, REPORT, TOLD),
        (Report, REPORT, TOLD),
        (Any, [REPORT, {"x": REPORT}], f'[{TOLD}, {{"x": {TOLD}}}]'),
        (dict, REPORT, TOLD),
        (list[int], ["not", "ints"], '["not", "ints"]'),
        (Callable[[], int], 3, "3"),
    ],
)
def test_a_result_is_told(annotation: Any, value: Any, told: str) -> None:
    assert returning(annotation).render(value) == told


def test_without_a_declared_result_none_is_null() -> None:
    def answer(): ...  # type: ignore[no-untyped-def]

    assert tool(answer).render(None) == "null"


cyclic: list[Any] = []
cyclic.append(cyclic)
deep: list[Any] = []
for _ in range(5000):
    deep = [deep]


@pytest.mark.parametrize(
    "value",
    [
        (x for x in ()),
        float("nan"),
        [float("inf")],
        cyclic,
        deep,
        object(),
        [object()],
        Vague(),
        print,
        Adder(1),
        {"a": {"b": open}},
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_data_is_unserialisable(value: Any) -> None:
    with pytest.raises(BadInput, match="what answer returned is unserialisable: "):
        returning(Any).render(value)


def test_it_is_said_what_it_is() -> None:
    with pytest.raises(BadInput, match="Circular reference"):
        returning(Any).render({"a": cyclic})
    with pytest.raises(BadInput, match="a builtin_function_or_method is no data"):
        returning(Any).render({"a": [print]})
