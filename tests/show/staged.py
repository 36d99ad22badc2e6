"""Runs that are made by hand: very long ones, and those in which everybody writes what is evil."""

from typing import Any

from attrs import evolve

from loopwright import Outcome
from loopwright.calls import (
    Answer,
    Cost,
    Failure,
    ModelCall,
    Question,
    Quote,
    Reply,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from loopwright.decisions import TryAgain
from loopwright.events import (
    Decided,
    Ended,
    Event,
    Failed,
    Inspected,
    Intended,
    Problem,
    Returned,
    Setting,
    Spent,
    Started,
)

ATTACKS = [
    "<script>window.owned = 1</script>",
    "</script><script>window.owned = 1</script>",
    "</noscript></details><img src=x onerror='window.owned = 1'>",
    "\"><svg onload=window.owned=1><a href='javascript:window.owned=1'>x</a>",
    "' autofocus onfocus='window.owned=1' x='",
    "</title></style></template><iframe srcdoc='<script>parent.owned=1</script>'></iframe>",
    "]]><!--<script>window.owned = 1</script>--!><![CDATA[",
    "${window.owned = 1} {{window.owned = 1}} <%= window.owned = 1 %> $title $$ %s {0}",
    "javascript:window.owned=1//",
    "data:text/html,<script>window.owned=1</script>",
    "<base href=https://evil.example/><link rel=stylesheet href=https://evil.example/a.css>",
    "<style>@import 'https://evil.example/a.css'; * { display: none }</style>",
    "<form id=find action=https://evil.example/><input name=textContent id=index></form>",
    "\u202eevol\u2066 \u200b\ufeff\x00\x07\x1b]0;owned\x07\u2028\u2029\ud800",
    "__proto__",
    "W" * 100_000,
    "toString\n" * 200,
]
"""Each of them sets `owned`, loads something, hides something or breaks the layout, if it can."""


def started(run: str, **fields: Any) -> Started:
    """The beginning of a run."""
    return Started(1_790_000_000.0, run, "look", "Look.", Setting("a:small"), **fields)


def long_run(steps: int) -> list[Event]:
    """A run that looks and looks again: a model call and a tool call in turn."""
    events: list[Event] = [started("long")]
    for i in range(1, steps, 2):
        now = 1_790_000_000.0 + i
        model, tool = f"m{i}", ToolCall(f"t{i}", "look", {"at": f"place {i}"}, effect="read")
        usage, cost = Usage(1000, output_visible=50), Cost(1_250_000, 1_250_000, "table")
        reply = Reply((Text(f"Once more, number {i}. " * 8), tool), "tool_calls", usage)
        events += [
            Intended(now, ModelCall(model, "a:small", 1, quote=Quote(0, 2_000_000, 1500))),
            Returned(now + 0.5, model, reply, 0.5, cost),
            Intended(now + 0.5, tool),
            Returned(now + 1, tool.id, ToolResult(tool.id, f"waves at {i} " * 20), 0.5),
        ]
    return events


def evil_run(evil: str) -> list[Event]:
    """A run in which everybody writes `evil` wherever they can."""
    at = iter(range(1_790_000_000, 1_790_001_000))
    begun = started(evil, label=evil, version=evil, system=evil, inputs={evil: evil})
    limits = {"usd": "0.50", "seconds": 60.0}
    setting = Setting(evil, evil, {evil: evil}, evil, (evil,), limits, (evil,), evil)
    name = f"t{evil}".encode(errors="ignore").decode()  # the column of ids holds no surrogates
    tool = ToolCall(name, evil, {evil: [evil, {"x": evil}]})
    retried = TryAgain(evil, evil)
    found = Problem(evil, evil)
    model = ModelCall("m1", evil, 1)
    return [
        evolve(begun, time=next(at), task=evil, prompt=evil, setting=setting),
        Intended(next(at), model),
        Failed(next(at), "m1", Failure("overloaded", evil, 1.0, True, 529, evil), 1.0, evil),
        Decided(next(at), "failure", evil, retried, "m1", {evil: evil}, (evil,), Spent()),
        Intended(next(at), evolve(model, id="m2")),
        Returned(next(at), "m2", Reply((Text(evil), tool), "tool_calls", Usage(1), evil)),
        Intended(next(at), tool),
        Returned(next(at), tool.id, ToolResult(tool.id, evil)),
        Intended(next(at), Question("q1", evil, "answer", (evil,))),
        Returned(next(at), "q1", Answer(evil, evil, evil)),
        Inspected(next(at), (found,), (found,), 2),
        Decided(next(at), "answer", evil, retried, "", {}, (), Spent()),
        Intended(next(at), evolve(model, id="m3")),
        Returned(next(at), "m3", Reply((Text(f"{evil} {evil}"),), "stop", Usage(1))),
        Inspected(next(at), (found,), (), 1),
        Ended(next(at), Outcome.rejected, evil, evil, False, evil),
    ]
