"""What once went wrong, or would: each fault is reproduced, and must come to a clear end."""

import asyncio
import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from loopwright import BadInput, Budget, Log, Loop, Outcome, Run, RunTaken, Task
from loopwright.calls import Failure, Message, ModelCall, Question, Reply, Request, Text, ToolCall
from loopwright.decisions import Accept, Amend, Ask, Decision, Refuse, Stop, Switch, TryAgain
from loopwright.events import Failed
from loopwright.models import Scripted, set_price
from loopwright.policies import Approve, Judge, Retry
from loopwright.tools import tool

ACCEPT = '{"reason": "", "verdict": "accept"}'


@tool(effect="read")
def look(at: str) -> str:
    """Look."""
    return f"seen {at}"


@tool
def send(to: str) -> str:
    """Send."""
    return f"sent to {to}"


def test_tokens_are_reserved_and_presumed_like_money() -> None:
    cut = Failure("cut_stream", "gone", 0.0, True, None)
    model = Scripted(lambda request: cut)
    run = Loop(model, policies=[Retry(times=50, backoff=0), Budget(tokens=1000)]).run_now(
        Task("x", max_tokens=100)
    )
    assert run.outcome is Outcome.exhausted
    assert 900 < run.spent.tokens <= 1000
    assert len(model.requests) == 4


def test_judges_at_the_same_time_reserve_tokens() -> None:
    judge = Scripted(lambda request: ACCEPT, name="judge")
    judges = [Judge("Good.", "judge:judge", name=f"judge {n}") for n in range(8)]
    loop = Loop(Scripted(["ok"]), providers=[judge], policies=[Budget(tokens=6000)])
    run = loop.run_now(Task("x", checks=judges))
    assert run.outcome is Outcome.exhausted
    assert not judge.requests


def test_of_two_resumes_in_one_process_the_winner_is_left_alone(log: Log) -> None:
    asked = [0]

    async def model(request: Request) -> str:
        asked[0] += 1
        await asyncio.sleep(0.1)
        return "ok"

    task, loop = Task("x"), Loop(Scripted(model), log=log)

    async def main() -> list[Any]:
        first = asyncio.ensure_future(loop.run(task))
        await asyncio.sleep(0.03)
        (run_id,) = log.ids()
        return await asyncio.gather(first, loop.resume(run_id, task), return_exceptions=True)

    lost, won = asyncio.run(main())
    assert isinstance(lost, RunTaken)
    assert won.outcome is Outcome.accepted
    assert log.run(won.run_id, task) == won


def waiting(log: Log) -> str:
    """A run that waits for the approval of a call."""
    model = Scripted([ToolCall("1", "send", {"to": "Ada"})])
    return Loop(model, policies=[Approve("send")], log=log).run_now(Task("x", tools=[send])).run_id


@tool(name="send")
def send_more(to: str, copies: int) -> str:
    """Send several."""
    return f"sent {copies} to {to}"


@pytest.mark.parametrize(
    ("task", "what"),
    [
        (Task("x"), "the tool send"),
        (Task("x", tools=[send_more]), "the tool send"),
        (Task("x", tools=[send], output=int), "the output type"),
        (Task("quite another one", tools=[send]), "the prompt"),
    ],
)
def test_a_task_that_has_changed_asks_before_it_goes_on(log: Log, task: Task, what: str) -> None:
    run_id = waiting(log)
    log.answer(run_id, "approve")
    loop = Loop(Scripted(["1", "1"]), log=log)
    run = loop.resume_now(run_id, task)
    assert run.outcome is Outcome.waiting
    assert run.spent.tool_calls == 0
    assert (
        run.why == f"Since this run was last carried on, this has changed: {what}. Go on with it?"
    )
    log.answer(run_id, "go on")
    assert loop.resume_now(run_id, task).outcome is Outcome.accepted


