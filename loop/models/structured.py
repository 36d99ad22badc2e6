"""JSON Schemas as providers enforce them: a weaker schema in their dialect, or none at all.

What a provider enforces is never more than what was asked for, so that it cannot stand in the way
of a good answer; whoever reads the answer checks the rest. What is lost on the way stands in the
description, for the model to read.
"""

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from attrs import frozen

from loopwright.calls import Request
from loopwright.models import strict

Json = dict[str, Any]
Name = Literal["anthropic", "openai", "chat"]


@frozen
class Dialect:
    """What a provider enforces: `limits` are the keywords that it keeps to, besides the structure.

    With `optional` properties may be left out of an object, with `recursive` a schema may refer to
    itself. Of one request's schemas all together, `optionals`, `unions` and `tools` are the most.
    """

    formats: frozenset[str]
    limits: frozenset[str] = frozenset()
    optional: bool = False
    recursive: bool = False
    optionals: int = 5_000
    unions: int = 5_000
    tools: int = 128


_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
)
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")

DIALECTS: Mapping[Name, Dialect] = {
    # Formats: `SupportedStringFormats` in the anthropic SDK. The rest: the page "Structured
    # outputs" of platform.claude.com/docs, section "JSON Schema limitations".
    "anthropic": Dialect(_FORMATS | {"uri"}, optional=True, optionals=24, unions=16, tools=20),
    # The guide "Structured Outputs" of developers.openai.com/api/docs, "Supported schemas".
    "openai": Dialect(_FORMATS, frozenset((*_NUMBERS, "minItems", "maxItems")), recursive=True),
    # Compatible servers differ: what all of them that enforce anything have in common.
    "chat": Dialect(frozenset()),
}

_STRUCTURE = frozenset(
    ("$defs", "$ref", "type", "properties", "required", "additionalProperties", "items", "anyOf")
) | {"prefixItems", "oneOf", "allOf", "enum", "const", "title", "description"}


class _Beyond(Exception):
    """The dialect has no weaker schema than this one."""


def enforced(schema: Mapping[str, Any], wire: Name) -> Json | None:
    """`schema` in the dialect of `wire`, or `None` if nothing in it can stand for `schema`.

    Every value that fits `schema` fits the result. The result is shared: it must not be changed.

    >>> least = {"type": "integer", "minimum": 1}
    >>> one = {"type": "object", "properties": {"n": least}, "required": ["n"]}
    >>> enforced({**one, "additionalProperties": False}, "anthropic")["properties"]
    {'n': {'type': 'integer', 'description': 'minimum: 1'}}
    >>> enforced(one, "anthropic")
    """
    return _enforced(strict.dumps(schema), wire)


def fitting(schemas: Iterable[Mapping[str, Any]], wire: Name) -> list[Json | None]:
    """Each of one request's `schemas` in the dialect of `wire`, as many as it takes at once."""
    dialect, found = DIALECTS[wire], list[Json | None]()
    optionals = unions = tools = 0
    for schema in schemas:
        weaker = enforced(schema, wire)
        more = (0, 0) if weaker is None else _counted(weaker)
        within = optionals + more[0] <= dialect.optionals and unions + more[1] <= dialect.unions
        if weaker is None or not within or tools == dialect.tools:
            found.append(None)
            continue
        optionals, unions, tools = optionals + more[0], unions + more[1], tools + 1
        found.append(weaker)
    return found


def of_request(request: Request, wire: Name | None) -> tuple[Json | None, list[Json | None]]:
    """The schemas that `wire` enforces: of the answer, and of each tool if that is wanted.

    Without a `wire` there are none, as for a model that cannot be held to a schema.
    """
    unbound: list[Json | None] = [None] * len(request.tools)
    if wire is None:
        return None, unbound
    answers = [request.output.schema] if request.output else []
    tools = [tool.schema for tool in request.tools] if request.options.strict_tools else []
    found = fitting([*answers, *tools], wire)
    return (found[0] if answers else None), found[len(answers) :] or unbound


@functools.lru_cache(maxsize=1024)
def _enforced(text: str, wire: Name) -> Json | None:
    try:
        return _Translation(json.loads(text), DIALECTS[wire]).whole()
    except (_Beyond, RecursionError):
        return None


