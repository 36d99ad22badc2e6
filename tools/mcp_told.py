"""What an MCP server tells of its tools and of their results, as our own values."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from loopwright.calls import Effect, ToolSpec
from loopwright.codec import digest
from loopwright.errors import BadInput, Mismatch, in_words
from loopwright.tools.mcp_bounds import bounded, errors

_LEGAL = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_LONGEST = 64
"""Characters of a tool's name: what all providers take."""

_PROBLEMS = 20
"""Problems of one call that the model is told: what follows from them shows at the next try."""

_LONG = 300
"""Characters of one problem: it may quote a whole argument."""


def names(given: Iterable[str], prefix: str) -> dict[str, str]:
    """A legal name for each of the server's: the same with the prefix, where that is legal.

    What had to be changed ends with a digest of what it was, wherever it might be taken for another
    one. A name does not depend on the order, and only in that case on the others.

    >>> names(["read", "read.all"], "files_")
    {'read': 'files_read', 'read.all': 'files_read_all'}
    """
    wished = {name: re.sub(r"[^a-zA-Z0-9_-]", "_", prefix + name) for name in given}
    taken = list(wished.values())
    return {name: _name(name, wish, prefix, taken) for name, wish in wished.items()}


def _name(name: str, wish: str, prefix: str, taken: Sequence[str]) -> str:
    if _LEGAL.match(wish) and (wish == prefix + name or taken.count(wish) == 1):
        return wish
    mark = digest(name)[:8]
    return f"{wish[: _LONGEST - 9]}_{mark}"


def wanted(tools: Mapping[str, Any], only: Sequence[str]) -> dict[str, Any]:
    """The tools that fit one of the patterns, by the server's names for them.

    One that can only be called as a task, which is polled for its result, is left out: the SDK does
    not do that. Raises `BadInput` for a pattern that fits nothing.
    """
    found = {
        name: tool
        for name, tool in tools.items()
        if not (tool.execution and tool.execution.task_support == "required")
    }
    for pattern in only:
        if found and not any(fnmatchcase(name, pattern) for name in found):
            raise BadInput(f"only={pattern!r} fits none of the tools: {', '.join(sorted(found))}")
    return {n: t for n, t in found.items() if any(fnmatchcase(n, p) for p in only)}


def fingerprint(tool: Any) -> str:
    """The digest of all that a server says of a tool: of its words too, since the model obeys."""
    said = tool.model_dump(mode="json", include=_COUNTS)
    return digest(said)


_COUNTS = {"name", "description", "input_schema", "output_schema", "annotations"}


def spec(name: str, tool: Any) -> ToolSpec:
    """The tool as a model is told of it. Raises `BadInput` for a schema that cannot be one."""
    schema = {key: value for key, value in tool.input_schema.items() if key != "$schema"}
    if schema.get("type") != "object":
        raise BadInput(_unusable(tool, "the schema of its arguments is no object"))
    schema.setdefault("properties", {})
    return ToolSpec(name, tool.description or tool.title or "", schema)


def effect(tool: Any, trust: bool) -> Effect:
    """What its hints say of repeating a call, if the server is trusted; hints can lie."""
    hints = tool.annotations
    if not trust or hints is None:
        return "unsafe"
    if hints.read_only_hint:
        return "unsafe" if hints.destructive_hint else "read"
    return "idempotent" if hints.idempotent_hint else "unsafe"


def labels(tool: Any, trust: bool) -> frozenset[str]:
    """Its results come from outside; and unless a trusted server denies it, what it is told may
    leave."""
    closed = tool.annotations is not None and tool.annotations.open_world_hint is False
    return frozenset({"outside"} if trust and closed else {"outside", "sends"})


def validator(tool: Any) -> Any:
    """What checks the arguments. Raises `BadInput` for a schema that is none."""
    try:
        return of_schema(tool.input_schema)
    except Exception as error:  # of jsonschema, of referencing, or of what is nested too deep
        raise BadInput(_unusable(tool, f"its schema is none: {error!s:.200}")) from None


def of_schema(schema: Any) -> Any:
    """What `errors` checks values with. It fetches nothing: a `$ref` stays within the schema."""
    from jsonschema.validators import (  # type: ignore[import-untyped]
        Draft202012Validator,
        validator_for,
    )
    from referencing import Registry

    kind = validator_for(schema, default=Draft202012Validator)  # which MCP names as the default
    kind.check_schema(schema)
    return bounded(kind)(schema, registry=Registry())


def _unusable(tool: Any, why: str) -> str:
    return f"the server's tool {tool.name!r} cannot be used: {why}; leave it out with only=[...]"


def checked(validator: Any, arguments: Any) -> dict[str, Any]:
    """A copy of the arguments. Raises `Mismatch`, with the path of each that does not fit."""
    try:
        copy = json.loads(json.dumps(arguments, allow_nan=False))
        found = sorted(errors(validator, copy), key=lambda error: list(map(str, error.path)))
    except Exception as error:  # a `$ref` to nothing, a pattern that is none, too deep a value
        raise Mismatch([f"cannot be checked: {type(error).__name__}: {error!s:.200}"]) from None
    if found or not isinstance(copy, dict):
        raise Mismatch(map(problem, found[:_PROBLEMS]))
    return copy


def problem(error: Any) -> str:
    """What jsonschema found, after the path where it did.

    >>> problem(__import__("jsonschema").ValidationError("'a' is not a number", path=["x", 1]))
    "x.1: 'a' is not a number"
    """
    path = ".".join(map(str, error.absolute_path))
    said = error.message if len(error.message) <= _LONG else f"{error.message[: _LONG - 1]}…"
    return f"{path}: {said}" if path else said


def fit(tool: Any, result: Any) -> None:
    """Raises `ValueError` for a result whose data is not what the tool declares."""
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]

    if result.is_error or tool.output_schema is None:
        return
    if "structured_content" not in result.model_fields_set:
        raise ValueError("no structured content, which it declares")
    try:
        wrong = best_match(errors(of_schema(tool.output_schema), result.structured_content))
    except Exception as error:  # as in `checked`, or a schema that is none
        raise ValueError(f"it cannot be checked: {in_words(error):.200}") from None
    if wrong is not None:
        raise ValueError(problem(wrong))


def text(result: Any) -> str:
    """A result as text: what is no text is noted, and what is only data is told as JSON."""
    shown = [_shown(block) for block in result.content]
    if not shown and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n\n".join(shown) or "done"


def _shown(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "image" | "audio":
            return f"[{block.type} {block.mime_type}, {_size(block.data)} bytes, not shown]"
        case "resource_link":
            return f"[link to {block.uri}: {block.description or block.name}]"
    held = block.resource
    if hasattr(held, "text"):
        return f"[{held.uri}]\n{held.text}"
    return f"[{held.uri}: {held.mime_type or 'data'}, {_size(held.blob)} bytes, not shown]"


def _size(base64: str) -> int:
    return len(base64.rstrip("=")) * 3 // 4
