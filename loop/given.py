"""What loops and tasks are given, checked when it is given."""

from collections.abc import Iterable
from functools import partial
from inspect import iscoroutinefunction, isroutine
from typing import Any

from loopwright.errors import BadInput


def listed(name: str, given: Any, wrong: str = "", *attributes: str) -> tuple[Any, ...]:
    """What stands in the list `given` as `name`.

    Raises `BadInput` for what is no list, and for an item without one of `attributes`: `wrong` says
    what it is not, and what to give instead.
    """
    alone = bool(attributes) and _has(given, attributes)
    if alone or isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise BadInput(f"{name}={given!r:.80}: give a list of {name}")
    items = tuple(given)
    for item in items:
        if type(item) in (list, tuple):
            raise BadInput(f"{name}: {item!r:.80} is a list in the list: put a * before it")
        if attributes and not _has(item, attributes):
            raise BadInput(f"{name}: {item!r:.80} {wrong}")
    return items


def _has(given: Any, attributes: Iterable[str]) -> bool:
    """Of a class only its objects do."""
    return not isinstance(given, type) and all(hasattr(given, one) for one in attributes)


def function(name: str, given: Any, wanted: str) -> Any:
    """A function, or none. Raises `BadInput` for what cannot be called."""
    if given is not None and not callable(given):
        raise BadInput(f"{name}={given!r:.80}: give {wanted}")
    return given


def asynchronous(given: Any) -> bool:
    """Whether a call gives a coroutine: by the function itself, not by what it wraps."""
    while isinstance(given, partial):
        given = given.func
    return iscoroutinefunction(given if isroutine(given) else type(given).__call__)


def whole(name: str, given: Any) -> int:
    """A whole number of at least 1. Raises `BadInput`."""
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise BadInput(f"{name}={given!r}: give a whole number of at least 1")
    return given