class _Translation:
    """Of one schema into one dialect."""

    def __init__(self, schema: Json, dialect: Dialect) -> None:
        self._root = schema
        self._dialect = dialect
        self._defs: Json = schema.get("$defs", {})
        self._done: Json = {}
        self._uses: dict[str, set[str]] = {}
        self._inside = ""

    def whole(self) -> Json:
        """The schema: an object, as all providers want it, and what it refers to."""
        root = self._root
        if "$ref" in root:
            root = self._defs.get(_target(root["$ref"]), {})
        weaker = self.weaker({key: root[key] for key in root if key != "$defs"})
        if weaker.get("type") != "object":
            raise _Beyond
        if not self._dialect.recursive:
            self._ensure_finite()
        return {**weaker, "$defs": self._done} if self._done else weaker

    def _ensure_finite(self) -> None:
        try:
            TopologicalSorter(self._uses).prepare()
        except CycleError:
            raise _Beyond from None

    def weaker(self, schema: Any) -> Json:
        """Any schema inside."""
        if not isinstance(schema, dict):
            raise _Beyond
        if "$ref" in schema:
            return self._reference(schema)
        weaker = self._structure(schema)
        if said := _described(schema, weaker):
            weaker["description"] = said
        return weaker

    def _reference(self, schema: Json) -> Json:
        """Beside a reference nothing may stand; with words of its own it is unfolded."""
        name = _target(schema["$ref"])
        if name not in self._defs:
            raise _Beyond
        if "description" in schema:
            return self.weaker({**self._defs[name], "description": schema["description"]})
        self._uses.setdefault(self._inside, set()).add(name)
        if name not in self._uses:
            outer, self._inside, self._uses[name] = self._inside, name, set()
            self._done[name] = self.weaker(self._defs[name])
            self._inside = outer
        return {"$ref": schema["$ref"]}

    def _structure(self, schema: Json) -> Json:
        if "enum" in schema or "const" in schema:
            return _literal(schema["enum"] if "enum" in schema else [schema["const"]])
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                return self._combined(key, schema[key])
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._either([{**schema, "type": one} for one in kind])
        return self._of_type(str(kind), schema)

    def _combined(self, key: str, schemas: Any) -> Json:
        if key == "allOf" and len(schemas) > 1:
            raise _Beyond
        return self._either(schemas)

    def _either(self, schemas: Sequence[Any]) -> Json:
        variants: list[Json] = []
        for schema in schemas:
            weaker = self.weaker(schema)
            variants += [weaker] if weaker not in variants else []
        if not variants:
            raise _Beyond
        return {"anyOf": variants} if len(variants) > 1 else dict(variants[0])

    def _of_type(self, kind: str, schema: Json) -> Json:
        kept = {key: schema[key] for key in schema if key in self._dialect.limits}
        match kind:
            case "object":
                return self._object(schema)
            case "array":
                return {"type": kind, "items": self._items(schema), **kept}
            case "string":
                known = schema.get("format") in self._dialect.formats
                return {"type": kind, **({"format": schema["format"]} if known else {})}
            case "integer" | "number" | "boolean" | "null":
                return {"type": kind, **kept}
        raise _Beyond

    def _object(self, schema: Json) -> Json:
        """Only a closed one: providers know no other."""
        properties, required = schema.get("properties", {}), schema.get("required", [])
        closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
        whole = self._dialect.optional or set(required) == set(properties)
        if not closed or not whole or set(required) - set(properties):
            raise _Beyond
        return {
            "type": "object",
            "properties": {key: self.weaker(inner) for key, inner in properties.items()},
            "required": list(required),
            "additionalProperties": False,
        }

    def _items(self, schema: Json) -> Json:
        first, rest = schema.get("prefixItems", []), schema.get("items")
        if rest is None and schema.get("maxItems", len(first) + 1) > len(first):
            raise _Beyond
        return self._either([*first, *([] if rest in (None, False) else [rest])])


def _target(reference: Any) -> str:
    return str(reference).removeprefix("#/$defs/")


def _described(schema: Json, weaker: Json) -> str:
    """What the schema says in words, and what is lost of it."""
    lost = [
        f"{key}: {strict.dumps(value)}"
        for key, value in schema.items()
        if key not in _STRUCTURE and key not in weaker
    ]
    words = schema.get("description") or weaker.get("description")
    return "\n".join(filter(None, [words, ", ".join(lost)]))


def _literal(values: Sequence[Any]) -> Json:
    """Values of one type are an enumeration; others are several."""
    kinds: dict[str, list[Any]] = {}
    for value in values:
        kinds.setdefault(_kind(value), []).append(value)
    nothing: Json = {"type": "null"}
    one = [{"type": k, "enum": held} if k != "null" else nothing for k, held in kinds.items()]
    if not one:
        raise _Beyond
    return {"anyOf": one} if len(one) > 1 else one[0]


def _kind(value: Any) -> str:
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    raise _Beyond


_KINDS: Sequence[tuple[type, str]] = (
    (bool, "boolean"),  # before int, which it is, too
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (type(None), "null"),
)


def _counted(schema: Json) -> tuple[int, int]:
    """How many properties may be left out, and how many unions there are."""
    found = list(_schemas(schema))
    left_out = (len(one.get("properties", {})) - len(one.get("required", [])) for one in found)
    return sum(left_out), sum("anyOf" in one for one in found)


def _schemas(schema: Json) -> Iterator[Json]:
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [schema["items"]] if "items" in schema else []
    for one in (*inner, *schema.get("anyOf", ())):
        yield from _schemas(one)