def test_each_change_of_a_task_is_asked_about(log: Log) -> None:
    """A word about one change of the prompt is none about the next."""
    run_id = waiting(log)
    model = Scripted(lambda request: ToolCall("1", "send", {"to": "Ada"}))
    loop = Loop(model, policies=[Approve("send")], log=log)
    for prompt in ("second", "third"):
        log.answer(run_id, "approve")
        run = loop.resume_now(run_id, Task(prompt, tools=[send]))
        assert "this has changed: the prompt." in run.why
        log.answer(run_id, "go on")
        run = loop.resume_now(run_id, Task(prompt, tools=[send]))
        assert run.why.startswith("May send be called")


def test_a_stop_holds_though_more_has_changed_since(log: Log) -> None:
    run_id = waiting(log)
    log.answer(run_id, "approve")
    loop = Loop(Scripted([]), log=log)
    loop.resume_now(run_id, Task("x"))
    loop.resume_now(run_id, Task("another", tools=[send_more]))
    log.answer(run_id, "stop")
    run = loop.resume_now(run_id, Task("another", tools=[send_more]))
    assert run.outcome is Outcome.stopped


def test_all_that_has_changed_meanwhile_is_asked_about(log: Log) -> None:
    """What was said of a run is not said of its forks."""
    run_id, more = waiting(log), tool(lambda: "", name="more", description="More.")
    loop = Loop(Scripted(["1"]), policies=[Approve("send")], log=log)
    last = Task("x", tools=[send_more, more])
    loop.resume_now(run_id, Task("x", tools=[send_more]))
    loop.resume_now(run_id, last)
    log.answer(run_id, "approve")
    assert "has changed: the tool send, the tool more." in loop.resume_now(run_id, last).why
    log.answer(run_id, "stop")
    assert loop.resume_now(run_id, last).outcome is Outcome.stopped
    assert [key for key in log.run(run_id).answers if key.startswith("changed ")]
    fork = loop.fork_now(run_id, last, at=3)
    assert not [key for key in fork.answers if key.startswith("changed ")]


def test_a_changed_task_can_be_stopped(log: Log) -> None:
    run_id = waiting(log)
    log.answer(run_id, "approve")
    loop = Loop(Scripted([]), log=log)
    loop.resume_now(run_id, Task("x"))
    log.answer(run_id, "stop")
    run = loop.resume_now(run_id, Task("x"))
    assert (run.outcome, run.why) == (Outcome.stopped, "the task has changed: the tool send")


def test_new_checks_look_at_an_answer_that_was_being_judged(log: Log) -> None:
    def stop(run: Run) -> Decision | None:
        if isinstance(run.call, ModelCall) and run.call.purpose != "answer":
            raise KeyboardInterrupt
        return None

    loop = Loop(Scripted(["no"]), policies=[stop], log=log)
    with pytest.raises(KeyboardInterrupt):
        loop.run_now(Task("x", checks=[Judge("Good.")]))
    task = Task("x", checks=[lambda answer: "always bad", Judge("Good.")])
    run = Loop(Scripted([ACCEPT]), log=log).resume_now(log.ids()[0], task)
    assert run.outcome is Outcome.rejected
    assert not run.verified


def test_a_run_is_resumed_only_where_its_model_is(log: Log) -> None:
    run_id = waiting(log)
    log.answer(run_id, "approve")
    before = len(log.events(run_id))
    with pytest.raises(BadInput, match="scripted"):
        Loop(Scripted([], name="other"), log=log).resume_now(run_id, Task("x", tools=[send]))
    assert len(log.events(run_id)) == before


def test_a_run_that_waits_while_another_tool_ends_is_waiting_in_the_view(log: Log) -> None:
    @tool(effect="read")
    async def slow() -> str:
        """Take a while."""
        await asyncio.sleep(0.05)
        return "done"

    calls = [ToolCall("1", "slow"), ToolCall("1", "send", {"to": "Ada"})]
    task = Task("x", tools=[slow, send])
    run = Loop(Scripted([calls]), policies=[Approve("send")], log=log).run_now(task)
    assert run.outcome is Outcome.waiting
    assert list(log.db.query("select outcome from runs")) == [{"outcome": "waiting"}]


