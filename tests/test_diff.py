"""Diff: a run does not differ from itself, and a fork not from what it shares."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from forking import sending, the_loop
from hypothesis import given, settings
from hypothesis import strategies as st
from test_laws import (
    _of_model,
    beginning,
    carried,
    driven,
    house,
    inline,
    person,
    rules,
    setting,
    tasks,
    world,
    worlds,
)

from loopwright import Budget, Log, Loop, Outcome, Task, unlimited
from loopwright.calls import Answer, Failure, Request, ToolCall, ToolResult
from loopwright.diff import Difference, diff
from loopwright.events import Failed, Resumed, Returned
from loopwright.facts import facts
from loopwright.fold import blank, folded
from loopwright.models import Scripted
from loopwright.policies import Approve, Judge, Retry
from loopwright.policy import Policy
from loopwright.port import Inline
from loopwright.run import Run
from loopwright.steps import end
from loopwright.tools import tool


@settings(max_examples=60)
@given(worlds, rules, tasks)
def test_a_run_does_not_differ_from_itself_nor_from_its_like(
    script: list[Any], rules: list[Policy], task: Task
) -> None:
    run = inline(script, rules, task)
    assert diff(run, run) == Difference(run, run)
    port = Inline({"world": world(script)}, person)
    port.clock += 1_000_000.125
    policies = house(rules)
    later = driven(carried(blank("s", task), beginning(policies, port), policies, port))
    assert not diff(run, later)


@settings(max_examples=60)
@given(worlds, worlds, rules, rules, tasks)
def test_the_sides_are_all_that_an_order_changes(
    one: list[Any], other: list[Any], some: list[Policy], more: list[Policy], task: Task
) -> None:
    a, b = inline(one, some, task), inline(other, more, task)
    found, back = diff(a, b), diff(b, a)
    assert (found.a, found.b) == (back.b, back.a)
    assert (bool(found), found.step) == (bool(back), back.step)
    assert [(y, x) for x, y in found.followed] == list(back.followed)
    assert _sides(found.what) == {(x, y) for y, x in _sides(back.what)}
    assert bool(found) == (facts(a.events) != facts(b.events))
    assert all(x != y for x, y in _sides(found.what))


def _sides(what: str) -> set[tuple[str, str]]:
    lines = what.split("\n")
    return {
        (x[5:], y[5:])
        for x, y in pairwise(lines)
        if x.startswith("  a: ") and y.startswith("  b: ")
    }


@settings(max_examples=40)
@given(worlds, rules, tasks, st.data())
def test_an_interruption_between_two_steps_is_no_difference(
    script: list[Any], rules: list[Policy], task: Task, data: st.DataObject
) -> None:
    rules = [*rules, Budget(usd=unlimited, tokens=unlimited, seconds=unlimited)]
    whole = inline(script, rules, task)
    ends = [end(whole.events, step) for step in range(whole.step + 1)]
    cut = data.draw(st.sampled_from(ends), label="events before the crash")
    before = folded(whole.events[:cut], task)
    answered = sum(
        isinstance(e, Returned | Failed) and _of_model(e.call, whole) for e in before.events
    )
    policies = house(rules)
    port = Inline({"world": world(script, answered)}, person)
    port.clock = before.time
    again = Resumed(port.now(), setting(policies))
    resumed = driven(carried(before, again, policies, port))
    if whole.outcome is not Outcome.exhausted:
        assert not diff(whole, resumed)


def test_calls_made_together_may_come_back_in_any_order() -> None:
    import asyncio

    @tool(effect="read")
    async def wait(turns: int) -> str:
        """Wait."""
        for _ in range(turns):
            await asyncio.sleep(0)
        return f"waited {turns}"

    task = Task("Wait.", tools=[wait])

    def run(*order: int) -> Run:
        calls = [ToolCall(str(i), "wait", {"turns": turns}) for i, turns in enumerate((1, 9))]
        return Loop(Scripted([calls, "Done."])).run_now(task)

    a = run()
    came = [e for e in a.events if isinstance(e, Returned) and isinstance(e.result, ToolResult)]
    first, second = (list(a.events).index(event) for event in came)
    events = list(a.events)
    events[first], events[second] = evolve(events[second]), evolve(events[first])
    assert not diff(a, folded(events))


# --------------------------------------------------------------------------------------- scenarios


def test_a_fork_differs_from_its_base_at_its_step_or_later(tmp_path: Path) -> None:
    loop, task = the_loop(tmp_path), sending(tmp_path)
    base = loop.run_now(task)
    for at in range(base.step + 1):
        assert not diff(base, loop.fork_now(base.run_id, task, at=at))
    other = Scripted(["I would rather not."], name="other")
    loop.providers["other"] = other
    for at in (0, 2):
        other._script.append("No.")  # type: ignore[union-attr]
        found = diff(base, loop.fork_now(base.run_id, task, at=at, model="other:other"))
        assert found.step == at + 1
        assert "model:\n  a: killed:killed\n  b: other:other" in found.what
        assert all(line is None or line.step >= at for pair in found.followed for line in pair)


def test_it_names_what_is_carried_out_differently(log: Log) -> None:
    task = Task("Greet {name}.", system="Be kind.", name="greeting")
    one = Loop(Scripted(["Hello."] * 2), policies=[Retry(times=1)], log=log)
    other = Loop(Scripted(["Hello."] * 2), policies=[Retry(times=2)], log=log)
    same = one.run_now(task, name="Ada")
    found = diff(same, other.run_now(task, name="Ada"))
    assert (found.step, found.followed) == (0, ())
    assert "policies:\n  a: Retry(times=1" in found.what
    assert "\n  b: Retry(times=2" in found.what
    found = diff(same, one.run_now(task, name="Bob"))
    assert found.what.startswith("prompt:\n  a: Greet Ada.\n  b: Greet Bob.\ninputs:\n")


def test_it_says_what_happened_otherwise_and_what_followed() -> None:
    task = Task("6 * 7?", checks=[lambda answer: None if answer == "42" else "Not that."])
    a = Loop(Scripted(["41", "42"]), policies=[Retry(times=1)]).run_now(task)
    b = Loop(Scripted(["41", "42"])).run_now(task)
    found = diff(a, b)
    assert found.step == 1
    assert "step 1, the decision:\n  a: Retry: TryAgain (attempt 1 of 2" in found.what
    assert "  b: Otherwise: Stop (the answer has problems: Not that.)" in found.what
    assert [(bool(x), bool(y)) for x, y in found.followed] == [(True, True), (True, False)]
    told = str(found).splitlines()
    assert told[:2] == [f"a: run {a.run_id}", f"b: run {b.run_id}"]
    assert any(line.startswith("  a   2  scripted:scripted: 42") for line in told)
    assert str(diff(a, a)) == "There is no difference."
    one = Loop(Scripted([Failure("refused", "no", status=400)])).run_now(task)
    assert "what came of scripted:scripted" in diff(one, b).what
    half = diff(folded(a.events[:4], task), a)
    assert "step 1, what happened:\n  a: nothing more\n  b: the decision: Retry" in half.what


def test_another_answer_of_a_person_is_named(log: Log) -> None:
    @tool(effect="unsafe")
    def send() -> str:
        """Send."""
        return "sent"

    task = Task("Send it.", tools=[send])

    def said(request: Request) -> Any:
        last = request.messages[-1].blocks[-1]
        return "Done." if isinstance(last, ToolResult) else ToolCall("1", "send")

    loop = Loop(Scripted(said), policies=[Approve("send")], log=log)
    base = loop.run_now(task)
    runs = [
        loop.fork_now(base.run_id, task, at=2, answer=Answer(text, "Ada"))
        for text in ("approve", "deny", "deny")
    ]
    found = diff(*runs[:2])
    assert found.step == 2
    assert found.what.endswith(":\n  a: approve by Ada\n  b: deny by Ada")
    assert not diff(*runs[1:])


ATTACK = "\x1b[2J\x1b]8;;http://evil\x07x\u202e\x00 <script>alert(1)</script>"


def test_nothing_that_was_said_steers_the_terminal() -> None:
    task = Task("Say {it}.")
    a, b = (
        Loop(Scripted([f"{ATTACK} {side}", "no"])).run_now(task, it=f"{side} {ATTACK}")
        for side in "ab"
    )
    text = str(diff(a, b))
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\\x1b[2J" in text


@pytest.mark.parametrize("place", [0, 5_000, 99_999])
def test_long_texts_are_shown_where_they_part(place: int) -> None:
    a, b = (
        Loop(Scripted([f"{'x' * place}{side}{'y' * (99_999 - place)}"])).run_now(Task("Write."))
        for side in "ab"
    )
    what = diff(a, b).what
    assert len(what) < 500
    left, right = what.split("\n")[-2:]
    assert left != right


def test_what_was_read_back_is_no_difference(log: Log) -> None:
    run = Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet."))
    assert not diff(run, log.run(run.run_id))


def test_the_words_say_what_differs_also_where_little_does() -> None:
    def send() -> str:
        return "sent"

    def judged(rubric: str, effect: Any, said: str) -> Run:
        models = [Scripted(["accept"], name="judge"), Scripted([ToolCall("1", "send"), said])]
        sends, judge = tool(send, effect=effect), Judge(rubric, model="judge:judge")
        task = Task("Send it.", tools=[sends], checks=[judge])
        return Loop(models[1], providers=models).run_now(task)

    one = judged("It is kind.", "unsafe", "Done.")
    assert '"effect":"read"' in _last(diff(one, judged("It is kind.", "read", "Done.")).what)
    assert "cheer" in _last(diff(one, judged("It does cheer up.", "unsafe", "Done.")).what)
    assert _last(diff(one, judged("It is kind.", "unsafe", "Done.\n")).what) == '  b: "Done.\\n"'


def _last(text: str) -> str:
    return text.splitlines()[-1]
