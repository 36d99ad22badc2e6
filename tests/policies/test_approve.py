"""`Approve`: no call gets through on an approval that was not for it."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from loopwright import BadInput, Log, Loop, Outcome, Run, Task
from loopwright.calls import Answer, ModelCall, Question, Reply, Request, ToolCall
from loopwright.decisions import Amend, Ask, Decision, Refuse
from loopwright.events import Decided, Event, Intended, Returned, Setting
from loopwright.fold import blank
from loopwright.models import Scripted
from loopwright.models.rehearsal import CallTool, Rehearsal
from loopwright.policies.approve import Approve
from loopwright.tools import tool
from loopwright.trail import Trail


@tool
def send(to: str) -> str:
    """Send it."""
    return f"sent to {to}"


TASK = Task("Send it.", tools=[send])
ADA = ToolCall("m1-0", "send", {"to": "Ada"})
POLICY = Approve("send*", expires=100)


def seen(events: list[Event], call: ToolCall = ADA, task: Task = TASK, now: float = 0.0) -> Run:
    run = blank("r", task).but(setting=Setting("m:m", tools=task.digests))
    return run.but(moment="call", call=call, events=Trail(events), time=now)


def asked(call: ToolCall = ADA, task: Task = TASK, at: float = 0.0) -> Intended:
    decision = POLICY.decide(seen([], call, task))
    assert isinstance(decision, Ask)
    return Intended(
        at,
        Question("q1", "May it?", choices=decision.choices, about=call.id, digest=decision.digest),
    )


def said(text: str = "approve", at: float = 1.0) -> Returned:
    return Returned(at, "q1", Answer(text, "Bob", "Not now." if text == "deny" else ""))


OTHER = Task("Send it.", tools=[tool(effect="idempotent", name="send")(send.function)])
BOB = evolve(ADA, arguments={"to": "Bob"})

TABLE: dict[str, tuple[Run, Decision | str | None]] = {
    "another tool": (seen([], ToolCall("m1-0", "look")), None),
    "after a failure": (seen([]).but(moment="failure"), None),
    "not asked yet": (seen([]), "send needs approval"),
    "approved": (seen([asked(), said()], now=1.0), None),
    "denied": (seen([asked(), said("deny")]), Refuse("Bob denied this call: Not now.")),
    "other arguments": (seen([asked(), said()], BOB), "other arguments"),
    "another version": (seen([asked(), said()], task=OTHER), "another version of the tool"),
    "just in time": (seen([asked(), said(at=99.0)], now=100.0), None),
    "expired": (seen([asked(), said()], now=101.0), "asked for 101 s ago, and holds for 100 s"),
    "used": (seen([asked(), said(), Intended(2.0, ADA)]), "the last one was used"),
    "of another call": (seen([asked(evolve(ADA, id="m9-0")), said()]), "send needs approval"),
    "used, and approved anew": (
        seen([asked(), said(), Intended(2.0, ADA), asked(at=3.0), said()]),
        None,
    ),
    "asked for by the reply before": (
        seen([asked(), said(), Returned(2.0, "m1", Reply())]),
        "send needs approval",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_table(case: str) -> None:
    run, expected = TABLE[case]
    decision = POLICY.decide(run)
    if isinstance(expected, str):
        assert isinstance(decision, Ask)
        assert expected in decision.why
    else:
        assert decision == expected


arguments = st.dictionaries(st.sampled_from("ab"), st.integers(0, 2) | st.text(max_size=2))


@given(arguments, arguments, st.floats(0, 200), st.integers(0, 2))
def test_only_the_same_unexpired_and_unused_call_gets_through(
    approved: Any, proposed: Any, age: float, uses: int
) -> None:
    before, now = evolve(ADA, arguments=approved), evolve(ADA, arguments=proposed)
    events = [asked(before), said(), *([Intended(1.0, before)] * uses)]
    through = POLICY.decide(seen(events, now, now=age)) is None
    assert through == (approved == proposed and age <= 100 and uses == 0)


def test_an_edit_needs_a_new_approval() -> None:
    def redirect(run: Run) -> Decision | None:
        if isinstance(run.call, ToolCall) and run.call.arguments["to"] == "Ada" and run.answers:
            return Amend(evolve(run.call, arguments={"to": "Eve"}))
        return None

    questions: list[str] = []

    def ask(question: Question, run: Run) -> str:
        questions.append(question.text)
        return "approve" if "Ada" in question.text else "deny"

    model = Scripted([ToolCall("1", "send", {"to": "Ada"}), "ok"])
    run = Loop(model, policies=[Approve("send"), redirect], ask=ask).run_now(TASK)
    assert ["Ada" in questions[0], "Eve" in questions[1]] == [True, True]
    assert run.spent.tool_calls == 0


def test_a_repetition_asks_again() -> None:
    tries = iter([OSError("flaky"), None])

    @tool(effect="idempotent", name="send", retries=1)
    def flaky(to: str) -> str:
        """Fail once."""
        if error := next(tries):
            raise error
        return "sent"

    asked_for: list[str] = []

    def ask(question: Question, run: Run) -> str:
        asked_for.append(question.id)
        return "approve"

    model = Scripted([ToolCall("1", "send", {"to": "Ada"}), "ok"])
    run = Loop(model, policies=[Approve("send")], ask=ask).run_now(Task("x", tools=[flaky]))
    assert (run.output, len(asked_for), run.spent.tool_calls) == ("ok", 2, 2)


def test_one_that_comes_too_late_is_a_row_and_asks_again(log: Log) -> None:
    model = Scripted([ToolCall("1", "send", {"to": "Ada"}), "ok"])
    hasty = Loop(model, policies=[Approve("send", expires=1e-6)], log=log)
    run = hasty.run_now(TASK)
    log.answer(run.run_id, "approve")
    run = hasty.resume_now(run.run_id, TASK)
    assert (run.outcome, run.spent.tool_calls) == (Outcome.waiting, 0)
    rows = list(log.db.query("select decision, why from decisions where policy = 'Approve'"))
    assert [row["decision"] for row in rows] == ["Ask", "Ask"]
    assert "needs a new approval: the last one was asked for" in rows[1]["why"]


def test_approved_over_the_wire_and_in_the_log(log: Log) -> None:
    with Rehearsal([CallTool("send", {"to": "Ada"}), "It is sent."]) as rehearsal:
        providers = [rehearsal.anthropic()]
        loop = Loop(
            "anthropic:claude-haiku-4-5", providers=providers, policies=[Approve("send")], log=log
        )
        run = loop.run_now(TASK)
        assert (run.outcome, len(rehearsal.requests)) == (Outcome.waiting, 1)
        loop.answer(run.run_id, "deny", by="Bob", note="Not Ada.")
        run = loop.resume_now(run.run_id, TASK)
    assert run.output == "It is sent."
    assert "Bob denied this call: Not Ada." in str(rehearsal.requests[1].body["messages"])
    assert [d.decision for d in run.decisions if isinstance(d, Decided)][1] == Refuse(
        "Bob denied this call: Not Ada."
    )


@pytest.mark.parametrize("expires", [0, -1, "soon", True])
def test_what_cannot_be(expires: Any) -> None:
    with pytest.raises(BadInput, match="give a positive number of seconds"):
        Approve("send", expires=expires)


def test_a_model_call_is_no_tool_call() -> None:
    assert POLICY.decide(seen([]).but(call=ModelCall("m1", "m:m"))) is None


def test_what_is_denied_while_another_question_is_asked_is_not_done(tmp_path: Path) -> None:
    """Each question is looked up when its turn has come: a colleague may have been quicker."""
    done: list[str] = []

    @tool(effect="unsafe")
    async def order(article: str) -> str:
        """Order it."""
        done.append(article)
        return f"ordered {article}"

    def model(request: Request) -> Any:
        wishes = [ToolCall(str(i), "order", {"article": a}) for i, a in enumerate(["tea", "gold"])]
        return wishes if len(request.messages) == 1 else "Done."

    task, policies = Task("Order.", tools=[order]), [Approve("order")]
    log = Log(tmp_path / "runs.db")
    run = Loop(Scripted(model), policies=policies, log=log).run_now(task)
    _, gold = log.questions(run.run_id)
    asked: list[str] = []

    def ask(question: Question, run: Run) -> str:
        asked.append(question.id)
        log.answer(run.run_id, "deny", by="a colleague", question=gold.id)
        return "approve"

    Loop(Scripted(model), policies=policies, log=log, ask=ask).resume_now(run.run_id, task)
    log.close()
    assert gold.id not in asked
    assert done == ["tea"]
