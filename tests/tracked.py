"""Runs to make spans of: with retries, another model, tools, judges, people and children."""

from pathlib import Path
from typing import Any

from moments import Clock

from loopwright import Log, Loop, Run, Task
from loopwright.calls import Failure, Message, Reply, Text, ToolCall, Usage
from loopwright.models import Scripted, set_price
from loopwright.policies import Approve, Escalate, Retry
from loopwright.tools import tool
from loopwright.tools.delegate import delegate

ITEMS: tuple[Any, ...] = (
    "bad",
    "good",
    Reply((Text("cut of"),), "length", Usage(5, 7, 3, 2, 11, 4)),
    ToolCall("1", "look", {"at": "sea"}),
    [ToolCall("1", "look", {"at": "sea"}), ToolCall("2", "look", {"at": ""})],
    ToolCall("1", "send", {"to": "Ada"}),
    [ToolCall("1", "poet", {"topic": "rain"}), ToolCall("2", "poet", {"topic": "sun"})],
    Failure("overloaded", "busy", None, True, 529),
    Failure("timeout", "no answer", None, True),
)
"""What a model may say."""


@tool(effect="read")
def look(at: str) -> str:
    """Look."""
    if not at:
        raise OSError("nowhere")
    return f"waves at {at}"


@tool
def send(to: str) -> str:
    """Send."""
    return f"sent to {to}"


def is_good(answer: str) -> str | None:
    return None if answer.startswith("good") else f"Say good, not {answer[:9]}."


class Taste:
    """A judge that asks a model, which finds every second answer tasteless."""

    name = "Taste"
    max_tokens = 50
    model = "c:c"

    def ask(self, run: Run) -> list[Message]:
        return [Message("user", [Text("Is it tasteful?")])]

    def read(self, reply: Reply) -> str | None:
        return None if reply.text == "yes" else "It is tasteless."


POEM = Task("Write about {topic}.", name="poem")


def loop_of(log: Log, script: list[Any], start: float) -> tuple[Loop, Task]:
    """A loop whose model says this, and then "good"; and a task for it."""
    for name in "abc":
        set_price(f"{name}:{name}", 1, 2)
    poet = delegate(POEM, Loop(Scripted(lambda request: "Oh!", name="b")), usd="0.1", name="poet")
    judge = iter(["no", *["yes"] * 99])
    models = [
        Scripted([*script, *["good"] * 9], name="a"),
        Scripted(lambda request: "good", name="b"),
        Scripted(lambda request: next(judge), name="c"),
    ]
    policies = [Approve("send"), Retry(times=2, backoff=0.5), Escalate("b:b")]
    task = Task(
        "Say {n}.",
        name="say",
        system="Be good.",
        tools=[look, send, poet],
        checks=[is_good, Taste()],
    )
    loop = Loop("a:a", providers=models, policies=policies, ports=[Clock(start)], log=log)
    return loop, task


def carried(log: Log, script: list[Any], start: float = 1_750_000_000.0) -> Run:
    """A run of that script, until it ends or waits."""
    loop, task = loop_of(log, script, start)
    return loop.run_now(task, n=1)


def answered(log: Log, run: Run, script: list[Any]) -> Run:
    """The same, gone on with a minute after a person has approved what it asked."""
    for question in log.questions(run.run_id):
        log.answer(run.run_id, "approve", question=question.id, by="Ada")
    loop, task = loop_of(log, script, run.time + 60)
    return loop.resume_now(run.run_id, task)


def elsewhere(path: Path, run_id: str) -> None:
    """In another process: approve what the run asks, carry it on, and one more."""
    log = Log(path, "process")
    answered(log, log.run(run_id), [])
    log.close()
