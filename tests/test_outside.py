"""What comes from outside may be anything: providers, tools, validators and policies of users."""

import asyncio
import copy
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from math import inf
from types import MappingProxyType
from typing import Annotated, Any

import pytest
from attrs import evolve, frozen
from pydantic import AfterValidator

from loopwright import Budget, Log, Loop, Outcome, Run, Task, slots, unlimited
from loopwright.calls import (
    Answer,
    Failure,
    Opaque,
    Reply,
    Request,
    Sent,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from loopwright.decisions import Amend
from loopwright.events import Failed, Returned
from loopwright.models import Scripted, set_price
from loopwright.policies import Approve, Retry
from loopwright.tools import tool

# ------------------------------------------------------------------------------------- providers


class Mine:
    """A provider of the user's own, which says what it was given to say."""

    name = "mine"

    def __init__(self, says: Callable[[int], Any]) -> None:
        self.says = says
        self.calls = 0

    async def reply(self, request: Request) -> Any:
        self.calls += 1
        return self.says(self.calls)


@pytest.fixture(autouse=True)
def _priced() -> None:
    set_price("mine:mine", "1.00", "10.00")


@tool(effect="read")
def look() -> str:
    """Look."""
    return "r" * 500


def test_usage_below_zero_lifts_no_budget() -> None:
    real = Usage(1000, output_visible=4000)

    def says(call: int) -> Reply:
        usage = Usage(-(10**6)) if call == 1 else real
        return Reply((ToolCall("1", "look"),), "tool_calls", usage)

    run = Loop(Mine(says), policies=[Budget(usd="0.20")]).run_now(Task("Go.", tools=[look]))
    assert run.outcome is Outcome.exhausted
    assert run.spent.settled >= 0
    assert run.spent.presumed > 0  # what the first call cost is not known
    assert run.possible_cost <= 0.20


@pytest.mark.parametrize("usage", [Usage(3.5), Usage(None), Usage("5"), {"input": 3}, 7])  # type: ignore[arg-type]
def test_usage_that_counts_no_tokens_is_no_report(log: Log, usage: Any) -> None:
    run = Loop(Mine(lambda _: Reply((Text("Hi."),), "stop", usage)), log=log).run_now(Task("x"))
    assert run.output == "Hi."
    assert run.messages == log.run(run.run_id).messages
    assert [row["outcome"] for row in log.runs().rows()] == ["accepted"]


@pytest.mark.parametrize(
    "block",
    [Text(5), ToolCall("1", None), ToolCall("1", "look", [1]), "words"],  # type: ignore[arg-type]
)
def test_blocks_that_are_none_are_a_failure(block: Any) -> None:
    run = Loop(Mine(lambda _: Reply((block,)))).run_now(Task("x", tools=[look]))
    assert run.outcome is Outcome.failed
    assert "malformed" in run.why


NONE: Any = None
FIVE: Any = 5
NO: Any = "no"

MISFITS: dict[str, tuple[Any, str]] = {
    "status": (
        Failure("timeout", "x", status="500"),  # type: ignore[arg-type]
        "Failure.status is '500': give int or None",
    ),
    "message": (
        Failure("timeout", ValueError("x")),  # type: ignore[arg-type]
        "Failure.message is ValueError('x'): give str",
    ),
    "a failure's message": (Failure("timeout", NONE), "Failure.message is None: give str"),
    "a failure's sent": (Failure("timeout", "x", sent=FIVE), "Failure.sent is 5: give Sent"),
    "whether to resend": (Failure("timeout", "x", may_resend=NO), "is 'no': give bool or int"),
    "sent": (Reply((Text("Hi."),), sent=FIVE), "Reply.sent is 5: give Sent"),
    "repairs": (Reply((Text("Hi."),), sent=Sent(repairs=FIVE)), "Sent.repairs is 5: give tuple"),
    "model": (Reply((Text("Hi."),), model=FIVE), "Reply.model is 5: give str"),
    "details": (Reply((Text("Hi."),), details=FIVE), "Reply.details is 5: give Mapping"),
    "quote": (Reply((ToolCall("1", "look", quote=FIVE),)), "ToolCall.quote is 5: give Quote"),
    "no arguments": (
        Reply((ToolCall("1", "look", NONE),)),
        "ToolCall.arguments is None: give Mapping",
    ),
    "timeout": (
        Reply((ToolCall("1", "look", timeout="x"),)),  # type: ignore[arg-type]
        "ToolCall.timeout is 'x': give float or int or None",
    ),
    "an opaque block": (Reply((Opaque("mine", {"a": object()}),)), "blocks.0.data.a cannot be"),
    "raw": (Reply((), usage=Usage(raw={"a": object()})), "a object at usage.raw.a cannot be"),
    "what is said of the finish": (Reply((), details={"a": object()}), "details.a cannot be"),
    "arguments": (Reply((ToolCall("1", "look", {"a": {1}}),)), "arguments.a cannot be"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_cannot_be_kept_or_read_again_is_a_failure_that_says_where(
    log: Log, name: str
) -> None:
    said, why = MISFITS[name]
    run = Loop(Mine(lambda _: said), log=log).run_now(Task("x", tools=[look]))
    assert run.outcome is Outcome.failed
    assert "malformed: the provider 'mine' gave" in run.why
    assert why in run.why
    assert log.run(run.run_id).events == run.events


BARE = Reply((Text("Hi."),), usage=Usage(10))
UNTOLD: list[Any] = [
    *(evolve(BARE, **{name: None}) for name in ("finish", "model", "tier", "request_id")),
    *(evolve(BARE, **{name: None}) for name in ("sent", "details", "first_token")),
    evolve(BARE, sent=Sent(NONE, repairs=NONE)),
    evolve(BARE, blocks=[Text("Hi.", NONE, NONE)]),
]


@pytest.mark.parametrize("said", UNTOLD)
def test_none_for_what_is_not_known_is_what_stands_there_by_default(log: Log, said: Reply) -> None:
    run = Loop(Mine(lambda _: said), log=log).run_now(Task("x"))
    assert run.output == "Hi."
    assert run.spent.settled > 0
    (result,) = (one.result for one in run.events if isinstance(one, Returned))
    assert result == evolve(BARE, model="")
    assert log.run(run.run_id).events == run.events


def test_usage_of_no_number_counts_nothing_also_beside_what_is_not_known() -> None:
    said = evolve(BARE, tier=NONE, usage=Usage(NONE))
    run = Loop(Mine(lambda _: said)).run_now(Task("x"))
    assert run.output == "Hi."
    assert run.spent.presumed > 0


def test_a_failure_may_say_one_for_true(log: Log) -> None:
    one: Any = 1
    said = [Failure("overloaded", "busy", may_resend=one, request_id=NONE), BARE]
    model = Mine(lambda call: said[call - 1])
    run = Loop(model, policies=[Retry(times=1)], log=log).run_now(Task("x"))
    assert run.output == "Hi."
    assert log.run(run.run_id).events == run.events


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (evolve(BARE, tier=FIVE, usage=Usage(10, raw={"a": 1})), Usage(10, raw={"a": 1})),
        (evolve(BARE, tier=FIVE, usage=Usage(10, raw={"a": object()})), Usage(10)),
        (Failure("timeout", "x", status=NO, usage=Usage(10)), Usage(10)),
        (evolve(BARE, tier=FIVE, usage=Usage(-10)), None),
        (5, None),
    ],
)
def test_what_a_malformed_answer_has_used_is_kept(log: Log, said: Any, kept: Usage | None) -> None:
    run = Loop(Mine(lambda _: said), log=log).run_now(Task("x"))
    (failure,) = (one.failure for one in run.events if isinstance(one, Failed))
    assert (failure.kind, failure.usage) == ("malformed", kept)
    assert log.run(run.run_id).events == run.events


@pytest.mark.parametrize(
    "usage",
    [{"input": 5}, 7, Usage(1.5), Usage(-1), Usage(1, raw=None), Usage(1, raw=[1])],  # type: ignore[arg-type]
)
def test_usage_that_is_none_leaves_a_failure_as_it_is(log: Log, usage: Any) -> None:
    said = Failure("overloaded", "busy", usage=usage)
    run = Loop(Mine(lambda _: said), log=log).run_now(Task("x"))
    assert run.why == "overloaded: busy"
    assert run.spent.presumed > 0
    assert log.run(run.run_id).events == run.events
    replied = Loop(Mine(lambda _: Reply((Text("Hi."),), usage=usage))).run_now(Task("x"))
    assert replied.output == "Hi."


def test_what_a_provider_makes_of_our_classes_is_taken_for_them(log: Log) -> None:
    class Mapped(Reply):
        pass

    extra = MappingProxyType({"a": float("nan")})
    said = Mapped((Text("Hi.", "mine", extra), Opaque("mine", {"b": 2**70})), first_token=1)
    run = Loop(Mine(lambda _: said), log=log).run_now(Task("x"))
    assert run.output == "Hi."
    assert log.run(run.run_id).messages[1].text == "Hi."


@pytest.mark.parametrize("inner", [True, False])
def test_a_cancellation_inside_of_a_provider_is_no_cancellation_of_the_run(inner: bool) -> None:
    class Tired(Mine):
        async def reply(self, request: Request) -> Any:
            if not inner:
                raise asyncio.CancelledError
            asleep = asyncio.ensure_future(asyncio.sleep(60))
            asleep.cancel()
            await asleep

    run = Loop(Tired(lambda _: None)).run_now(Task("x"))
    assert run.outcome is Outcome.failed
    assert "the provider 'mine' cancelled itself" in run.why


def test_a_provider_that_raises_a_timeout_is_told_in_its_own_words() -> None:
    def late(_: int) -> Reply:
        raise TimeoutError("the socket was silent for 5 s")

    run = Loop(Mine(late)).run_now(Task("x"))
    assert run.why == "timeout: TimeoutError: the socket was silent for 5 s"


def test_subclasses_of_what_is_stored_are_stored_as_what_they_are_made_from(log: Log) -> None:
    @frozen
    class Signed(Answer):
        signature: str = "x"

    class Wish(ToolCall):
        pass

    replies = [Reply((Wish("1", "look"),), "tool_calls"), "done"]
    asked = Loop(
        Mine(lambda call: replies[call - 1] if call == 1 else Reply((Text("done"),))),
        policies=[Approve("look")],
        ask=lambda question, run: Signed("approve", "Ada"),
        log=log,
    ).run_now(Task("x", tools=[look]))
    assert asked.output == "done"
    there = log.run(asked.run_id)
    assert there.answers == {k: Answer("approve", "Ada") for k in asked.answers}
    assert there.messages == asked.messages


# ----------------------------------------------------------------------------- tools and errors


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def fails(*_: object) -> Any:
    raise Speechless


def test_an_error_that_cannot_say_what_it_is_is_an_error_like_any() -> None:
    broken = tool(effect="read", name="broken", description="Break.")(lambda: fails())
    run = Loop(Scripted([ToolCall("1", "broken"), "Hi."])).run_now(
        Task("x", tools=[broken], checks=[fails])
    )
    results = [b for m in run.messages for b in m.blocks if isinstance(b, ToolResult)]
    assert "Speechless: it cannot say what it is" in results[0].content
    assert "Speechless" in run.answer.undecided[0].text  # type: ignore[union-attr]
    stopped = Loop(Scripted(["Hi."]), policies=[fails]).run_now(Task("x"))
    assert stopped.outcome is Outcome.failed
    assert "fails raised Speechless" in stopped.why


def test_a_cancellation_inside_of_a_tool_is_no_cancellation_of_the_run() -> None:
    @tool(effect="read")
    def give_up() -> str:
        """Give up."""
        raise asyncio.CancelledError

    run = Loop(Scripted([ToolCall("1", "give_up"), "ok"])).run_now(Task("x", tools=[give_up]))
    assert run.output == "ok"
    results = [b for m in run.messages for b in m.blocks if isinstance(b, ToolResult)]
    assert results[0].content == "give_up cancelled itself"


def second(text: str) -> str:
    return text.split()[1]


def test_a_validator_that_raises_is_told_to_the_model() -> None:
    task = Task("x", output=Annotated[str, AfterValidator(second)])
    run = Loop(Scripted(['"Ada"', '"Ada Lovelace"']), policies=[Retry(times=2)]).run_now(task)
    assert run.output == "Lovelace"
    assert "IndexError: list index out of range" in run.messages[2].text


def test_no_limit_of_time_is_as_long_as_one_likes() -> None:
    def patient(run: Run) -> Amend | None:
        call = run.call
        bounded = isinstance(call, ToolCall) and call.timeout is None
        return Amend(evolve(call, timeout=inf), "no hurry") if bounded else None

    task = Task("x", tools=[look], limits=Budget(seconds=unlimited))
    run = Loop(Scripted([ToolCall("1", "look"), "ok"]), policies=[patient]).run_now(task)
    assert run.output == "ok"


def test_a_call_that_cannot_be_made_is_an_error_of_its_policy() -> None:
    def boundless(run: Run) -> Amend:
        return Amend(evolve(run.call, max_tokens=None), "as many as it likes")  # type: ignore[type-var]

    run = Loop(Scripted(["Hi."]), policies=[boundless]).run_now(Task("x"))
    assert run.outcome is Outcome.failed
    assert "boundless raised TypeError: max_tokens=None: give a whole number" in run.why


def test_a_call_that_the_limit_of_time_cut_off_is_made_again_with_more(log: Log) -> None:
    task = Task("x")
    slow = Loop(Scripted(["late"], latency=5.0), policies=[Budget(seconds=0.05)], log=log)
    run = slow.run_now(task)
    assert run.outcome is Outcome.exhausted
    assert "the limit of 0.05 s is reached" in run.why
    more = Loop(Scripted(["in time"]), policies=[Budget(seconds=60)], log=log)
    assert more.resume_now(run.run_id, task).output == "in time"


# ------------------------------------------------------------------------------------- run_now


STUBBORN = """
import asyncio
from loopwright import Loop, Task
from loopwright.calls import ToolCall
from loopwright.models import Scripted
from loopwright.tools import tool

@tool(effect="read", timeout=0.05)
async def stubborn() -> str:
    "Take no cancellation."
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

model = Scripted([ToolCall("1", "stubborn"), "ok"])
print(Loop(model).run_now(Task("x", tools=[stubborn])).output)
"""


def test_a_script_ends_although_a_tool_takes_no_cancellation() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=60
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("ok\n", "", 0)


def test_what_waits_for_run_now_can_be_cancelled() -> None:
    """As the first Ctrl-C does with `asyncio.run`."""
    begun = threading.Event()
    seen: list[Run] = []

    @tool(effect="read")
    async def hang() -> str:
        """Hang."""
        begun.set()
        await asyncio.sleep(60)
        return "late"

    model = Scripted([ToolCall("1", "hang")])
    loop = Loop(model, watch=lambda run, event: seen.append(run))

    async def main() -> None:
        here, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            begun.wait()
            task.cancel()

        threading.Thread(target=interrupt).start()
        assert here.is_running()
        loop.run_now(Task("x", tools=[hang]))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert seen[-1].outcome is Outcome.cancelled


def test_what_was_cancelled_before_may_still_clean_up_with_run_now() -> None:
    done: list[Any] = []

    async def main() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            done.append(Loop(Scripted(["Hi."], latency=0.3)).run_now(Task("x")).output)

    async def cancelled() -> None:
        task = asyncio.ensure_future(main())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancelled())
    assert done == ["Hi."]


