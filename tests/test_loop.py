"""How a run goes: what happens in each case, with what the log and the model see of it."""

import asyncio
import contextlib
import copy
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from loopwright import Budget, Log, Loop, Outcome, RealCallForbidden, Run, Task
from loopwright.calls import Failure, Message, Reply, Request, Text, ToolCall, ToolResult, Usage
from loopwright.decisions import Accept, Amend, Decision, Refuse, Stop, Switch
from loopwright.events import Decided, Event, Failed
from loopwright.models import Scripted
from loopwright.models.catalogue import set_price
from loopwright.policies import Approve, Escalate, Judge, Retry
from loopwright.tools import tool


@frozen
class Promotion:
    headline: str
    body: str


def city(promotion: Promotion, run: Run) -> str | None:
    wanted = run.inputs["city"]
    return None if wanted in promotion.body else f"Name {wanted}."


@tool(effect="read")
async def weather(city: str) -> dict[str, str]:
    """The weather."""
    return {"sky": f"blue over {city}"}


PROMOTE = Task("Promote {city}.", output=Promotion, tools=[weather], checks=[city], name="promote")


def test_a_task_from_call_to_acceptance(log: Log) -> None:
    model = Scripted(
        [
            [ToolCall("x", "weather", {"city": "Ulm"}), ToolCall("x", "weather", {"city": "Bonn"})],
            {"headline": "Sun"},
            {"headline": "Sun", "body": "Come!"},
            {"headline": "Sun", "body": "Come to Ulm!"},
        ]
    )
    run = Loop(model, policies=[Retry(times=2)], log=log).run_now(PROMOTE, city="Ulm")
    assert run.output == Promotion("Sun", "Come to Ulm!")
    assert (run.outcome, run.verified, run.attempt, run.cost) == (Outcome.accepted, True, 3, 0)
    second, third, fourth = (request.messages for request in model.requests[1:])
    assert [block.content for block in second[2].blocks] == [  # type: ignore[union-attr]
        '{"sky": "blue over Ulm"}',
        '{"sky": "blue over Bonn"}',
    ]
    assert "- body: Field required" in third[-1].text
    assert "- Name Ulm." in fourth[-1].text
    assert log.run(run.run_id, PROMOTE).output == run.output


def test_an_output_that_does_not_give_back_what_it_took_is_kept_as_the_model_wrote_it() -> None:
    @frozen
    class Shouted:
        text: str = field(converter=lambda text: text.upper() + "!")

    run = Loop(Scripted([{"text": "hi"}])).run_now(Task("x", output=Shouted))
    assert run.output == Shouted("hi")
    assert run.output_data == {"text": "hi"}


def test_a_plain_run_without_a_log_keeps_its_events() -> None:
    run = Loop(Scripted(["Hello."])).run_now(Task("Hi."))
    assert [type(event).__name__ for event in run.events] == [
        *("Started", "Intended", "Returned", "Inspected", "Decided", "Ended")
    ]
    assert run.output == "Hello."
    assert not run.verified


def test_a_ladder_carries_the_feedback_to_the_strong_model() -> None:
    strong = Scripted(["42"], name="strong")
    loop = Loop(
        Scripted(["none", "no"], name="weak"),
        providers=[strong],
        policies=[Retry(times=1), Escalate("strong:strong")],
    )
    run = loop.run_now(Task("6 * 7?", checks=[lambda a: None if a == "42" else f"Not {a}."]))
    assert run.output == "42"
    assert [m.text for m in strong.requests[0].messages][-3:] == [
        "Your answer was not accepted:\n- Not none.\nGive a complete new answer.",
        "no",
        "Your answer was not accepted:\n- Not no.\nGive a complete new answer.",
    ]


