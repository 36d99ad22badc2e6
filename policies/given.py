"""What policies are given, checked when they are made, and the number that stands for chance."""

import difflib
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, get_args

from loopwright.calls import FailureKind
from loopwright.errors import BadInput


def at_least(least: float, *, whole: bool = False) -> Callable[[Any, Any, Any], None]:
    """A validator for attrs: a number of at least `least`, if asked for a `whole` one."""
    kinds = (int,) if whole else (int, float)
    wanted = f"a {'whole ' if whole else ''}number of at least {least:g}"

    def check(policy: Any, attribute: Any, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
            said = f"{type(policy).__name__}({attribute.alias}={value!r})"
            raise BadInput(f"{said}: give {wanted}")

    return check


def text(policy: Any, attribute: Any, value: Any) -> None:
    """A validator for attrs: a text."""
    if not isinstance(value, str):
        raise BadInput(f"{type(policy).__name__}({attribute.alias}={value!r}): give a text")


def function(policy: Any, attribute: Any, value: Any) -> None:
    """A validator for attrs: a function, or none."""
    if value is not None and not callable(value):
        raise BadInput(f"{type(policy).__name__}({attribute.alias}={value!r}): give a function")


def listed(policy: str, what: str, given: Any) -> tuple[Any, ...]:
    """What stands in a list. Raises `BadInput` for a single text, of which the letters would stand
    there, and for what is no list."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise BadInput(f"{policy}: {given!r}: give a list of {what}, [{given!r}]")
    return tuple(given)


def named(policy: str, given: Any) -> tuple[str, ...]:
    """The models, each once. Raises `BadInput` for what is not of the form "provider:model".

    >>> named("Fallback", ["openai:gpt-6-luna"])
    ('openai:gpt-6-luna',)
    """
    models: tuple[str, ...] = listed(policy, "models", given)
    for model in models:
        name, _, rest = model.partition(":") if isinstance(model, str) else ("", "", "")
        if not name or not rest:
            raise BadInput(f"{policy}({model!r}): name a model as 'provider:model'")
        if models.count(model) > 1:
            raise BadInput(f"{policy}: {model!r} stands there twice: name each model once")
    return models


def kinds(policy: str, given: Any) -> tuple[str, ...]:
    """Kinds of failures. Raises `BadInput` for a name that is none."""
    names: tuple[str, ...] = listed(policy, "kinds of failures", given)
    for name in names:
        if name not in KINDS:
            near = difflib.get_close_matches(str(name), KINDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"say some of {', '.join(KINDS)}"
            raise BadInput(f"{policy}: {name!r} is no kind of failure: {hint}")
    return names


KINDS: tuple[str, ...] = get_args(FailureKind)
"""All kinds of failures."""


def fraction(seed: str) -> float:
    """A number from 0 to 1 that looks drawn, and is the same for the same seed.

    >>> fraction("a run") == fraction("a run") != fraction("another run")
    True
    """
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) / 2**32
