"""What does not fit a type, in lines that a model can act on, made of pydantic's errors."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loopwright.forms import LABEL

_LINES = 12
_SHOWN = 60
_LONGEST = 400
_BARE = ("missing", "extra_forbidden", "value_error", "assertion_error", "json_invalid")

_Error = tuple[tuple[Any, ...], Mapping[str, Any]]


def told(errors: Iterable[Any]) -> list[str]:
    """A line for each problem, with its path."""
    lines = _lines([(error["loc"], error) for error in errors])
    if len(lines) <= _LINES:
        return lines
    return [*lines[: _LINES - 1], f"... and {len(lines) - _LINES + 1} more problems"]


def _lines(errors: Sequence[_Error]) -> list[str]:
    """Those of a union come together: an alternative's errors have its label in their paths."""
    lines: list[str] = []
    unions: dict[Any, dict[str, list[_Error]]] = {}
    for path, error in errors:
        at = next((n for n, part in enumerate(path) if str(part).startswith(LABEL)), None)
        if at is None:
            lines.append(_line(path, error))
        else:
            inner = path[:at] + path[at + 1 :]
            unions.setdefault(path[:at], {}).setdefault(path[at], []).append((inner, error))
    return lines + [line for path, found in unions.items() for line in _union(path, found)]


def _union(path: tuple[Any, ...], found: Mapping[str, Sequence[_Error]]) -> list[str]:
    """The lines of the one alternative that was meant, if the value is of one kind only."""
    errors = list(found.values())
    meant = [one for one in errors if all(len(at) > len(path) for at, _ in one)]
    likely = errors if len(errors) == 1 else meant
    if len(likely) == 1:
        return _lines(likely[0])
    options = [_option(label, *found[label][0], len(path)) for label in found]
    return [_at(path, f"Input should fit one of {', '.join(options)}")]


def _option(label: str, path: tuple[Any, ...], error: Mapping[str, Any], depth: int) -> str:
    inner = [part for part in path[depth:] if not str(part).startswith(LABEL)]
    return f"{label.removeprefix(LABEL)} ({_at(inner, _reason(error))})"


def _line(path: tuple[Any, ...], error: Mapping[str, Any]) -> str:
    value = "" if error["type"] in _BARE else f", not {_cut(repr(error['input']))}"
    return _at(path, _reason(error) + value)


def _reason(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "Unexpected key"
    raised = error["type"] in ("value_error", "assertion_error")
    return str(error["ctx"]["error"] if raised else error["msg"])


def _at(path: Sequence[Any], text: str) -> str:
    line = " ".join(text.split())[:_LONGEST]
    return f"{'.'.join(_cut(str(part)) for part in path)}: {line}" if path else line


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