def test_the_best_attempt_is_kept_when_all_are_rejected() -> None:
    def digits(answer: str) -> str | None:
        return None if answer.isdigit() else "Digits."

    def short(answer: str) -> str | None:
        return None if len(answer) < 4 else "Short."

    loop = Loop(Scripted(["a long one", "abc", "another long one"]), policies=[Retry(times=2)])
    run = loop.run_now(Task("x", checks=[digits, short]))
    assert run.outcome is Outcome.rejected
    assert run.output is None
    assert run.output_data == "abc"
    assert run.why == "the answer has problems: Digits.; Short."


@pytest.mark.parametrize(
    ("check", "undecided"),
    [
        (lambda answer: 1 // 0, "ZeroDivisionError"),
        (lambda answer: True, "the check returned True"),
        (lambda answer: "", "the check returned ''"),
        (lambda answer: " \n", "return None or the problem in words"),
    ],
)
def test_a_check_that_cannot_tell_is_neither_a_pass_nor_a_fault(
    check: Callable[[str], Any], undecided: str
) -> None:
    run = Loop(Scripted(["ok"]), policies=[Retry(times=2)]).run_now(Task("x", checks=[check]))
    assert run.outcome is Outcome.accepted
    assert not run.verified
    assert run.spent.model_calls == 1
    assert run.answer is not None
    assert undecided in run.answer.undecided[0].text


VERDICTS = {
    "accept": ('{"reason": "", "verdict": "accept"}', Outcome.accepted, True),
    "reject": ('{"reason": "Cold.", "verdict": "reject"}', Outcome.rejected, False),
    "undecided": ('{"reason": "?", "verdict": "undecided"}', Outcome.accepted, False),
    "nonsense": ("I like it.", Outcome.accepted, False),
    "not an object": ("[1]", Outcome.accepted, False),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_judge(verdict: str) -> None:
    said, outcome, verified = VERDICTS[verdict]
    judge = Scripted([said], name="judge")
    task = Task("Greet.", checks=[Judge("Warm.", model="judge:judge")])
    run = Loop(Scripted(["Hi."]), providers=[judge]).run_now(task)
    assert (run.outcome, run.verified) == (outcome, verified)
    assert "<answer>\nHi.\n</answer>" in judge.requests[0].messages[0].text


def test_a_judge_is_asked_only_if_no_check_complains() -> None:
    judge = Scripted([VERDICTS["accept"][0]], name="judge")
    task = Task(
        "x", checks=[Judge("Warm.", "judge:judge"), lambda a: None if a == "b" else "Say b."]
    )
    run = Loop(Scripted(["a", "b"]), providers=[judge], policies=[Retry()]).run_now(task)
    assert run.verified
    assert len(judge.requests) == 1


def test_a_judge_that_fails_cannot_tell() -> None:
    judge = Scripted([Failure("overloaded", "busy", None, False, 529)], name="judge")
    task = Task("x", checks=[Judge("Warm.", "judge:judge")])
    run = Loop(Scripted(["a"]), providers=[judge]).run_now(task)
    assert (run.outcome, run.verified) == (Outcome.accepted, False)


@pytest.mark.parametrize("finish", ["length", "refusal", "filter", "error"])
def test_no_call_of_a_cut_reply_is_made(finish: Any) -> None:
    called = []

    @tool
    def act() -> str:
        """Act."""
        called.append(1)
        return "done"

    cut = Reply((Text("I will"), ToolCall("1", "act")), finish, Usage(1))
    model = Scripted([cut, "fine"])
    run = Loop(model, policies=[Retry()]).run_now(Task("x", tools=[act]))
    assert run.output == "fine"
    assert not called
    assert model.requests[1].messages[1] == Message("assistant", (Text("I will"),))


def test_a_paused_reply_is_sent_back_as_it_is() -> None:
    model = Scripted([Reply((Text("half"),), "paused", Usage(1)), "whole"])
    assert Loop(model).run_now(Task("x")).output == "whole"
    assert [message.role for message in model.requests[1].messages] == ["user", "assistant"]


def test_tool_calls_run_even_if_the_finish_says_stop() -> None:
    model = Scripted([Reply((ToolCall("1", "weather", {"city": "Ulm"}),), "stop", Usage(1)), "ok"])
    run = Loop(model).run_now(Task("x", tools=[weather]))
    assert run.spent.tool_calls == 1


def results(model: Scripted) -> list[ToolResult]:
    return [b for b in model.requests[-1].messages[2].blocks if isinstance(b, ToolResult)]


def test_what_goes_wrong_with_a_tool_is_told_to_the_model() -> None:
    @tool(effect="read")
    def divide(a: int, b: int) -> float:
        """Divide."""
        return a / b

    @tool(effect="read")
    def strange() -> object:
        """Give what cannot be shown."""
        return object()

    @tool(effect="read")
    def large() -> str:
        """Give a lot."""
        return "x" * 1_000_000

    calls = [
        ToolCall("1", "divide", {"a": 1, "b": 0}),
        ToolCall("1", "divide", {"a": 1, "b": "two"}),
        ToolCall("1", "divde", {"a": 1, "b": 2}),
        ToolCall("1", "divide", malformed="line 1 column 5: Expecting ','"),
        ToolCall("1", "strange"),
        ToolCall("1", "large"),
        ToolCall("1", "divide", {"a": 1, "b": 2}),
    ]
    model = Scripted([calls, "ok"])
    run = Loop(model).run_now(Task("x", tools=[divide, strange, large]))
    assert run.output == "ok"
    zero, types, unknown, malformed, odd, big, good = results(model)
    assert zero == ToolResult(zero.call, "ZeroDivisionError: division by zero", error=True)
    assert "b: " in types.content
    assert types.error
    assert "There is no tool 'divde'. Did you mean divide?" in unknown.content
    assert "Expecting ','" in malformed.content
    assert odd.error
    assert len(big.content) < 51_000
    assert "of 1000000 characters left out" in big.content
    assert good.content == "0.5"
    assert [r.call for r in results(model)] == [f"m1-{n}" for n in range(7)]


def test_parallel_tools_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=10)

    @tool(effect="read")
    def meet(n: int) -> int:
        """Wait for the others."""
        meeting.wait()
        return n

    model = Scripted([[ToolCall("1", "meet", {"n": n}) for n in range(3)], "ok"])
    Loop(model).run_now(Task("x", tools=[meet]))
    assert [result.content for result in results(model)] == ["0", "1", "2"]


def test_a_tool_that_hangs_is_left_behind() -> None:
    done = threading.Event()

    @tool(effect="read", timeout=0.05)
    def block() -> str:
        """Block."""
        done.wait(10)
        return "late"

    @tool(effect="read", timeout=0.05)
    async def hang() -> str:
        """Hang."""
        await asyncio.sleep(60)
        return "late"

    @tool(effect="read", timeout=0.05)
    async def stubborn() -> str:
        """Take no cancellation."""
        while not done.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)
        return "late"

    model = Scripted([[ToolCall("1", name) for name in ("block", "hang", "stubborn")], "ok"])

    async def main() -> Run:
        run = await Loop(model).run(Task("x", tools=[block, hang, stubborn]))
        done.set()  # asyncio.run waits for all tasks, also for those that were abandoned
        return run

    assert asyncio.run(main()).output == "ok"
    threaded, cancelled, ignored = (result.content for result in results(model))
    assert threaded.endswith("a thread cannot be stopped, so it is abandoned, outcome unknown")
    assert cancelled == "hang did not finish in 0.05 s: it was cancelled"
    assert ignored.endswith("did not stop when cancelled, so it is abandoned, outcome unknown")


