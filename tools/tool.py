"""`tool`: a function becomes something that a model can call."""

import functools
import inspect
import json
import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from inspect import BoundArguments, Parameter, Signature
from types import MethodType
from typing import Any, Literal, get_args, get_origin, overload

import attrs
from attrs import NOTHING, field, frozen

from loopwright.calls import Effect, ToolSpec
from loopwright.errors import BadInput, Mismatch
from loopwright.schema import Key, Schema, described, hints_of

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_KEY = "idempotency_key"
_DEEP = 200


@frozen(eq=False)
class Tool:
    """A function that a model can call; `tool` makes them.

    It is still called as the function was. `effect` says what repeating a call may do, `timeout`
    is in seconds. `spec` is what the model is told. An `asynchronous` tool is awaited, another one
    runs in a thread. One that `wants_key` is given the call's idempotency key.
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
    _schema: Schema = field(repr=False)
    _returns: Any = field(repr=False)
    _binds: Literal["", "self", "cls"] = field(repr=False)

    def bind(
        self, arguments: Mapping[str, Any], key: str = ""
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and named arguments of a call, read into the declared types.

        They share nothing with `arguments`. `key` is the idempotency key, for a tool that wants it.
        Raises `Mismatch` with a line for everything that does not fit.

        >>> @tool
        ... def add(x: int, y: int = 2) -> int: ...
        >>> add.bind({"x": 1})
        ((1, 2), {})
        """
        if not isinstance(arguments, Mapping):
            raise Mismatch([f"the arguments are no object but a {type(arguments).__name__}"])
        values = self._schema.parse(dict(arguments))
        spots = self._signature.parameters
        if self.wants_key and (key or spots[_KEY].default is Parameter.empty):
            values[_KEY] = key
        given = OrderedDict(
            (n, _spread(values[n], spot)) for n, spot in spots.items() if n in values
        )
        bound = BoundArguments(self._signature, given)
        bound.apply_defaults()
        for name in _extra(spots, values):
            if name in spots and spots[name].kind is not Parameter.POSITIONAL_ONLY:
                raise Mismatch([f"{name}: Given twice"])
        return bound.args, bound.kwargs

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
            return "done" if self._returns in (None, type(None)) else "null"
        data = self._declared(value)
        try:
            data = _plain(value, "", ()) if data is NOTHING else data
            return json.dumps(data, ensure_ascii=False, allow_nan=False)
        except (BadInput, ValueError, RecursionError) as error:
            raise BadInput(f"what {self.name} returned is unserialisable: {error}") from None

    def _declared(self, value: Any) -> Any:
        if self._returns in (NOTHING, Any):
            return NOTHING
        try:
            return Schema.of(self._returns).dump(value, exact=False)
        except BadInput:  # a loose annotation must not hide what came back
            return NOTHING

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        return self.function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Whatever the function gives, called directly."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> "Tool":
        """The tool of one instance, for a method; of the class, for a class method."""
        to = owner if self._binds == "cls" else instance
        if not self._binds or to is None:
            return self
        return attrs.evolve(self, function=MethodType(self.function, to), binds="")


