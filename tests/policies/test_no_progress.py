"""`NoProgress`: told once, then stopped."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright import BadInput, Loop, Outcome, Run, Task
from loopwright.calls import Message, ModelCall, ToolCall, ToolResult
from loopwright.decisions import Refuse, Stop
from loopwright.events import Setting
from loopwright.models import Scripted
from loopwright.policies.no_progress import NoProgress
from loopwright.tools import tool
from loopwright.trail import Trail

TOLD = "You are going round in circles: look gave the same"


def after(done: list[tuple[str, str]], proposed: str = "A") -> Run:
    messages = []
    for i, (where, found) in enumerate(done):
        messages.append(Message("assistant", [ToolCall(str(i), "look", {"at": where})]))
        messages.append(Message("user", [ToolResult(str(i), found)]))
    call = ToolCall("new", "look", {"at": proposed})
    run = Run("r", Setting("m:m"))
    return run.but(moment="call", call=call, messages=Trail(messages))


def same(*places: str) -> list[tuple[str, str]]:
    return [(place, f"nothing in {place}") for place in places]


REFUSED = [("A", f"{TOLD} 3 times in a row.")]

TABLE: dict[str, tuple[Run, type | None]] = {
    "nothing yet": (after([]), None),
    "twice": (after(same("A", "A")), None),
    "three times": (after(same("A", "A", "A")), Refuse),
    "three times, now another": (after(same("A", "A", "A"), "B"), None),
    "another in between": (after(same("A", "A", "B", "A")), None),
    "another result": (after([*same("A", "A"), ("A", "found")]), None),
    "in turns": (after(same("A", "B", "A", "B", "A", "B")), Refuse),
    "in turns, twice": (after(same("A", "B", "A", "B")), None),
    "in turns, and not the one whose turn it is": (after(same(*"ABABAB"), "B"), None),
    "told, and again": (after([*same("A", "A", "A"), *REFUSED]), Stop),
    "told, and another": (after([*same("A", "A", "A"), *REFUSED], "B"), None),
    "told, another, and again": (after([*same("A", "A", "A"), *REFUSED, *same("B")]), None),
    "in turns, told, and on": (after([*same(*"BABABA"), ("B", f"{TOLD} 3 times")]), Stop),
    "a model call": (after(same("A", "A", "A")).but(call=ModelCall("m", "m:m")), None),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case: str) -> None:
    run, expected = TABLE[case]
    decision = NoProgress().decide(run)
    assert type(decision) is (expected or type(None))


@given(st.lists(st.sampled_from("AB"), max_size=9), st.sampled_from("AB"), st.integers(2, 4))
def test_it_speaks_where_the_next_call_closes_one_more_circle(
    past: list[str], proposed: str, times: int
) -> None:
    line = "".join(past)
    circles = (proposed * times, f"{proposed}{'B' if proposed == 'A' else 'A'}" * times)
    expected = line.endswith(circles)
    decision = NoProgress(times=times).decide(after(same(*past), proposed))
    assert (decision is not None) == expected


@given(st.lists(st.text("AB", min_size=1, max_size=1), max_size=9))
def test_results_that_all_differ_are_progress(past: list[str]) -> None:
    done = [(place, str(i)) for i, place in enumerate(past)]
    assert NoProgress(times=2).decide(after(done)) is None


def test_a_run_that_goes_round_in_circles_is_told_and_stopped() -> None:
    looked = []

    @tool(effect="read")
    def look(at: str) -> str:
        """Look."""
        looked.append(at)
        return "nothing"

    model = Scripted(lambda request: ToolCall("1", "look", {"at": "AB"[len(model.requests) % 2]}))
    run = Loop(model, policies=[NoProgress()]).run_now(Task("Find it.", tools=[look]))
    assert run.outcome is Outcome.stopped
    assert looked == list("BABABA")
    assert [d.decision.why for d in run.decisions] == [
        f"{TOLD} 3 times in a row. Do something else, or say what keeps you from it.",
        "no progress: look gave the same 3 times in a row, and is called again",
    ]


def test_a_model_that_listens_goes_on() -> None:
    @tool(effect="read")
    def look(at: str) -> str:
        """Look."""
        return "nothing"

    def model(request: Any) -> Any:
        blocks = request.messages[-1].blocks
        told = isinstance(blocks[0], ToolResult) and blocks[0].content.startswith(TOLD)
        return "I give up." if told else ToolCall("1", "look", {"at": "A"})

    run = Loop(Scripted(model), policies=[NoProgress()]).run_now(Task("x", tools=[look]))
    assert (run.output, run.spent.tool_calls) == ("I give up.", 3)


def test_what_polls_on_purpose_is_exempted() -> None:
    @tool(effect="read")
    def job_status() -> str:
        """Look."""
        return "running"

    exempted = NoProgress().when(lambda run: getattr(run.call, "name", "") != "job_status")
    model = Scripted([*(ToolCall("1", "job_status") for _ in range(5)), "It still runs."])
    run = Loop(model, policies=[exempted]).run_now(Task("Wait.", tools=[job_status]))
    assert (run.output, run.spent.tool_calls) == ("It still runs.", 5)


@pytest.mark.parametrize("times", [1, 2.5, "three"])
def test_what_cannot_be(times: Any) -> None:
    with pytest.raises(BadInput, match="whole number of at least 2"):
        NoProgress(times=times)