def test_a_tool_cannot_change_the_history() -> None:
    @tool(effect="read")
    def take(items: list[int]) -> int:
        """Take them all."""
        items.clear()
        return 0

    model = Scripted([[ToolCall("1", "take", {"items": [1, 2]})], "ok"])
    run = Loop(model).run_now(Task("x", tools=[take]))
    assert run.messages[1].blocks[0].arguments == {"items": [1, 2]}  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_tool_that_wants_out_gets_out_and_the_run_can_be_resumed(
    log: Log, error: type[BaseException]
) -> None:
    wants_out = [True]

    @tool(effect="read")
    async def leave() -> str:
        """Leave."""
        if wants_out:
            wants_out.clear()
            raise error
        return "stayed"

    task = Task("x", tools=[leave])
    loop = Loop(Scripted([[ToolCall("1", "leave")], "ok"]), log=log)
    with pytest.raises(error):
        loop.run_now(task)
    (run_id,) = log.ids()
    assert log.run(run_id).outcome is Outcome.cancelled
    assert loop.resume_now(run_id, task).output == "ok"


def test_cancelling_is_written_down_and_passed_on(log: Log) -> None:
    async def model(request: Request) -> str:
        await asyncio.sleep(60)
        return "late"

    async def main() -> None:
        running = asyncio.ensure_future(Loop(Scripted(model), log=log).run(Task("x")))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    (run_id,) = log.ids()
    run = log.run(run_id)
    assert (run.outcome, run.why) == (Outcome.cancelled, "CancelledError")
    resumed = Loop(Scripted(["ok"]), log=log).resume_now(run_id, Task("x"))
    assert resumed.output == "ok"
    assert resumed.spent.model_calls == 2