@overload
def tool(
    function: Callable[..., Any],
    *,
    effect: Effect = ...,
    timeout: float = ...,
    name: str = ...,
    description: str = ...,
) -> Tool: ...
@overload
def tool(
    *, effect: Effect = ..., timeout: float = ..., name: str = ..., description: str = ...
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    *,
    effect: Effect = "unsafe",
    timeout: float = 60.0,
    name: str = "",
    description: str = "",
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Makes a tool of a function, a method, a partial or a callable object, sync or async.

    What the model is told follows from the types and the docstring (Google, NumPy or Sphinx form).
    ``*args`` is told as a list, ``**kwargs`` as an object. What a partial has bound by name is not
    told. A parameter ``idempotency_key: str`` is not told either, and is given the call's key.

    `effect` says what repeating a call may do: ``"read"`` (nothing), ``"idempotent"`` (nothing more
    with the same key), ``"reconcilable"`` (it can be found out whether it happened) or
    ``"unsafe"``. `timeout` is in seconds. `name` and `description` take the place of what the
    function says.

    Raises `BadInput` for a parameter without a type or with one that JSON cannot hold, and for an
    effect, a timeout or a name that cannot work.

    >>> @tool(effect="read", timeout=10)
    ... def weather(city: str) -> str:
    ...     "Tells the weather."
    ...     return f"Rain in {city}."
    >>> weather("Paris")
    'Rain in Paris.'
    >>> weather.spec.schema["required"]
    ['city']
    """
    _check(effect, timeout)
    if function is None:
        return functools.partial(
            tool, effect=effect, timeout=timeout, name=name, description=description
        )
    return _made(function, effect, float(timeout), name, description)


def _check(effect: Any, timeout: Any) -> None:
    if effect not in get_args(Effect):
        raise BadInput(f"effect={effect!r}: give one of {', '.join(get_args(Effect))}")
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not math.isfinite(timeout) or timeout <= 0:
        raise BadInput(f"timeout={timeout!r}: give a positive number of seconds")


def _made(given: Any, effect: Effect, timeout: float, name: str, description: str) -> Tool:
    function = _bare(given)
    source = _source(function)
    name = name or _name(function)
    if not _NAME.match(name):
        raise BadInput(
            f"a tool cannot be called {name!r}: give name= of 1 to 64 letters, digits, _ -"
        )
    signature, hints = _signature(function, name), hints_of(source, name)
    binds = _binding(given, source, signature, hints)
    spots = list(signature.parameters.values())[1 if binds else 0 :]
    text, about = described(getattr(source, "__doc__", None) or "")
    keys = [_key(name, spot, hints, about) for spot in _told(spots, function)]
    schema = Schema.of_keys(name, keys)
    spec = ToolSpec(name, description or text, schema.json)
    return Tool(
        name,
        spec.description,
        effect,
        timeout,
        function,
        spec,
        inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(source),
        _wants_key(name, spots, hints),
        signature.replace(parameters=spots),
        schema,
        hints.get("return", NOTHING),
        binds,
    )


def _bare(given: Any) -> Callable[..., Any]:
    """The function itself, where something known is wrapped around it."""
    if isinstance(given, Tool):
        return given.function
    function = given.__func__ if isinstance(given, staticmethod | classmethod) else given
    if isinstance(function, type) or not callable(function):
        raise BadInput(f"{given!r} cannot be a tool: decorate a function or a method")
    source = _source(function)
    if inspect.isgeneratorfunction(source) or inspect.isasyncgenfunction(source):
        raise BadInput(f"{_name(function)} yields its values: a tool returns them, in a list")
    return function


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


def _binding(
    given: Any, source: Any, signature: Signature, hints: Mapping[str, Any]
) -> Literal["", "self", "cls"]:
    """Whether this stands in the body of a class, so that the first parameter is its own."""
    if isinstance(given, classmethod):
        return "cls"
    first = next(iter(signature.parameters), None)
    home = getattr(source, "__qualname__", "").rpartition(".")[0]
    inside = bool(home) and not home.endswith("<locals>") and inspect.isfunction(given)
    if isinstance(given, Tool):
        return given._binds
    return "self" if inside and first and (first == "self" or first not in hints) else ""


def _told(spots: Sequence[Parameter], function: Any) -> list[Parameter]:
    """What the model may give: neither the key, nor what somebody has bound, maybe a secret."""
    bound = function.keywords if isinstance(function, functools.partial) else {}
    return [spot for spot in spots if spot.name != _KEY and spot.name not in bound]


def _wants_key(name: str, spots: Sequence[Parameter], hints: Mapping[str, Any]) -> bool:
    if _KEY not in [spot.name for spot in spots]:
        return False
    if hints.get(_KEY) is not str:
        raise BadInput(f"{name}: the parameter {_KEY} is given a text: write {_KEY}: str")
    return True


def _key(name: str, spot: Parameter, hints: Mapping[str, Any], about: Mapping[str, str]) -> Key:
    if spot.name not in hints:
        raise BadInput(
            f"{name}: the parameter {spot.name} has no type: write {spot.name}: str, for example"
        )
    type_ = _type(spot, hints[spot.name])
    try:
        Schema.of(type_)
    except BadInput as error:
        raise BadInput(f"{name}: the parameter {spot.name}: {error}") from None
    return Key(spot.name, type_, _default(spot), about.get(spot.name, ""))


def _type(spot: Parameter, hint: Any) -> Any:
    if spot.kind is Parameter.VAR_POSITIONAL:
        return list[hint]
    if spot.kind is Parameter.VAR_KEYWORD:
        unpacked = getattr(get_origin(hint), "_name", "") == "Unpack"
        return get_args(hint)[0] if unpacked else dict[str, hint]
    return hint | None if spot.default is None else hint


def _default(spot: Parameter) -> Any:
    if spot.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        return ...
    return spot.default


def _spread(value: Any, spot: Parameter) -> Any:
    return tuple(value) if spot.kind is Parameter.VAR_POSITIONAL else value


def _extra(spots: Mapping[str, Parameter], values: Mapping[str, Any]) -> list[str]:
    """The names that came in through ``**kwargs``."""
    names = [n for n, spot in spots.items() if spot.kind is Parameter.VAR_KEYWORD]
    return [extra for name in names for extra in values.get(name, ())]


def _plain(value: Any, path: str, inside: tuple[int, ...]) -> Any:
    """JSON data of a value of which only its own class is known."""
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, Enum)):
        return value
    where = f" at {path[1:]}" if path else ""
    if id(value) in inside:
        raise BadInput(f"it contains itself{where}")
    if len(inside) > _DEEP:
        raise BadInput(f"it is nested more than {_DEEP} deep")
    inner = (*inside, id(value))
    if isinstance(value, Mapping):
        return {_text(key, where): _plain(v, f"{path}.{key}", inner) for key, v in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return [_plain(item, f"{path}.{i}", inner) for i, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item, path, inner) for item in value), key=repr)
    return _dumped(value, where)


def _dumped(value: Any, where: str) -> Any:
    try:
        return Schema.of(type(value)).dump(value, exact=False)
    except BadInput as error:
        raise BadInput(f"{error}{where}") from None


def _text(key: Any, where: str) -> Any:
    if isinstance(key, str | int | float) and not isinstance(key, Enum):
        return key
    raise BadInput(f"the key {key!r}{where} is no text")
