"""No call has more input tokens than its bound said before it was made."""

from collections.abc import Sequence

import pytest
from attrs import evolve
from models import cassettes
from models.cassettes import FOLDER
from models.recordings import CASES, UNCOUNTED, buckets, counted

from loopwright.calls import (
    Media,
    Message,
    ModelCall,
    Opaque,
    Reply,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from loopwright.events import Event, Intended, Resumed, Returned, Setting, Started
from loopwright.fold import fold, folded
from loopwright.models import strict
from loopwright.run import CONTEXT, Run, weight
from loopwright.task import Task
from loopwright.tools import Tool, tool


@tool
def _any() -> None:
    """Whatever a recording's tool did."""


def _tool(spec: ToolSpec) -> Tool:
    return evolve(_any, name=spec.name, spec=spec)


def _begun(task: Task, prompt: str) -> Run:
    start = Started(0.0, "r", "t", prompt, Setting("openai:m"), system=task.system)
    return folded([start], task)


def _due(run: Run) -> ModelCall:
    call = run.pending[0]
    assert isinstance(call, ModelCall)
    return call


def _answered(run: Run, reply: Reply) -> Run:
    call = run.pending[0]
    return fold(run, Intended(0.0, call), Returned(0.0, call.id, reply))


# ------------------------------------------------------------------- the recorded conversations


RECORDED = {name: case for name, case in CASES.items() if not case.failed}

_recorded = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"the recorded conversations are not at {FOLDER}"
)


def _first(name: str) -> tuple[cassettes.Recorded, Run]:
    recorded = cassettes.read(FOLDER / name)[0]
    asked = cassettes.request(recorded.request, cassettes.turns(recorded.request))
    task = Task("x", system=asked.system, tools=[_tool(spec) for spec in asked.tools])
    return recorded, _begun(task, asked.messages[0].text)


@_recorded
@pytest.mark.parametrize("name", RECORDED)
def test_the_first_request_of_a_recording(name):
    recorded, run = _first(name)
    wire = RECORDED[name].wire
    used = Usage(**buckets(wire, counted(wire, recorded)))
    assert used.input <= run.bound(_due(run))


@_recorded
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, id=name.split("/")[-1])
        for name, case in RECORDED.items()
        if case.goes_on and name not in UNCOUNTED
    ],
)
def test_the_requests_after_it(name):
    (recorded, run), wire = _first(name), RECORDED[name].wire
    before = Usage(**buckets(wire, counted(wire, recorded)))
    for recorded in cassettes.read(FOLDER / name)[1:]:
        run = _gone_on(run, before, cassettes.turns(recorded.request))
        before = Usage(**buckets(wire, counted(wire, recorded)))
        assert before.input <= run.bound(_due(run))


def _gone_on(run: Run, used: Usage, turns: Sequence[Message]) -> Run:
    said, heard = turns[-2:]
    run = _answered(run, Reply(said.blocks, "tool_calls", used))
    for result in heard.blocks:
        assert isinstance(result, ToolResult)
        call = next(due for due in run.pending if due.id == result.call)
        run = fold(run, Intended(0.0, call), Returned(0.0, call.id, result))
    return run


# --------------------------------------------------------------------------- what is not counted


def test_the_documented_count_of_a_request_with_one_tool():
    """platform.claude.com/docs, page "Token counting": claude-opus-5, 403 tokens."""
    where = {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}
    schema = {"type": "object", "properties": {"location": where}, "required": ["location"]}
    spec = ToolSpec("get_weather", "Get the current weather in a given location", schema)
    run = _begun(Task("x", tools=[_tool(spec)]), "What's the weather like in San Francisco?")
    assert run.bound(_due(run)) >= 403


@pytest.mark.parametrize(
    ("block", "wire"),
    [
        (ToolCall("c", "t", {"a": '"' * 1000}), {"a": '"' * 1000}),
        (Opaque("openai", {"type": "x", "y": '"' * 1000}), {"type": "x", "y": '"' * 1000}),
    ],
)
def test_a_block_weighs_at_least_its_bytes_on_the_wire(block, wire):
    assert weight(Message("assistant", [block])) >= len(strict.dumps(wire).encode())


@pytest.mark.parametrize("seen", [{"url": "https://example.org/a.pdf"}, {"data": "A" * 300_000}])
def test_documents_are_at_most_as_much_as_goes_into_the_model(seen):
    media = (Media("application/pdf", **seen),) * 3

    def bound(model: str) -> int:
        run = folded([Started(0.0, "r", "t", "Hello", Setting(model), media=media)], Task("x"))
        return run.bound(_due(run))

    assert bound("anthropic:claude-haiku-4-5") == 200_000
    assert bound("nobody:knows") > 3 * CONTEXT


def test_a_resumed_run_counts_what_its_changed_task_adds():
    small, large = Task("x"), Task("x", system="word " * 1000)
    begun = _begun(small, "Hello")
    reply = Reply([Text("Hi")], "paused", Usage(20, output_visible=2))
    paused = _answered(begun, reply)
    resumed = _resumed(paused, large)
    assert resumed.bound(_due(resumed)) >= large.weight


def _resumed(run: Run, task: Task) -> Run:
    changed: Event = Resumed(1.0, Setting("openai:m", version=task.version))
    return fold(run.but(task=task), changed)