def test_a_run_that_has_ended_stays_as_it_is(log: Log) -> None:
    task = Task("x")
    loop = Loop(Scripted(["ok"]), log=log)
    run = loop.run_now(task)
    assert loop.resume_now(run.run_id, task) == run
    assert len(log.events(run.run_id)) == run.seq


def test_an_exhausted_run_goes_on_under_a_larger_limit(log: Log) -> None:
    task = Task("x", checks=[lambda a: None if a == "3" else "More."])
    model = Scripted(["1", "2", "3"])
    small = Loop(model, policies=[Retry(times=5), Budget(model_calls=2)], log=log)
    run = small.run_now(task)
    assert run.outcome is Outcome.exhausted
    assert small.resume_now(run.run_id, task).seq == run.seq
    large = Loop(model, policies=[Retry(times=5), Budget(model_calls=3)], log=log)
    assert large.resume_now(run.run_id, task).output == "3"


def test_stepping_shows_what_is_about_to_happen() -> None:
    async def main() -> list[tuple[int, list[str], int]]:
        model = Scripted([[ToolCall("1", "weather", {"city": "Ulm"})], "ok"])
        steps = Loop(model).steps(Task("x", tools=[weather]))
        return [
            (run.step, [type(call).__name__ for call in run.in_flight.values()], len(run.messages))
            async for run in steps
        ]

    assert asyncio.run(main()) == [
        (1, ["ModelCall"], 1),
        (2, ["ToolCall"], 2),
        (3, ["ModelCall"], 3),
        (3, [], 4),
    ]


def test_leaving_in_the_middle_can_be_resumed(log: Log) -> None:
    task = Task("x", tools=[weather])
    model = Scripted([[ToolCall("1", "weather", {"city": "Ulm"})], "ok"])
    loop = Loop(model, log=log)

    async def main() -> None:
        steps = loop.steps(task)
        async for run in steps:
            if run.step == 2:
                break
        await steps.aclose()

    asyncio.run(main())
    (run_id,) = log.ids()
    assert log.run(run_id).outcome is Outcome.cancelled
    assert loop.resume_now(run_id, task).output == "ok"


def test_run_now_works_inside_a_running_event_loop(log: Log) -> None:
    async def main() -> Run:
        return Loop(Scripted(["ok"]), log=log).run_now(Task("x"))

    assert asyncio.run(main()).output == "ok"


