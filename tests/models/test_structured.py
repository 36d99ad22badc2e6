"""What a provider enforces is weaker than what was asked for, and something that it knows."""

import copy
import datetime
import json
import uuid
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, MinLen
from anthropic import transform_schema
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from models import lawful
from openai.lib._pydantic import _ensure_strict_json_schema

from loopwright import Loop, Task
from loopwright.calls import Options, Output, Text, ToolSpec
from loopwright.models.rehearsal import Rehearsal
from loopwright.models.structured import enforced, fitting
from loopwright.schema import Schema

WIRES = ["anthropic", "openai", "chat"]

# ------------------------------------------------------------------------------- any JSON Schema

LIMITS = {"integer": ["minimum", "multipleOf"], "string": ["minLength", "maxLength"]}


def of(kind: str, **more: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas of one type, with limits that a value may or may not keep to."""
    numbers = {key: st.integers(1, 3) for key in LIMITS.get(kind, ())}
    said = {"description": st.just("words"), "default": st.just(None), **numbers}
    return st.fixed_dictionaries({"type": st.just(kind), **more}, optional=said)


@st.composite
def objects(draw: Any, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(st.sampled_from(["a", "b", "type"]), inner, max_size=3))
    required = draw(st.one_of(st.just(list(properties)), st.just(list(properties)[:1])))
    closed = draw(st.sampled_from([False, False, False, True]))
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": closed,
    }


scalars = st.one_of(
    of("integer"),
    of("string", format=st.sampled_from(["date", "odd"])),
    of("string", pattern=st.just("^x")),
    of("boolean"),
    of("null"),
    st.just({"enum": ["x", 1, None, True]}),
    st.just({"const": "x", "type": "string"}),
    st.just({"type": ["string", "null"]}),
    st.just({"$ref": "#/$defs/D"}),
    st.just({"$ref": "#/$defs/D", "description": "words", "default": {}}),
)
inside = st.recursive(
    scalars,
    lambda inner: st.one_of(
        objects(inner),
        of("array", items=inner, minItems=st.integers(0, 2), uniqueItems=st.just(True)),
        of("array", prefixItems=st.lists(inner, min_size=1, max_size=2), maxItems=st.just(2)),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=6,
)
D = {"type": "object", "properties": {"d": {"type": "integer", "maximum": 2}}, "required": ["d"]}
schemas = objects(inside).map(lambda s: {**s, "$defs": {"D": {**D, "additionalProperties": False}}})


@st.composite
def values(draw: Any, schema: dict[str, Any]) -> Any:
    """Values that are likely to fit; `Draft202012Validator` says which do."""
    if "$ref" in schema:
        return {"d": draw(st.integers(0, 3))}
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return draw(values(draw(st.sampled_from(schema[key]))))
    if "enum" in schema or "const" in schema:
        return draw(st.sampled_from(schema.get("enum", ["x"])))
    match schema["type"]:
        case "object":
            known = schema["properties"].items()
            left_out = draw(st.booleans())
            names = schema["required"] if left_out else schema["properties"]
            return {key: draw(values(inner)) for key, inner in known if key in names}
        case "array":
            first = [draw(values(inner)) for inner in schema.get("prefixItems", ())]
            return first + draw(
                st.lists(values(schema["items"]), max_size=2) if "items" in schema else st.just([])
            )
        case "integer":
            return draw(st.integers(0, 6))
        case "boolean":
            return draw(st.booleans())
        case "null":
            return None
    return draw(st.sampled_from(["x", "xx", "2026-01-01"]))


def fits(schema: Any, value: Any) -> bool:
    return bool(Draft202012Validator(schema).is_valid(value))


@pytest.mark.parametrize("wire", WIRES)
@given(st.data())
def test_every_value_that_fits_the_original_fits_what_is_enforced(wire, data):
    schema = data.draw(schemas)
    weaker, value = enforced(schema, wire), data.draw(values(schema))
    if weaker is not None and fits(schema, value):
        assert fits(weaker, value)


@pytest.mark.parametrize("wire", WIRES)
@given(schemas)
def test_what_is_enforced_is_known_to_the_provider(wire, schema):
    before = copy.deepcopy(schema)
    weaker = enforced(schema, wire)
    assert schema == before
    if weaker is not None:
        assert lawful.schema(wire, weaker) == []
        assert enforced(weaker, wire) == weaker


@given(schemas)
def test_the_sdks_find_nothing_to_change(schema):
    for_openai, for_anthropic = enforced(schema, "openai"), enforced(schema, "anthropic")
    if for_openai is not None:
        own = copy.deepcopy(for_openai)
        assert _ensure_strict_json_schema(own, path=(), root=own) == for_openai
    if for_anthropic is not None:
        assert _untyped(transform_schema(for_anthropic)) == _untyped(for_anthropic)


def _untyped(value: Any) -> Any:
    """That SDK leaves out the type of an enumeration, if it is not one of its first versions."""
    if isinstance(value, list):
        return [_untyped(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {k: v for k, v in value.items() if k != "type" or "enum" not in value}
    return {key: held if key == "enum" else _untyped(held) for key, held in kept.items()}


# --------------------------------------------------------------------------------- output types


@frozen
class Place:
    name: str
    floor: Annotated[int, Ge(1)]
    seen: datetime.date | None


@frozen
class Trip:
    places: Annotated[list[Place], MinLen(1)]
    kind: Literal["short", "long"]
    pair: tuple[int, str]
    id: uuid.UUID
    next: "Place | int"
    tags: frozenset[str]


@frozen
class Defaulted:
    name: str
    note: str | None = None


@given(st.from_type(Trip))
def test_the_answers_of_a_type_fit(trip):
    schema = Schema.of(Trip)
    for wire in WIRES:
        weaker = enforced(schema.json, wire)
        assert lawful.schema(wire, weaker) == []
        assert fits(weaker, schema.dump(trip))


def test_what_is_lost_stands_in_the_description():
    weaker = enforced(Schema.of(Place).json, "anthropic")
    assert weaker["properties"]["floor"] == {"type": "integer", "description": "minimum: 1"}
    kept = enforced(Schema.of(Place).json, "openai")
    assert kept["properties"]["floor"] == {"type": "integer", "minimum": 1}


@pytest.mark.parametrize("type_", [int, list[Place], dict[str, int], Place | Trip, str | None])
def test_what_no_provider_enforces_is_not_tried(type_):
    assert [enforced(Schema.of(type_).json, wire) for wire in WIRES] == [None, None, None]


def test_what_may_be_left_out_is_not_made_required():
    """A null in place of what was left out would be another answer."""
    schema = Schema.of(Defaulted).json
    assert enforced(schema, "anthropic")["required"] == ["name"]
    assert enforced(schema, "openai") is None


def test_an_endless_type_is_enforced_where_that_is_known():
    tree = {
        "type": "object",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/T"}}},
    }
    tree |= {"required": ["kids"], "additionalProperties": False}
    schema = {"$ref": "#/$defs/T", "$defs": {"T": tree}}
    assert enforced(schema, "anthropic") is None
    assert enforced(schema, "openai")["properties"] == tree["properties"]


def test_a_request_enforces_as_much_as_the_provider_takes_at_once():
    """Twenty-four properties that may be left out, sixteen unions and twenty tools."""

    def schema(**properties: Any) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "additionalProperties": False}

    many = schema(**{f"p{n}": {"type": "string"} for n in range(20)})
    few = schema(p={"type": "string"})
    assert [bool(s) for s in fitting([many, many, few], "anthropic")] == [True, False, True]
    union = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    unions = schema(**{f"p{n}": union for n in range(17)})
    assert fitting([unions], "anthropic") == [None]
    empty = schema()
    assert sum(map(bool, fitting([empty] * 30, "anthropic"))) == 20


# -------------------------------------------------------------------------------- on both wires

CURRENT = {"anthropic": "claude-opus-5-5", "openai": "gpt-6-sol"}


def body(server, wire, request):
    said = server()
    said.reply(wire, request)
    return json.loads(said.seen[0].content)


@pytest.mark.parametrize(("model", "known"), [(None, True), ("nobody-knows", False)])
def test_a_model_that_can_is_given_the_schema_and_any_other_the_words(
    wire, request_of, server, model, known
):
    output = Output(Schema.of(Place).json, "Give JSON.")
    request = request_of(system="Be brief.", output=output)
    sent = body(server, wire, evolve(request, model=model or CURRENT[wire]))
    form = sent.get("output_config") or sent.get("text")
    said = sent.get("system") or sent.get("instructions")
    if known:
        assert form["format"]["schema"] == enforced(Schema.of(Place).json, wire)
        assert said == "Be brief."
    else:
        assert (form, said) == (None, "Be brief.\n\nGive JSON.")


def test_strict_tools_are_strict_where_they_can_be(wire, request_of, server):
    closed = Schema.of(Place).json
    tools = (ToolSpec("closed", "", closed), ToolSpec("open", "", {"type": "object"}))
    request = request_of(tools=tools, options=Options(strict_tools=True))
    sent = body(server, wire, evolve(request, model=CURRENT[wire]))["tools"]
    parameters = "input_schema" if wire == "anthropic" else "parameters"
    assert [bool(tool.get("strict")) for tool in sent] == [True, False]
    assert sent[0][parameters] == enforced(closed, wire)
    assert sent[1][parameters] == {"type": "object"}


def test_an_answer_in_the_form_is_an_answer_like_any_other(wire):
    """The provider's word is not taken for it: the answer is checked against the type."""
    answers = [
        '{"name": "Ulm", "floor": 0, "seen": null}',
        '{"name": "Ulm", "floor": 2, "seen": null}',
    ]
    for answer, outcome in zip(answers, ("rejected", "accepted"), strict=True):
        with Rehearsal([answer]) as rehearsal:
            loop = Loop(f"{wire}:{CURRENT[wire]}", providers=[getattr(rehearsal, wire)()])
            run = loop.run_now(Task("Where?", output=Place))
        assert run.outcome.name == outcome
        assert run.messages[-1].blocks[0] == Text(answer)
