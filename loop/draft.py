"""Drafts: the small steps in which a run changes while an event is folded.

A draft is a run that nobody else has seen yet, so these change it in place.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import evolve

from loopwright.calls import (
    Call,
    Compaction,
    Failure,
    Message,
    ModelCall,
    Reply,
    Text,
    ToolCall,
    ToolResult,
)
from loopwright.codec import digest
from loopwright.fixed import fixed
from loopwright.run import Run, weight

Held = TypeVar("Held")


def put(draft: Run, **changes: Any) -> Run:
    """The draft, with these fields changed."""
    draft.__dict__.update(changes)
    return draft


def said(run: Run, message: Message) -> Run:
    """With one more message in the conversation."""
    return put(run, messages=run.messages.push(message), size=run.size + weight(message))


def model_call(run: Run) -> ModelCall:
    """The call that asks the run's model to answer the conversation as it is."""
    return ModelCall(
        id=f"m{run.seq}",
        model=run.model,
        upto=len(run.messages),
        max_tokens=run.max_tokens,
        options=run.options,
        compaction=run.compaction,
    )


def compacted(run: Run, compaction: Compaction | None) -> Run:
    """With less of the conversation before the model's eyes; it has to be counted anew."""
    if compaction == run.compaction:
        return run
    return put(run, compaction=compaction, counted=(0, 0))


def told(run: Run, feedback: str) -> Run:
    """With this feedback as the user's next message, if there is any."""
    return said(run, Message("user", (Text(feedback),))) if feedback else run


def aside(run: Run, call: str, said: Reply | Failure) -> Run:
    """What came of a call beside the answer's. One that was made before the answer was in its way:
    then the answer is due."""
    put(run, verdicts=having(run.verdicts, call, said))
    return run if run.answer else put(run, pending=(*run.pending, model_call(run)))


def moved(run: Run, model: str) -> Run:
    """With all that follows on another model: also the calls for the answer that are due."""
    due = tuple(_on(call, model) for call in run.pending)
    held = {waiting: _on(call, model) for waiting, call in run.held.items()}
    models = (*run.models, model)
    put(run, model=model, models=models, pending=due, held=fixed(held))
    return put(run, attempt=1, failures=0, counted=(0, 0))


def _on(call: Call, model: str) -> Call:
    if isinstance(call, ModelCall) and call.purpose == "answer":
        return evolve(call, model=model)
    return call


CHANGED = "changed "
"""How the digests of questions about a change of the task begin."""


def change(run: Run) -> str:
    """What a person's word about a change holds for: this task, and none that comes after it."""
    now = run.setting
    task = digest(now.version, dict(now.tools), now.output)
    return f"{CHANGED}{', '.join(run.changed)} ({task})"


NONE: Mapping[str, Any] = fixed({})


def having(mapping: Mapping[str, Held], key: str, held: Held) -> Mapping[str, Held]:
    """The mapping with one more key, to look at only."""
    return fixed({**mapping, key: held})


def without(mapping: Mapping[str, Held], key: str) -> Mapping[str, Held]:
    """The mapping without one key, to look at only."""
    rest = dict(mapping)
    rest.pop(key, None)
    return fixed(rest)


def resulted(run: Run, call: str, result: ToolResult) -> Run:
    """A tool's result; when all of the batch are there, the model is due, in the calls' order."""
    named = ToolResult(call, result.content, result.error, result.outside)
    results = having(run.results, call, named)
    if len(results) < len(run.batch):
        return put(run, results=results)
    run = said(run, Message("user", [results[name] for name in run.batch]))
    return put(run, results=NONE, batch=(), pending=(*run.pending, model_call(run)))


def undoing(call: ToolCall, result: str) -> ToolCall:
    """The call that takes back what `call` did."""
    arguments = {**call.arguments, "result": result}
    return ToolCall(f"{call.id}{_UNDO}", call.name, arguments, purpose="undo")


def undone(call: ToolCall) -> str:
    """The id of the call that this one takes back."""
    return call.id.removesuffix(_UNDO)


_UNDO = "-undo"