def test_map_keeps_the_order_and_the_bound() -> None:
    running, most = 0, 0

    async def model(request: Request) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002 * (7 - int(request.messages[0].text)))
        running -= 1
        return request.messages[0].text

    seen: list[tuple[int, int]] = []
    runs = Loop(Scripted(model)).map_now(
        Task("{n}"),
        [{"n": n} for n in range(7)],
        at_once=3,
        progress=lambda done, of, run: seen.append((done, of)),
    )
    assert [run.output for run in runs] == list("0123456")
    assert most == 3
    assert seen == [(n, 7) for n in range(1, 8)]


def test_an_error_in_one_of_many_stops_the_others_and_comes_out_as_it_is(log: Log) -> None:
    async def model(request: Request) -> str:
        if request.messages[0].text == "3":
            raise RealCallForbidden("no")
        await asyncio.sleep(0.01)
        return "ok"

    loop = Loop(Scripted(model), log=log)
    with pytest.raises(RealCallForbidden, match="no"):
        loop.map_now(Task("{n}"), [{"n": n} for n in range(9)], at_once=4)
    outcomes = [log.run(run_id).outcome for run_id in log.ids()]
    assert outcomes.count(Outcome.cancelled) == 4
    assert len(outcomes) == 4


def test_ctrl_c_reaches_a_run_in_a_thread_of_its_own(log: Log) -> None:
    async def model(request: Request) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)
        return "late"

    async def main() -> None:
        Loop(Scripted(model), log=log).run_now(Task("x"))

    with pytest.raises(KeyboardInterrupt):
        _as_in_a_notebook(main())
    (run_id,) = log.ids()
    assert log.run(run_id).outcome is Outcome.cancelled