def test_what_may_have_been_billed_is_shown(log: Log) -> None:
    set_price("paid:paid", input=1000, output=1000)
    replies = [
        Failure("cut_stream", "gone", 0.0, True, None),
        Failure("rate_limited", "slow", 0.0, True, 429),
        Reply((Text("ok"),), "stop", None),
    ]
    model = Scripted(replies, name="paid")
    run = Loop(model, policies=[Retry(), Budget(usd=10)], log=log).run_now(
        Task("x", max_tokens=100)
    )
    assert run.spent.presumed > 0
    (row,) = log.db.query("select sum(possibly_billed_usd) as usd from model_calls")
    assert round(row["usd"] * 10**9) == run.spent.presumed
    (row,) = log.db.query("select sum(possibly_billed_usd) as usd from spend")
    assert round(row["usd"] * 10**9) == run.spent.presumed


def test_a_secret_is_masked_in_each_text_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_DB_PASSWORD", 'p"ss\\word-1234567')
    begin, end = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
    split = {"x": {"a": begin}, "b": end, "c": f"{begin}\nabc\n{end}"}
    calls = [ToolCall("1", "look", split), ToolCall("1", "look", {"at": 'p"ss\\word-1234567'})]
    log = Log(tmp_path / "runs.db")
    run = Loop(Scripted([calls, "ok"]), log=log).run_now(Task("x", tools=[look]))
    assert run.output == "ok"
    asked = run.messages[1].blocks[0]
    assert isinstance(asked, ToolCall)
    # What begins a key and does not end is masked, too: its end may have been cut off.
    assert asked.arguments == {"x": {"a": "[redacted]"}, "b": end, "c": "[redacted]"}
    assert json.dumps('p"ss\\word-1234567')[1:-1].encode() not in Path(log.path).read_bytes()
    assert log.run(run.run_id, run.task) == run
    log.close()


class Nonsense:
    """A provider that gives what no provider should."""

    name = "scripted"

    def __init__(self, said: Any) -> None:
        self.said = said

    async def reply(self, request: Request) -> Any:
        return self.said


@pytest.mark.parametrize("said", [None, "ok", ToolCall("1", "x"), Reply(("text",)), 7])  # type: ignore[arg-type]
def test_a_provider_that_gives_nonsense_is_a_failure(log: Log, said: object) -> None:
    run = Loop(Nonsense(said), log=log).run_now(Task("x"))
    assert run.outcome is Outcome.failed
    assert "malformed: the provider 'scripted' gave" in run.why
    assert log.run(run.run_id, run.task) == run


