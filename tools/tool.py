"""`tool`: a function becomes something that a model can call."""

import functools
import inspect
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from inspect import Parameter, Signature
from typing import Any, get_args, overload

import attrs
from attrs import evolve, field, frozen

from loopwright.calls import Effect, ToolSpec
from loopwright.errors import BadInput, Mismatch
from loopwright.given import asynchronous
from loopwright.keys import Key, described, hints_of
from loopwright.schema import Schema
from loopwright.use import Place

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_KEY = "idempotency_key"
_PLACE = "place"


@frozen(eq=False)
class Tool:
    """A function that a model can call; `tool` makes them.

    It is still called as the function was. `effect` says what repeating a call may do, `timeout`
    is in seconds. `spec` is what the model is told. An `asynchronous` tool is awaited, another one
    runs in a thread. One that `wants_key` is given the call's idempotency key, one that
    `wants_place` the `Place` where it is called. What the other fields say, `tool` says.
    """

    name: str
    description: str
    effect: Effect
    timeout: float
    function: Callable[..., Any] = field(repr=False)
    spec: ToolSpec = field(repr=False)
    asynchronous: bool
    wants_key: bool
    _signature: Signature = field(repr=False)
    _unnamed: tuple[Parameter, ...] = field(repr=False)
    _schema: Schema = field(repr=False)
    _says_done: bool = field(repr=False)
    wants_place: bool = False
    undo: "Tool | None" = field(default=None, repr=False)
    reconcile: "Tool | None" = field(default=None, repr=False)
    retries: int = 0
    cache_seconds: float = 0.0
    at_once: int = 0
    labels: frozenset[str] = frozenset()

    def bind(
        self, arguments: Mapping[str, Any], key: str = ""
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and named arguments of a call, read into the declared types.

        They share nothing with `arguments`. `key` is the idempotency key, for a tool that wants it.
        Raises `Mismatch` with a line for everything that does not fit.

        >>> @tool
        ... def add(x: int, y: int = 2) -> int: ...
        >>> add.bind({"x": 1})
        ((), {'x': 1})
        """
        if not isinstance(arguments, Mapping):
            raise Mismatch([f"the arguments are no object but a {type(arguments).__name__}"])
        values: dict[str, Any] = self._schema.parse(arguments)
        if self.wants_key and (key or _required(self._signature.parameters[_KEY])):
            values[_KEY] = key
        return tuple(values.pop(s.name, s.default) for s in self._unnamed), values

    def render(self, value: Any) -> str:
        """What the model is told of a value that the function returned.

        A text is told as it is, everything else as JSON: ``null`` for None, or ``done`` if the
        function is declared to return nothing. Raises `BadInput` ("unserialisable") for what is no
        data: generators, NaN, what contains itself.

        >>> @tool
        ... def primes() -> list[int]: ...
        >>> primes.render([2, 3])
        '[2, 3]'
        """
        if isinstance(value, str) and not isinstance(value, Enum):
            return str(value)
        if value is None:
            return "done" if self._says_done else "null"
        from pydantic_core import to_jsonable_python

        try:
            if isinstance(value, Iterator):  # it might never end
                raise _no_data(value)
            data = to_jsonable_python(
                value, bytes_mode="base64", inf_nan_mode="constants", fallback=_held
            )
            return json.dumps(data, ensure_ascii=False, allow_nan=False)
        except Exception as error:  # whatever a property of the value raises, too
            raise BadInput(f"what {self.name} returned is unserialisable: {error}") from None

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        return self.function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever the function gives, called directly."""
        return self.function(*args, **kwargs)


@overload
def tool(
    function: Callable[..., Any],
    *,
    effect: Effect = ...,
    timeout: float = ...,
    name: str = ...,
    description: str = ...,
    undo: Callable[..., Any] | None = ...,
    reconcile: Callable[..., Any] | None = ...,
    retries: int = ...,
    cache_seconds: float = ...,
    at_once: int = ...,
    labels: Iterable[str] = ...,
) -> Tool: ...
@overload
def tool(
    *,
    effect: Effect = ...,
    timeout: float = ...,
    name: str = ...,
    description: str = ...,
    undo: Callable[..., Any] | None = ...,
    reconcile: Callable[..., Any] | None = ...,
    retries: int = ...,
    cache_seconds: float = ...,
    at_once: int = ...,
    labels: Iterable[str] = ...,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    *,
    effect: Effect = "unsafe",
    timeout: float = 60.0,
    name: str = "",
    description: str = "",
    undo: Callable[..., Any] | None = None,
    reconcile: Callable[..., Any] | None = None,
    retries: int = 0,
    cache_seconds: float = 0.0,
    at_once: int = 0,
    labels: Iterable[str] = (),
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Makes a tool of a function, a bound method, a partial or a callable object.

    What the model is told follows from the types and the docstring (Google, NumPy or Sphinx form).
    What a partial has bound by name is not told. A parameter ``idempotency_key: str`` is not told
    either, and is given the call's key; nor is ``place: Place``, the run and loop that it is called
    in. Of a method, make a tool when it is bound: ``tool(shop.order)``.

    `effect` says what repeating a call may do: ``"read"`` (nothing), ``"idempotent"`` (nothing more
    with the same key), ``"reconcilable"`` (it can be found out whether it happened) or
    ``"unsafe"``, which is the default, since nothing is known of a function. `timeout` is in
    seconds; 60 is what people wait for a page. `name` and `description` take the place of what the
    function says.

    `undo` takes back what a call did, when its run ends badly: a function of some of the tool's
    parameters, and of ``result: str``, what the model read of it. Calls are undone last first, each
    once, also those that failed or were cut off; so it must not mind if there is nothing to undo.
    A crash may leave the undoing in doubt, too: give a tool of its own with an effect. `reconcile`
    is a function of some of the tool's parameters that says, after a crash, what a call in doubt
    gave; `None` says that it did not happen.

    `retries`: how often a failed call is repeated, only for the effects ``"read"`` and
    ``"idempotent"``. `cache_seconds`: how long a result of a ``"read"`` tool is good for all runs
    of a log. `at_once`: how many calls there may be at the same time in a process; 0 is any number.
    A call that waits for its slot is not timed; a thread that was abandoned has given its slot up;
    and a tool with ``at_once=1`` whose own run uses it again waits for itself. `labels`:
    ``"private"`` (shows private data), ``"outside"`` (gives what strangers may have written) and
    ``"sends"`` (a way out), for policies such as `Permit`.

    Raises `BadInput` for a parameter without a type or with one that JSON cannot hold, for
    ``*args`` and ``**kwargs``, and for options that cannot work.

    >>> @tool(effect="read", timeout=10)
    ... def weather(city: str) -> str:
    ...     "Tells the weather."
    ...     return f"Rain in {city}."
    >>> weather("Paris")
    'Rain in Paris.'
    >>> weather.spec.schema["required"]
    ['city']
    """
    more: dict[str, Any] = {
        "undo": undo,
        "reconcile": reconcile,
        "retries": retries,
        "cache_seconds": cache_seconds,
        "at_once": at_once,
        "labels": frozenset(labels),
    }
    _check(effect, timeout, more)
    if function is None:
        options: dict[str, Any] = {"effect": effect, "timeout": timeout, "name": name}
        return functools.partial(tool, description=description, **options, **more)
    made = _made(function, effect, float(timeout), name, description)
    helpers: dict[str, Any] = {k: _helper(made, k, more[k]) for k in ("undo", "reconcile")}
    return evolve(made, **{**more, **helpers})


def _helper(made: Tool, kind: str, given: Any) -> Tool | None:
    """The tool that takes a call back, or tells whether it happened."""
    if given is None:
        return None
    helper = given if isinstance(given, Tool) else tool(given, name=made.name)
    known = {*made.spec.schema["properties"], *(["result"] if kind == "undo" else [])}
    unknown = sorted(helper.spec.schema["properties"].keys() - known)
    if unknown:
        raise BadInput(f"{made.name}: {kind} asks for {unknown[0]!r}, which the tool is not given")
    return helper


def _required(spot: Parameter) -> bool:
    return spot.default is Parameter.empty


LABELS = ("private", "outside", "sends")


def _check(effect: Any, timeout: Any, more: Mapping[str, Any]) -> None:
    if effect not in get_args(Effect):
        raise BadInput(f"effect={effect!r}: give one of {', '.join(get_args(Effect))}")
    positive("timeout", timeout)
    for name in ("retries", "cache_seconds", "at_once"):
        whole = name == "cache_seconds" or isinstance(more[name], int)
        if not _number(more[name]) or more[name] < 0 or not whole:
            raise BadInput(f"{name}={more[name]!r}: give a number of at least 0")
    if unknown := sorted(more["labels"] - set(LABELS)):
        raise BadInput(f"labels: {unknown[0]!r} is none of {', '.join(LABELS)}")
    _check_effect(effect, more)


def _check_effect(effect: Effect, more: Mapping[str, Any]) -> None:
    if more["retries"] and effect not in ("read", "idempotent"):
        raise BadInput(f"retries={more['retries']}: only what is read or idempotent is repeated")
    if more["cache_seconds"] and effect != "read":
        raise BadInput(f"cache_seconds={more['cache_seconds']}: only a read tool can be cached")
    if more["reconcile"] and effect != "reconcilable":
        raise BadInput("a tool with reconcile= has the effect 'reconcilable': say so")


def _number(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and math.isfinite(value)


def positive(name: str, given: Any) -> None:
    """Raise `BadInput` for what is no number of seconds that one can wait."""
    if not _number(given) or given <= 0:
        raise BadInput(f"{name}={given!r}: give a positive number of seconds")


def at_least(least: int, name: str, given: Any) -> None:
    """Raise `BadInput` for what is no whole number of at least that."""
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise BadInput(f"{name}={given!r}: give a whole number of at least {least}")


def texts(name: str, given: Any) -> dict[str, str]:
    """Texts by their names, or none. Raises `BadInput` for anything else."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(
        isinstance(one, str) for pair in given.items() for one in pair
    ):
        raise BadInput(f"{name}: give names and texts, such as {{'NAME': 'text'}}")
    return dict(given)


def check_name(kind: str, name: str) -> None:
    """Raise `BadInput` for a name under which no model could call it."""
    if not _NAME.match(name):
        raise BadInput(
            f"a {kind} cannot be called {name!r}: give name= of 1 to 64 letters, digits, _ -"
        )


def _made(given: Any, effect: Effect, timeout: float, name: str, description: str) -> Tool:
    function = _bare(given)
    source = _source(function)
    name = name or _name(function)
    check_name("tool", name)
    signature, hints = _signature(function, name), hints_of(source, name)
    text, about = described(getattr(source, "__doc__", None) or "")
    told = [spot for spot in _told(signature, function) if hints.get(spot.name) is not Place]
    keys = [_key(name, spot, hints, about) for spot in told]
    schema = Schema.of_keys(name, keys)
    spec = ToolSpec(name, description or text, schema.json)
    return Tool(
        name,
        spec.description,
        effect,
        timeout,
        function,
        spec,
        asynchronous(function),
        _wants_key(name, signature, hints),
        signature,
        tuple(spot for spot in signature.parameters.values() if spot.kind is spot.POSITIONAL_ONLY),
        schema,
        hints.get("return", Any) in (None, type(None)),
        hints.get(_PLACE) is Place,
    )


def _bare(given: Any) -> Callable[..., Any]:
    """The function itself, where something known is wrapped around it."""
    if isinstance(given, Tool):
        return given.function
    if isinstance(given, type) or not callable(given):
        raise BadInput(f"{given!r} cannot be a tool: decorate a function")
    source = _source(given)
    if inspect.isgeneratorfunction(source) or inspect.isasyncgenfunction(source):
        raise BadInput(f"{_name(given)} yields its values: a tool returns them, in a list")
    return given  # type: ignore[no-any-return]


def _source(function: Any) -> Any:
    """The function whose annotations and docstring count."""
    while isinstance(function, functools.partial) or hasattr(function, "__wrapped__"):
        function = (
            function.func if isinstance(function, functools.partial) else function.__wrapped__
        )
    return function if inspect.isroutine(function) else type(function).__call__


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def _signature(function: Any, name: str) -> Signature:
    try:
        return inspect.signature(function)
    except ValueError:
        raise BadInput(f"{name} does not tell its parameters: wrap it in a function") from None


def _told(signature: Signature, function: Any) -> list[Parameter]:
    """What the model may give: neither the key, nor what somebody has bound, maybe a secret."""
    bound = function.keywords if isinstance(function, functools.partial) else {}
    spots = signature.parameters.values()
    return [spot for spot in spots if spot.name != _KEY and spot.name not in bound]


def _wants_key(name: str, signature: Signature, hints: Mapping[str, Any]) -> bool:
    if _KEY not in signature.parameters:
        return False
    if hints.get(_KEY) is not str:
        raise BadInput(f"{name}: the parameter {_KEY} is given a text: write {_KEY}: str")
    return True


def _key(name: str, spot: Parameter, hints: Mapping[str, Any], about: Mapping[str, str]) -> Key:
    if spot.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        raise BadInput(f"{name}: {spot} cannot be told: give it a parameter that is a list or dict")
    if spot.name not in hints:
        bare = spot.name in ("self", "cls")
        hint = "tool(thing.method)" if bare else f"{spot.name}: str, for example"
        raise BadInput(f"{name}: the parameter {spot.name} has no type: write {hint}")
    type_ = hints[spot.name] | None if spot.default is None else hints[spot.name]
    try:
        Schema.of(type_)
    except BadInput as error:
        raise BadInput(f"{name}: the parameter {spot.name}: {error}") from None
    return Key(spot.name, type_, spot.default, about.get(spot.name, ""))


def _held(value: Any) -> Any:
    """What a value holds of which only its own class is known."""
    if attrs.has(type(value)):
        return {a.alias: getattr(value, a.name) for a in attrs.fields(type(value)) if a.init}
    raise _no_data(value)


def _no_data(value: Any) -> ValueError:
    return ValueError(f"a {type(value).__name__} is no data")