def _as_in_a_notebook(work: Coroutine[Any, Any, None]) -> None:
    """Unlike `asyncio.run`, a kernel leaves the handling of Ctrl-C to Python."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


def test_a_retry_waits_as_long_as_the_provider_asks() -> None:
    model = Scripted([Failure("rate_limited", "slow down", 0.2, True, 429), "ok"])
    begun = time.perf_counter()
    run = Loop(model, policies=[Retry()]).run_now(Task("x"))
    assert time.perf_counter() - begun >= 0.2
    assert run.decisions[0].decision.why == ("rate_limited, try 2 in 0.2 s as the provider asked")


def test_a_retry_does_not_sleep_past_the_limit() -> None:
    model = Scripted([Failure("rate_limited", "slow down", 100.0, True, 429), "ok"])
    run = Loop(model, policies=[Retry(), Budget(seconds=5)]).run_now(Task("x"))
    assert run.outcome is Outcome.exhausted
    assert run.why.startswith("sleeping 100 s would pass the limit of 5 s")
    assert run.seconds < 5


@pytest.mark.parametrize(("steps", "called"), [(1, 0), (2, 1), (3, 1)])
def test_a_step_of_tool_calls_is_a_step(steps: int, called: int) -> None:
    model = Scripted(lambda request: ToolCall("1", "weather", {"city": "Paris"}))
    run = Loop(model, policies=[Budget(steps=steps)]).run_now(Task("x", tools=[weather]))
    assert run.outcome is Outcome.exhausted
    assert run.why == f"the limit of {steps} steps would be passed: {steps} used, 1 more asked"
    assert (run.step, run.spent.tool_calls) == (steps, called)


def test_what_a_loop_keeps_stands_in_its_log(log: Log, tmp_path: Path) -> None:
    """Also where another log is given to a loop that is there, as the command line does."""
    calls: list[str] = []

    @tool(effect="read", cache_seconds=60)
    def look(city: str) -> str:
        """Look."""
        calls.append(city)
        return "rain"

    def model(request: Request) -> object:
        return ToolCall("1", "look", {"city": "Paris"}) if len(request.messages) == 1 else "Rain."

    task = Task("x", tools=[look])
    loop = Loop(Scripted(model), log=tmp_path / "own.db")
    loop.run_now(task)
    other = copy.copy(loop)
    other.log = log
    other.run_now(task)
    other.run_now(task)
    assert calls == ["Paris", "Paris"]
    assert log.asked("select count(*) as kept from kept") == [{"kept": 1}]


def test_without_a_retry_a_failing_call_is_made_once() -> None:
    model = Scripted(lambda request: Failure("rate_limited", "slow down", None, True, 429))
    run = Loop(model).run_now(Task("x"))
    assert (run.outcome, run.why) == (Outcome.failed, "rate_limited: slow down")
    assert len(model.requests) == 1


def test_a_call_that_could_cost_too_much_is_not_made() -> None:
    set_price("lavish:lavish", input=1_000_000, output=1_000_000)
    model = Scripted(["ok"], name="lavish")
    run = Loop(model, policies=[Budget(usd=50)]).run_now(Task("x", max_tokens=100))
    assert run.outcome is Outcome.exhausted
    assert "0.000000 settled, 0.000000 reserved, 0.000000 presumed" in run.why
    assert not model.requests
    run = Loop(model, policies=[Budget(usd=500)]).run_now(Task("x", max_tokens=100))
    assert run.outcome is Outcome.accepted
    assert run.cost == Decimal(run.spent.tokens)


def test_of_a_batch_that_does_not_fit_no_call_is_made() -> None:
    called = []

    @tool(effect="read")
    def act(n: int) -> int:
        """Act."""
        called.append(n)
        return n

    model = Scripted([[ToolCall("1", "act", {"n": n}) for n in range(3)], "ok"])
    run = Loop(model, policies=[Budget(tool_calls=2)]).run_now(Task("x", tools=[act]))
    assert run.outcome is Outcome.exhausted
    assert not called


def test_a_tasks_own_limits_hold_beside_the_loops() -> None:
    again = Scripted(lambda request: "no")
    task = Task("x", checks=[lambda a: "No."], limits=Budget(model_calls=2))
    run = Loop(again, policies=[Retry(times=9), Budget(model_calls=5)]).run_now(task)
    assert run.spent.model_calls == 2


def test_an_approval_holds_for_this_call_only() -> None:
    sent = []

    @tool
    def send(to: str) -> str:
        """Send."""
        sent.append(to)
        return "sent"

    asked: list[str] = []

    def ask(question: Any, run: Run) -> str:
        asked.append(question.text)
        return "approve" if "Ada" in question.text else "deny"

    model = Scripted(
        [
            [ToolCall("1", "send", {"to": "Ada"}), ToolCall("1", "send", {"to": "Bob"})],
            [ToolCall("1", "send", {"to": "Ada"})],
            "ok",
        ]
    )
    Loop(model, policies=[Approve("s*")], ask=ask).run_now(Task("x", tools=[send]))
    assert sent == ["Ada", "Ada"]
    assert asked == [f'May send be called with {{"to":"{to}"}}?' for to in ("Ada", "Bob", "Ada")]


def test_a_person_is_the_last_rung() -> None:
    task = Task("x", checks=[lambda a: None if a == "42" else "Not that."])
    loop = Loop(Scripted(["1"]), policies=[Escalate(person=True)], ask=lambda question, run: "42")
    run = loop.run_now(task)
    assert (run.output, run.verified) == ("42", True)
    loop = Loop(Scripted(["1"]), policies=[Escalate(person=True)], ask=lambda q, run: "no")
    assert loop.run_now(task).outcome is Outcome.rejected


def at_call(name: str, decision: Callable[[Run], Decision | None]) -> Callable[[Run], Any]:
    def policy(run: Run) -> Decision | None:
        return decision(run) if isinstance(run.call, ToolCall) and run.moment == "call" else None

    policy.__name__ = name
    return policy


def test_a_call_can_be_refused_and_amended() -> None:
    def polite(run: Run) -> Decision | None:
        call = run.call
        assert isinstance(call, ToolCall)
        if call.arguments["city"] == "ulm":
            return Amend(ToolCall(call.id, call.name, {"city": "Ulm"}), "a name has a capital")
        return Refuse("Not Bonn.") if call.arguments["city"] == "Bonn" else None

    batch = [ToolCall("1", "weather", {"city": city}) for city in ("ulm", "Bonn")]
    model = Scripted([batch, "ok"])
    run = Loop(model, policies=[at_call("polite", polite)]).run_now(Task("x", tools=[weather]))
    assert [(r.content, r.error) for r in results(model)] == [
        ('{"sky": "blue over Ulm"}', False),
        ("Not Bonn.", True),
    ]
    assert [d.policy for d in run.decisions] == ["polite", "polite", "Otherwise"]


def test_a_stop_wins_over_the_rest_of_the_list() -> None:
    run = Loop(
        Scripted(["no"]),
        policies=[Retry(), lambda run: Stop("enough") if run.moment == "answer" else None],
    ).run_now(Task("x", checks=[lambda a: "No."]))
    assert (run.outcome, run.why) == (Outcome.stopped, "enough")
    assert run.decisions[-1].others == ("Retry: TryAgain",)


def test_a_failed_call_can_switch_to_another_model() -> None:
    def fall_back(run: Run) -> Decision | None:
        return Switch("spare:spare") if run.moment == "failure" else None

    down = Scripted([Failure("overloaded", "busy", None, True, 529)])
    loop = Loop(down, providers=[Scripted(["ok"], name="spare")], policies=[fall_back])
    run = loop.run_now(Task("x"))
    assert (run.output, run.model) == ("ok", "spare:spare")


def test_a_policy_can_accept_what_a_check_rejects() -> None:
    def lenient(run: Run) -> Decision | None:
        return Accept("good enough") if run.moment == "answer" else None

    run = Loop(Scripted(["so so"]), policies=[lenient]).run_now(
        Task("x", checks=[lambda a: "Better!"])
    )
    assert (run.outcome, run.verified, run.output) == (Outcome.accepted, False, "so so")


def test_policies_of_a_subclass_and_when() -> None:
    late = Retry(times=3).when(lambda run: run.inputs["patient"])
    task = Task("{patient}", checks=[lambda a: None if a == "yes" else "Say yes."])
    for patient, outcome in ((True, Outcome.accepted), (False, Outcome.rejected)):
        loop = Loop(Scripted(["no", "no", "yes"]), policies=[[late]])
        assert loop.run_now(task, patient=patient).outcome is outcome


def test_watching_sees_every_event() -> None:
    seen: list[Event] = []
    loop = Loop(Scripted(["ok"]), watch=lambda run, event: seen.append(event))
    run = loop.run_now(Task("x"))
    assert seen == list(run.events)


def test_a_tools_traceback_stays_in_the_log_and_away_from_the_model() -> None:
    @tool(effect="read")
    def broken() -> str:
        """Break."""
        raise LookupError("not there")

    model = Scripted([[ToolCall("1", "broken")], "ok"])
    run = Loop(model).run_now(Task("x", tools=[broken]))
    (failed,) = [event for event in run.events if isinstance(event, Failed)]
    assert "in broken" in failed.traceback
    assert results(model)[0].content == "LookupError: not there"


def test_a_reading_tool_is_tried_again() -> None:
    tries = iter([OSError("flaky"), None])

    @tool(effect="read")
    def flaky() -> str:
        """Fail once."""
        if error := next(tries):
            raise error
        return "fine"

    model = Scripted([[ToolCall("1", "flaky")], "ok"])
    run = Loop(model, policies=[Retry(backoff=0)]).run_now(Task("x", tools=[flaky]))
    assert results(model)[0].content == "fine"
    assert [type(e.decision).__name__ for e in run.events if isinstance(e, Decided)] == [
        "TryAgain",
        "Accept",
    ]