def test_an_error_of_run_now_has_no_other_for_its_cause() -> None:
    with pytest.raises(ValueError, match="needs the input 'name'") as raised:
        Loop(Scripted([])).run_now(Task("Greet {name}."))
    assert raised.value.__context__ is None


@pytest.mark.parametrize("apart", [False, True])
def test_a_tool_has_so_many_calls_at_once_in_a_process(apart: bool) -> None:
    """Of one event loop, or of several in threads of their own; what waits can be broken off."""
    now, most, lock = [0], [0], threading.Lock()

    @tool(effect="read", at_once=2)
    async def busy() -> str:
        """Be busy."""
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        await asyncio.sleep(0.02)
        with lock:
            now[0] -= 1
        return "done"

    task = Task("x", tools=[busy])
    calls = [ToolCall(str(i), "busy") for i in range(3)]

    def carried() -> Run:
        return Loop(Scripted([calls, "ok"])).run_now(task)

    if apart:
        threads = [threading.Thread(target=carried) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        assert carried().output == "ok"
    assert most == [2]
    assert not slots._queues


def test_who_waits_for_a_slot_may_be_cancelled() -> None:
    async def main() -> list[str]:
        entered: list[str] = []

        async def one(name: str, seconds: float) -> None:
            async with slots.Slot("x", 1):
                entered.append(name)
                await asyncio.sleep(seconds)

        first = asyncio.ensure_future(one("first", 0.05))
        await asyncio.sleep(0)
        waiting, third = (asyncio.ensure_future(one(n, 0.0)) for n in ("second", "third"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(first, third)
        return entered

    assert asyncio.run(main()) == ["first", "third"]
    assert not slots._queues


# ------------------------------------------------------------------------ policies only look


def test_a_policy_cannot_write_into_the_run_that_it_is_shown() -> None:
    for name in ("in_flight", "answers", "verdicts", "results", "facts"):

        def meddles(run: Run, name: str = name) -> None:
            getattr(run, name)["x"] = Answer("approve")

        run = Loop(Scripted(["Hi."]), policies=[meddles]).run_now(Task("x"))
        assert run.outcome is Outcome.failed
        assert "a run is to be looked at only: change a copy" in run.why
    assert Loop(Scripted(["Hi."])).run_now(Task("x")).output == "Hi."


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run.limits.update(model_calls=10**6),
        lambda run: run.setting.tools.pop("look"),
        lambda run: run.inputs.setdefault("name", "Eve"),
        lambda run: run.messages[1].blocks[0].arguments.clear(),
        lambda run: run.call.arguments.update(x=1),
    ],
)
def test_nor_into_what_it_was_begun_with_or_what_was_said(write: Callable[[Run], Any]) -> None:
    def meddles(run: Run) -> None:
        if isinstance(run.call, ToolCall):
            write(run)

    model = Scripted([ToolCall("1", "look"), "Hi."])
    run = Loop(model, policies=[meddles]).run_now(Task("Greet {name}.", tools=[look]), name="Ada")
    assert run.outcome is Outcome.failed
    assert "a run is to be looked at only: change a copy" in run.why


def test_what_is_called_is_what_everybody_was_asked_about(log: Log) -> None:
    paid: list[Any] = []

    @tool
    def pay(to: dict[str, int]) -> str:
        """Pay."""
        paid.append(to)
        return "paid"

    def changes(run: Run) -> None:
        if isinstance(run.call, ToolCall):
            run.call.arguments["to"]["Ada"] = 999

    model = Scripted([ToolCall("1", "pay", {"to": {"Ada": 5}}), "ok"])
    asked: list[str] = []
    loop = Loop(
        model,
        policies=[Approve("pay"), changes],
        ask=lambda question, run: asked.append(question.text) or "approve",
        log=log,
    )
    run = loop.run_now(Task("x", tools=[pay]))
    assert paid == [{"Ada": 5}]
    assert asked == ['May pay be called with {"to":{"Ada":5}}?']
    assert log.run(run.run_id).messages == run.messages


def test_a_run_is_copied_and_pickled_as_it_is() -> None:
    model = Scripted([ToolCall("1", "look"), "Hi."])
    run = Loop(model).run_now(Task("Greet {whom}.", tools=[look]), whom={"name": "Ada"})
    assert pickle.loads(pickle.dumps(run.events)) == run.events
    assert copy.deepcopy(run.inputs) == run.inputs == copy.copy(run.inputs)
    assert json.dumps(run.inputs) == '{"whom": {"name": "Ada"}}'
    plain = Loop(Scripted(["Hi."])).run_now(Task("Greet {whom}."), whom="Ada")
    assert pickle.loads(pickle.dumps(plain)) == plain == copy.deepcopy(plain)


# ------------------------------------------------------------------------- data as it is shown


@frozen
class Ticket:
    title: str
    votes: int = 0
    tags: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"$ref": "#/a", "type": "object"}, '{"$ref":"#/a","type":"object"}'),
        ({"$gt": 5}, '{"$gt":5}'),
        ([10**20, float("nan")], "[100000000000000000000,NaN]"),
        (Ticket("t"), '{"title":"t","votes":0,"tags":[]}'),
        ({"name": "Zoë"}, '{"name":"Zoë"}'),
    ],
)
def test_a_model_reads_inputs_as_they_are(given: Any, shown: str) -> None:
    model = Scripted(["ok"])
    Loop(model).run_now(Task("{it}"), it=given)
    assert model.requests[0].messages[0].text == shown


def test_a_person_reads_arguments_as_they_are() -> None:
    @tool
    def find(query: dict[str, Any]) -> str:
        """Find."""
        return "found"

    asked: list[str] = []
    model = Scripted([ToolCall("1", "find", {"query": {"$gt": 5}}), "ok"])
    Loop(
        model,
        policies=[Approve("find")],
        ask=lambda question, run: asked.append(question.text) or "approve",
    ).run_now(Task("x", tools=[find]))
    assert asked == ['May find be called with {"query":{"$gt":5}}?']


def test_the_floats_of_other_libraries_are_floats(log: Log) -> None:
    class Float(float):
        def __repr__(self) -> str:
            return f"np.float64({float(self)})"

    task = Task("{x}")
    run = Loop(Scripted(["ok"]), log=log).run_now(task, x=[Float("nan"), Float("inf"), Float(1.5)])
    there = log.run(run.run_id).inputs["x"]
    assert repr(there) == "[nan, inf, 1.5]"
