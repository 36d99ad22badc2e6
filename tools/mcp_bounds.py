"""jsonschema with bounds: a schema of a stranger's can be made to take for ever.

What cannot be checked in bounded time is left to the server, which checks its arguments itself.
"""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import attrs

from loopwright.errors import BadInput

REFERENCES = 10_000
"""References of a schema that are followed in one check, some 0.2 s: each may lead to two more."""

_LEFT: ContextVar[Iterator[int]] = ContextVar("_LEFT")

_Keyword = Callable[[Any, Any, Any, Any], Any]


def bounded(kind: Any) -> Any:
    """The class of validators `kind`, as one for `errors`."""
    from jsonschema.validators import extend  # type: ignore[import-untyped]

    known = kind.VALIDATORS
    keywords: dict[str, _Keyword] = {"pattern": _pattern, "patternProperties": _patterns}
    keywords["additionalProperties"] = _alone(known["additionalProperties"])
    for name in ("$ref", "$dynamicRef", "$recursiveRef"):
        if name in known:
            keywords[name] = _counted(known[name])
    # These follow references and try patterns by a way of their own.
    keywords |= dict.fromkeys(("unevaluatedItems", "unevaluatedProperties"), _unchecked)
    made = extend(kind, keywords)
    made.evolve = attrs.evolve  # jsonschema's own leaves this class wherever it finds a `$schema`
    return made


def errors(validator: Any, value: Any) -> list[Any]:
    """All that does not fit. Raises `BadInput` if that takes too many references."""
    token = _LEFT.set(iter(range(REFERENCES)))
    try:
        return list(validator.iter_errors(value))
    finally:
        _LEFT.reset(token)


def _counted(follow: _Keyword) -> _Keyword:
    def followed(validator: Any, ref: Any, instance: Any, schema: Any) -> Any:
        if next(_LEFT.get(), None) is None:
            raise BadInput(f"its schema leads to more than {REFERENCES} references")
        return follow(validator, ref, instance, schema)

    return followed


def _unchecked(validator: Any, value: Any, instance: Any, schema: Any) -> None:
    """Left to the server."""


def _alone(additional: _Keyword) -> _Keyword:
    """`additionalProperties`, unless patterns stand beside it, which jsonschema would try."""

    def alone(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Any:
        beside = "patternProperties" in schema
        return None if beside else additional(validator, value, instance, schema)

    return alone


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError  # type: ignore[import-untyped]

    if isinstance(instance, str) and _matches(pattern, instance) is False:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _patterns(
    validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[Any]:
    named = instance.items() if isinstance(instance, dict) else ()
    for pattern, inner in patterns.items():
        for name, value in named:
            if _matches(pattern, name):
                yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _matches(pattern: str, text: str) -> bool | None:
    """Whether it is found in the text; None for a pattern that cannot be tried in linear time."""
    engine = _engine(pattern)
    return None if engine is None else bool(engine.isinstance_python(text))


@lru_cache(maxsize=256)
def _engine(pattern: str) -> Any:
    """Rust's engine, which never backtracks; None for what it lacks, such as a look ahead."""
    from pydantic_core import SchemaError, SchemaValidator, core_schema

    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        return None