WRONG: Sequence[Callable[[], Any]] = [
    lambda: Stop("x", "banana"),  # type: ignore[arg-type]
    lambda: Stop("x", Outcome.accepted),
    lambda: Stop("x", Outcome.waiting),
    lambda: Stop(123),  # type: ignore[arg-type]
    lambda: Ask(None),  # type: ignore[arg-type]
    lambda: Accept(None),  # type: ignore[arg-type]
    lambda: Refuse(None),  # type: ignore[arg-type]
    lambda: TryAgain(after="soon"),  # type: ignore[arg-type]
    lambda: TryAgain(after=-1),
    lambda: TryAgain(feedback=5),  # type: ignore[arg-type]
    lambda: Switch(None),  # type: ignore[arg-type]
    lambda: Switch("strong"),
    lambda: Amend(None),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_decision_that_makes_no_sense_stops_the_run(log: Log, wrong: Callable[[], Any]) -> None:
    run = Loop(Scripted(["ok"]), policies=[lambda run: wrong()], log=log).run_now(Task("x"))
    assert run.outcome is Outcome.failed
    assert run.why.startswith("the policy <lambda> raised")
    assert log.run(run.run_id, run.task) == run


def test_a_judge_that_asks_nonsense_cannot_tell(log: Log) -> None:
    class Odd:
        model, max_tokens, name = "", 10, "Odd"

        def ask(self, run: Run) -> str:
            return "is it good?"

        def read(self, reply: Reply) -> None: ...

    run = Loop(Scripted(["ok"]), log=log).run_now(Task("x", checks=[Odd()]))
    assert (run.outcome, run.verified) == (Outcome.accepted, False)
    assert log.run(run.run_id, run.task) == run


def test_a_tool_that_raises_stop_iteration_ends_at_once() -> None:
    @tool(effect="read")
    def broken() -> str:
        """Forget the default of next."""
        return next(iter([]))

    model = Scripted([[ToolCall("1", "broken")], "ok"])
    run = Loop(model).run_now(Task("x", tools=[broken]))
    assert run.seconds < 5
    assert model.requests[1].messages[2].blocks[0].content == "RuntimeError: StopIteration"  # type: ignore[union-attr]


def test_a_tool_that_cancels_itself_is_told_to_the_model() -> None:
    @tool(effect="read")
    async def weary() -> str:
        """Give up."""
        raise asyncio.CancelledError

    model = Scripted([[ToolCall("1", "weary")], "ok"])
    assert Loop(model).run_now(Task("x", tools=[weary])).output == "ok"
    assert model.requests[1].messages[2].blocks[0].content == "weary cancelled itself"  # type: ignore[union-attr]


def test_a_sync_wrapper_of_an_async_function_runs_in_a_thread() -> None:
    def synced(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return asyncio.run(function(*args, **kwargs))

        return call

    @tool(effect="read")
    @synced
    async def greet(name: str) -> str:
        """Greet."""
        return f"Hi {name}"

    model = Scripted([[ToolCall("1", "greet", {"name": "Ada"})], "ok"])
    Loop(model).run_now(Task("x", tools=[greet]))
    assert model.requests[1].messages[2].blocks[0].content == "Hi Ada"  # type: ignore[union-attr]


def test_a_plain_wrapper_of_an_async_function_is_awaited() -> None:
    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return call

    @tool(effect="read")
    @counted
    async def greet(name: str) -> str:
        """Greet."""
        return f"Hi {name}"

    model = Scripted([[ToolCall("1", "greet", {"name": "Ada"})], "ok"])
    Loop(model).run_now(Task("x", tools=[greet]))
    assert model.requests[1].messages[2].blocks[0].content == "Hi Ada"  # type: ignore[union-attr]


@pytest.mark.parametrize("answer", [EOFError("no input"), "perhaps", 7])
def test_an_asker_that_fails_leaves_the_question_open(log: Log, answer: Any) -> None:
    def ask(question: Question, run: Run) -> str:
        if isinstance(answer, Exception):
            raise answer
        return answer

    task = Task("x", tools=[send])
    model = Scripted([ToolCall("1", "send", {"to": "Ada"}), "ok"])
    loop = Loop(model, policies=[Approve("send")], ask=ask, log=log)
    run = loop.run_now(task)
    assert run.outcome is Outcome.waiting
    log.answer(run.run_id, "approve")
    assert loop.resume_now(run.run_id, task).output == "ok"


def test_an_amended_conversation_is_the_one_that_is_sent_and_quoted() -> None:
    long = (Message("user", (Text("Say ok. " * 100),)),)

    def shorter(run: Run) -> Decision | None:
        call = run.call
        if isinstance(call, ModelCall) and not call.messages:
            return Amend(ModelCall(call.id, call.model, messages=long), "longer")
        return None

    model = Scripted(["ok"])
    run = Loop(model, policies=[shorter]).run_now(Task("x"))
    assert run.output == "ok"
    assert tuple(model.requests[0].messages) == long
    (intended,) = [e for e in run.events if type(e).__name__ == "Intended"]
    assert intended.call.quote.tokens > 800  # type: ignore[union-attr]


def test_a_provider_that_ignores_its_time_is_cut_off() -> None:
    async def model(request: Request) -> str:
        await asyncio.sleep(60)
        return "late"

    run = Loop(Scripted(model), policies=[Budget(seconds=0.05)]).run_now(Task("x"))
    failed = [event.failure for event in run.events if isinstance(event, Failed)]
    assert [failure.message[:16] for failure in failed] == ["no answer in 0.0"]
    assert run.outcome is Outcome.exhausted
    assert run.seconds < 5


def test_the_log_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loop = Loop(Scripted(["ok"]), log="runs.db")
    (tmp_path / "elsewhere").mkdir()
    os.chdir("elsewhere")
    assert loop.run_now(Task("x")).output == "ok"
    with pytest.raises(BadInput, match="a log is a file: to keep nothing"):
        Log(":memory:")


async def _late(answer: str) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Task("x", checks=[_late]), "is async: a check is a plain function"),
        (lambda: Task("x", checks=Judge), "give a list of checks"),
        (lambda: Task("x", checks=[Judge]), "is no check"),
        (lambda: Task("x", system=None), "system, name and label of a task are texts"),
        (lambda: Loop(None), "None is no model"),
        (lambda: Loop(Scripted), "is no model: say 'provider:model', or give a provider"),
        (lambda: Loop(Scripted([]), policies=[_late]), "is async: a policy is plain"),
        (lambda: Budget(steps=1.9), r"Budget\(steps=1.9\): give a whole number"),
        (lambda: Loop(Scripted([])).map_now(Task("x"), [], at_once="8"), "at_once='8'"),
    ],
)
def test_plain_mistakes_get_plain_words(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        wrong()


def test_calls_at_the_same_time_reserve_money() -> None:
    """Each of the two verdicts would fit under the ceiling by itself."""
    set_price("costly:costly", input=0, output=1_000_000)
    judge = Scripted(lambda request: ACCEPT, name="costly")
    judges = [Judge("Good.", "costly:costly", name=f"judge {n}", max_tokens=10) for n in range(2)]
    loop = Loop(Scripted(["ok"]), providers=[judge], policies=[Budget(usd=15)])
    run = loop.run_now(Task("x", checks=judges))
    assert run.outcome is Outcome.exhausted
    assert "0.000000 settled, 10.000000 reserved" in run.why
    assert not judge.requests


def test_a_call_that_was_under_way_is_presumed_spent(log: Log) -> None:
    set_price("torn:torn", input=0, output=1_000_000)

    async def model(request: Request) -> str:
        raise KeyboardInterrupt

    task = Task("x", max_tokens=10)
    loop = Loop(Scripted(model, name="torn"), policies=[Budget(usd=15)], log=log)
    with pytest.raises(KeyboardInterrupt):
        loop.run_now(task)
    again = Loop(Scripted(["ok"], name="torn"), policies=[Budget(usd=15)], log=log)
    run = again.resume_now(log.ids()[0], task)
    assert run.outcome is Outcome.exhausted
    assert run.possible_cost == 10
    assert "10.000000 presumed" in run.why


def test_an_unsafe_call_in_doubt_is_not_made_again(log: Log) -> None:
    called = []

    @tool
    async def pay(euros: int) -> str:
        """Pay."""
        called.append(euros)
        raise KeyboardInterrupt

    task = Task("x", tools=[pay])
    loop = Loop(Scripted([ToolCall("1", "pay", {"euros": 5}), "ok"]), log=log)
    with pytest.raises(KeyboardInterrupt):
        loop.run_now(task)
    run = loop.resume_now(log.ids()[0], task)
    assert run.outcome is Outcome.waiting
    assert 'The process ended while pay({"euros":5}) was under way.' in run.why
    log.answer(run.run_id, "happened", note="The bank says so.")
    assert loop.resume_now(run.run_id, task).output == "ok"
    assert called == [5]


def test_an_error_of_ours_in_a_tool_is_told_to_the_model() -> None:
    """A tool may well use a loop or a task of its own, wrongly."""

    @tool(effect="read")
    def greet(name: str) -> str:
        """Greet."""
        return Task("Greet {name}.").filled({"nam": name})

    model = Scripted([[ToolCall("1", "greet", {"name": "Ada"})], "ok"])
    assert Loop(model).run_now(Task("x", tools=[greet])).output == "ok"
    assert "needs the input 'name'" in model.requests[1].messages[2].blocks[0].content  # type: ignore[union-attr]


def test_a_switch_to_a_provider_that_is_not_there_ends_as_failed(log: Log) -> None:
    def away(run: Run) -> Decision | None:
        return Switch("nobody:strong") if run.moment == "answer" and run.problems else None

    policies = [away, Budget(unpriced="allow")]
    loop = Loop(Scripted(["no"]), policies=policies, log=log)
    run = loop.run_now(Task("x", checks=[lambda answer: "No."]))
    assert run.outcome is Outcome.failed
    assert "nobody" in run.why
    assert log.run(run.run_id, run.task) == run
