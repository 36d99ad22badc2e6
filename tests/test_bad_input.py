"""Bad input gets an error that says what to do, before anything is spent; nothing is lost."""

import asyncio
import re
from collections.abc import Callable
from enum import Enum
from typing import Any, cast
from unittest.mock import Mock

import pytest
from attrs import frozen

from loopwright import (
    BadInput,
    Log,
    Loop,
    Media,
    Options,
    Outcome,
    Policy,
    Run,
    Task,
    unlimited,
)
from loopwright.calls import Message, Reply, Request, Text, ToolCall
from loopwright.decisions import Decision
from loopwright.models import OpenAI, Scripted
from loopwright.policies import Approve, Budget, CacheReplies, Escalate, Matches, Retry
from loopwright.port import Port
from loopwright.tools import delegate, tool


@tool
def send(to: str) -> str:
    """Send."""
    return to


def run_with(**inputs: Any) -> Run:
    return Loop(Scripted(["ok"])).run_now(Task("Go to {city}."), **inputs)


class NoChoice(Enum):
    """Choices of which there are none."""


class NoAnswer:
    """A type that nothing can be parsed into."""


class Nameless:
    """A provider that does not say how it is called."""

    async def reply(self, request: Request) -> Reply:
        return Reply((Text("ok"),))


class Eager:
    """A check, and a watch, that would have to be awaited."""

    async def __call__(self, answer: object, event: object = None) -> str:
        return "bad"


class Mute:
    """A judge that does not say how long its verdict may be."""

    def ask(self, run: Run) -> list[Message]:
        return [Message("user", [Text("Is it good?")])]

    def read(self, reply: Reply) -> str:
        return "no good"


class Blind(Mute):
    """A judge that does not read its verdict."""

    max_tokens = 10
    read = None  # type: ignore[assignment]


class Wordy(Mute):
    """A judge whose number is a text."""

    max_tokens: Any = "10"


class Narrow(Mute):
    """A judge whose verdict has no room."""

    max_tokens = 0


class NoPort:
    """What wraps the port, and gives none."""

    def port(self, inner: Port, log: Log | None) -> Port:
        return None  # type: ignore[return-value]


def always(run: Run) -> bool:
    return True


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "no provider": (lambda: Loop("claude-haiku-4-5"), "'provider:model'"),
    "unknown provider": (lambda: Loop("antropic:claude-haiku-4-5"), "anthropic"),
    "unknown model on the ladder": (
        lambda: Loop(Scripted([]), policies=[Escalate("nobody:strong")]),
        "nobody",
    ),
    "a rung without a provider": (lambda: Escalate("strong"), "'provider:model'"),
    "missing input": (run_with, "the prompt of 'Go to {city}.' needs the input 'city'"),
    "unknown input": (
        lambda: run_with(city="Paris", town="Paris"),
        "the prompt of 'Go to {city}.' has no input 'town'",
    ),
    "misspelt input": (
        lambda: run_with(city="Paris", citty="Paris"),
        "has no input 'citty': did you mean 'city'?",
    ),
    "an input that is no data": (
        lambda: run_with(city=object()),
        "the input 'city' cannot be put into the prompt: a object",
    ),
    "no prompt": (lambda: Task(""), "a task needs a prompt"),
    "a brace in the prompt": (lambda: Task('Give {"a": 1}.'), "a literal brace is doubled: {{ }}"),
    "half a brace": (lambda: Task("Give {a."), "a literal brace is doubled"),
    "an attribute in the prompt": (
        lambda: Task("Hello {user.name}."),
        "only plain names such as {city} can be filled in",
    ),
    "no tokens": (lambda: Task("x", max_tokens=0), "give a whole number of at least 1"),
    "no check": (lambda: Task("x", checks=["short"]), "'short' is no check"),
    "no tool": (lambda: Task("x", tools=[len]), "is no tool: decorate the function with @tool"),
    "two tools of one name": (
        lambda: Task("x", tools=[send, send]),
        "two tools are called 'send': give one of them another name",
    ),
    "an output of no choices": (
        lambda: Task("x", output=list[NoChoice]),
        "NoChoice cannot be held in JSON (it has no members)",
    ),
    "an output that is no data": (lambda: Task("x", output=NoAnswer), "NoAnswer"),
    "a negative limit": (
        lambda: Budget(usd=-1),
        "Budget(usd=-1): give a number of at least 0, or unlimited",
    ),
    "a limit that is no number": (lambda: Budget(seconds="soon"), "Budget(seconds='soon')"),
    "a limit that is not a number": (lambda: Budget(tokens=float("nan")), "Budget(tokens=nan)"),
    "unpriced": (lambda: Budget(unpriced="maybe"), "say 'refuse' or 'allow'"),
    "an approval of nothing": (lambda: Approve(), "Approve(...) needs the names of tools"),
    "no runs at once": (
        lambda: Loop(Scripted([])).map_now(Task("x"), [{}], at_once=0),
        "at_once=0: give a whole number of at least 1",
    ),
    "one bad input among many": (
        lambda: Loop(Scripted([])).map_now(Task("{a}"), [{"a": 1}, {"b": 1}]),
        "needs the input 'a'",
    ),
    "a policy that is none": (lambda: Loop(Scripted([]), policies=[3]), "3 is no policy"),
    "a text for a task": (
        lambda: Loop(Scripted([])).run_now("Hello."),  # type: ignore[arg-type]
        "'Hello.' is no task: give a Task, as in Task('Summarise {text}.')",
    ),
    "a text for a task, to lint": (
        lambda: Loop(Scripted([])).lint("Hello."),  # type: ignore[arg-type]
        "'Hello.' is no task",
    ),
    "a class for a task": (
        lambda: Loop(Scripted([])).map_now(Task, [{}]),  # type: ignore[arg-type]
        "is no task",
    ),
    "one tool": (
        lambda: Task("x", tools=send),  # type: ignore[arg-type]
        "give a list of tools",
    ),
    "tools that are no list": (
        lambda: Task("x", tools=5),  # type: ignore[arg-type]
        "tools=5: give a list of tools",
    ),
    "tools in a list in the list": (
        lambda: Task("x", tools=[[send]]),  # type: ignore[list-item]
        "is a list in the list: put a * before it",
    ),
    "a provider by name": (
        lambda: Loop(Scripted([]), providers=["openai"]),  # type: ignore[list-item]
        "providers: 'openai' is no provider: give an object, such as OpenAI()",
    ),
    "one provider": (
        lambda: Loop(Scripted([]), providers=Scripted([])),  # type: ignore[arg-type]
        "give a list of providers",
    ),
    "providers that are no list": (
        lambda: Loop(Scripted([]), providers=5),  # type: ignore[arg-type]
        "providers=5: give a list of providers",
    ),
    "the class of a port": (
        lambda: Loop(Scripted([]), ports=[CacheReplies]),  # type: ignore[list-item]
        "wraps no port: give an object with port(inner, log), such as CacheReplies(seconds=60)",
    ),
    "what wraps no port": (
        lambda: Loop(Scripted([]), ports=[object()]),  # type: ignore[list-item]
        "wraps no port",
    ),
    "one port": (
        lambda: Loop(Scripted([]), ports=CacheReplies(60)),  # type: ignore[arg-type]
        "give a list of ports",
    ),
    "a watch that is no function": (
        lambda: Loop(Scripted([]), watch="yes"),  # type: ignore[arg-type]
        "watch='yes': give True, or a function of the run and event",
    ),
    "an ask that is no function": (
        lambda: Loop(Scripted([]), ask="approve"),  # type: ignore[arg-type]
        "ask='approve': give a function of the question and the run",
    ),
    "a log that is no path": (
        lambda: Loop(Scripted([]), log=3),  # type: ignore[arg-type]
        "log=3: give the path of the file, or a Log",
    ),
    "a log in bytes": (
        lambda: Loop(Scripted([]), log=b"runs.db"),  # type: ignore[arg-type]
        "log=b'runs.db': give the path",
    ),
    "a log with a NUL": (
        lambda: Loop(Scripted([]), log="a\0b"),
        "log='a\\x00b': give the path",
    ),
    "texts for inputs": (
        lambda: Loop(Scripted([])).map_now(Task("{a}"), ["ab"]),  # type: ignore[list-item]
        "inputs: 'ab' holds no inputs: give a dict of them for each run",
    ),
    "the inputs of one run": (
        lambda: Loop(Scripted([])).map_now(Task("{a}"), {"a": 1}),  # type: ignore[dict-item]
        "give a list of inputs",
    ),
    "an input with a number for a name": (
        lambda: Loop(Scripted([])).map_now(Task("{a}"), [{"a": 1, 5: 2}]),  # type: ignore[dict-item]
        "has no input 5",
    ),
    "a progress that is no function": (
        lambda: Loop(Scripted([])).map_now(Task("x"), [{}], progress=5),
        "progress=5: give a function of how many are done",
    ),
    "a provider without a name": (
        lambda: Loop(Nameless()),  # type: ignore[arg-type]
        "is no model: say 'provider:model', or give a provider",
    ),
    "two providers of one name": (
        lambda: Loop("p:x", providers=[Scripted([], name="p"), Scripted([], name="p")]),
        "two providers are called 'p': give one of them another name",
    ),
    "a provider of the name of the model": (
        lambda: Loop(Scripted([]), providers=[Scripted([])]),
        "two providers are called 'scripted'",
    ),
    "an asynchronous check": (lambda: Task("x", checks=[Eager()]), "is async: a check is a plain"),
    "an asynchronous function as a watch": (
        lambda: Loop(Scripted([]), watch=Eager().__call__),
        "is async: give True, or a function of the run and event",
    ),
    "an asynchronous watch": (lambda: Loop(Scripted([]), watch=Eager()), "is async: give True"),
    "a judge without max_tokens": (
        lambda: Task("x", checks=[Mute()]),  # type: ignore[list-item]
        "give it max_tokens, a whole number from 1, and read(reply) or count(replies, run)",
    ),
    "a judge whose verdict is as long as a text": (
        lambda: Task("x", checks=[Wordy()]),
        "asks a model: give it max_tokens, a whole number from 1, and read(reply) or",
    ),
    "a judge whose verdict has no room": (
        lambda: Task("x", checks=[Narrow()]),
        "a whole number from 1",
    ),
    "a pattern of bytes": (lambda: Matches(b"x"), "give a regular expression: it is no text"),  # type: ignore[arg-type]
    "a mock as a check": (
        lambda: Task("x", checks=[Mock(return_value=None)]),
        "asks a model: give it max_tokens, a whole number",
    ),
    "a judge that reads nothing": (lambda: Task("x", checks=[Blind()]), "asks a model: give it"),
    "a wrap that gives no port": (
        lambda: Loop(Scripted([]), ports=[NoPort()]).run_now(Task("x")),
        "gave None: port(inner, log) gives the port around inner",
    ),
    "a limit above the default, under a condition": (
        lambda: Loop(Scripted([]), policies=[Budget(usd=50).when(always)]).run_now(Task("x")),
        "Budget.when(always)(usd=50): the default of 1 usd holds beside it, so it has no effect",
    ),
    "a limit that is lifted under a condition": (
        lambda: Loop(
            Scripted([]), policies=[Budget(steps=unlimited).when(always).when(always)]
        ).run_now(Task("x")),
        "the default of 100 steps holds beside it",
    ),
    "models without a price, under a condition": (
        lambda: Loop(Scripted([]), policies=[Budget(unpriced="allow").when(always)]).run_now(
            Task("x")
        ),
        "unpriced='allow' holds for a whole loop: say it in a Budget without when",
    ),
    "a limit of a delegate above the default, under a condition": (
        lambda: delegate(
            Task("x"), Loop(Scripted([]), policies=[Budget(steps=500).when(always)]), usd=1
        ),
        "the default of 100 steps holds beside it",
    ),
    "a script of one number": (
        lambda: Scripted(5),  # type: ignore[arg-type]
        "takes a list of replies or a function",
    ),
    "an answer to nothing": (
        lambda: Loop(Scripted([])).answer("r", "yes"),
        "keeps no log: give it one with",
    ),
}


def test_a_run_cannot_be_resumed_forked_or_unwound_with_a_text(log: Log) -> None:
    loop, text = Loop(Scripted(["ok"]), log=log), cast("Task", "Go.")
    run = loop.run_now(Task("Go."))
    wrong: list[Callable[[], object]] = [
        lambda: loop.resume_now(run.run_id, text),
        lambda: loop.fork_now(run.run_id, text, at=0),
        lambda: asyncio.run(loop.unwind(run.run_id, text)),
        lambda: asyncio.run(loop.run_as(run.run_id, text, {})),
    ]
    for act in wrong:
        with pytest.raises(BadInput, match=r"'Go\.' is no task: give a Task"):
            act()


@pytest.mark.parametrize("name", WRONG)
def test_the_error_says_what_to_do(name: str) -> None:
    wrong, message = WRONG[name]
    with pytest.raises(BadInput, match=re.escape(message)):
        wrong()


@pytest.mark.parametrize("times", [-1, "two"])
def test_a_retry_that_cannot_be(times: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        Retry(times=times)


@pytest.mark.parametrize(
    ("model", "variable"),
    [("anthropic:claude-haiku-4-5", "ANTHROPIC_API_KEY"), ("openai:gpt-5", "OPENAI_API_KEY")],
)
def test_a_missing_key(monkeypatch: pytest.MonkeyPatch, model: str, variable: str) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(BadInput, match=variable):
        Loop(model)


def test_a_model_without_a_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key-at-all")
    with pytest.raises(BadInput, match="set_price"):
        Loop("openai:gpt-from-tomorrow")
    Loop("openai:gpt-from-tomorrow", policies=[Budget(unpriced="allow")])
    Loop("openai:gpt-from-tomorrow", providers=[OpenAI()], policies=[Budget(unpriced="allow")])


def test_a_policy_that_raises_stops_the_run_with_its_traceback_in_the_log(log: Log) -> None:
    @frozen
    class Broken(Policy):
        def decide(self, run: Run) -> Decision | None:
            return 1 // 0 if run.moment == "answer" else None  # type: ignore[return-value]

    run = Loop(Scripted(["ok"]), policies=[Broken()], log=log).run_now(Task("x"))
    assert run.outcome is Outcome.failed
    assert (
        run.why == "the policy Broken raised ZeroDivisionError: integer division or modulo by zero"
    )
    assert run.output_data == "ok"
    (traceback,) = log.connection.execute(
        "select json_extract(data, '$.traceback') from events where type = 'Ended'"
    ).fetchone()
    assert "in decide" in traceback or "$part" in traceback


def test_a_policy_that_returns_something_else(log: Log) -> None:
    run = Loop(Scripted(["ok"]), policies=[lambda run: "stop"], log=log).run_now(Task("x"))
    assert run.outcome is Outcome.failed
    assert run.why == (
        "the policy <lambda> said 'stop' before a call, where it may say: "
        "Refuse, Ask, Amend, TryAgain, Switch, Stop, or None"
    )
    assert run.spent.model_calls == 0


def test_policies_that_never_settle_are_stopped() -> None:
    from loopwright.decisions import Switch

    def restless(run: Run) -> Decision | None:
        return Switch("scripted:other", "not that one") if run.moment == "call" else None

    run = Loop(Scripted(["ok"]), policies=[restless]).run_now(Task("x"))
    assert run.outcome is Outcome.failed
    assert run.why == (
        "the policies did not settle: 100 decisions in a row without a call, the last one by "
        "restless: Switch('not that one')"
    )


def test_an_answer_that_was_not_asked_for(log: Log) -> None:
    loop = Loop(
        Scripted([ToolCall("1", "send", {"to": "Ada"}), "ok"]), policies=[Approve("send")], log=log
    )
    task = Task("x", tools=[send])
    run = loop.run_now(task)
    assert run.outcome is Outcome.waiting
    with pytest.raises(BadInput, match=r"'perhaps' is no answer to .* one of 'approve', 'deny'"):
        loop.answer(run.run_id, "perhaps")
    with pytest.raises(BadInput, match="waits for no answer to q99"):
        loop.answer(run.run_id, "approve", question="q99")
    with pytest.raises(BadInput, match=r"by=5.* is no answer: its text, by and note are texts"):
        loop.answer(run.run_id, "approve", by=5)  # type: ignore[arg-type]
    loop.answer(run.run_id, "approve", by="Ada")
    with pytest.raises(BadInput, match="waits for no answer"):
        loop.answer(run.run_id, "deny")
    assert loop.resume_now(run.run_id, task).outcome is Outcome.accepted


def test_under_a_condition_a_budget_tightens() -> None:
    """Also one that is above the default, where another budget lifts that."""

    def poor(run: Run) -> bool:
        return bool(run.inputs["poor"])

    tight = [
        Budget(model_calls=1).when(poor),
        Budget(model_calls=40),
        Budget(model_calls=30).when(poor),
    ]
    model = Scripted(lambda request: "no")
    task = Task("{poor}", checks=[lambda answer: "no"])
    for whether, calls in ((True, 1), (False, 3)):
        run = Loop(model, policies=[Retry(times=2), tight]).run_now(task, poor=whether)
        assert run.spent.model_calls == calls


def test_what_a_budget_under_a_condition_tightens_the_task_may_have_lifted() -> None:
    """It is known when a run begins; without it, nothing has been spent by then."""
    model = Scripted(["ok"])
    loop = Loop(model, policies=[Budget(usd=2, unpriced="allow").when(always)])
    lifting = Task("x", limits=Budget(usd=5, unpriced="allow"))
    assert loop.run_now(lifting).outcome is Outcome.accepted
    for carry_out in (loop.run_now, loop.lint):
        with pytest.raises(BadInput, match="the default of 1 usd holds beside it"):
            carry_out(Task("x"))
    assert len(model.requests) == 1


def test_the_same_provider_twice_is_one() -> None:
    model = Scripted(["ok"])
    assert Loop(model, providers=[model, model]).run_now(Task("x")).output == "ok"


def test_a_document_that_may_be_too_much_is_named() -> None:
    paper = Media("application/pdf", url="https://example.org/a.pdf")
    run = Loop(Scripted(["ok"])).run_now(Task("Read {paper}."), paper=paper)
    assert run.outcome is Outcome.exhausted
    assert run.why.endswith("more asked (a document may fill the whole context of its model)")


def test_unlimited_must_be_written_out() -> None:
    assert Budget(tool_calls=unlimited).limits == {}
    run = Loop(Scripted(lambda request: [ToolCall("1", "send", {"to": "Ada"})])).run_now(
        Task("x", tools=[send])
    )
    assert run.outcome is Outcome.exhausted
    assert run.why == "the limit of 25 model calls would be passed: 25 used, 1 more asked"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"effort": 3}, "Options(effort=3): give a text"),
        ({"tool_choice": None}, "Options(tool_choice=None): give a text"),
        ({"tool_choice": "look"}, "say one of 'auto', 'none', 'required'"),
        ({"extra": {"openai": {"x": object()}}}, "this is no JSON data"),
        ({"extra": {"openai": {"x": float("nan")}}}, "this is no JSON data"),
        ({"extra": {"openai": 1}}, "give an object by the name of each provider"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        Task("x", options=Options(**options))


@pytest.mark.parametrize(
    "media",
    [
        Media("image/png"),
        Media("image/png", "aGk=", "https://x/y.png"),
        Media("image/png", "data:image/png;base64,aGk="),
    ],
)
def test_media_that_cannot_be_shown(media: Media) -> None:
    with pytest.raises(BadInput, match="the input 'photo': "):
        Loop(Scripted(["ok"])).run_now(Task("What is in {photo}?"), photo=media)


def test_media_are_shown_before_the_prompt() -> None:
    model = Scripted(["A cat."])
    photo = Media("image/png", "aGk=", name="cat.png")
    Loop(model).run_now(Task("What is in {photo}?"), photo=photo)
    (message,) = model.requests[0].messages
    assert message.blocks == (photo, Text("What is in [image cat.png]?"))


@pytest.mark.parametrize("given", ["", "x" * 501, "half \ud800", "a\0b", 7])
def test_what_cannot_name_a_run_or_a_ceiling_is_refused(given: Any) -> None:
    """Else the log would refuse it, in the middle of the run."""
    loop = Loop(Scripted(["Hi."]))
    with pytest.raises(BadInput, match="is no name of a run"):
        asyncio.run(loop.run_as(given, Task("Greet."), {}))
    if given:
        with pytest.raises(BadInput, match=r"a name is a text|is no name of a ceiling"):
            Budget(usd=1, name=given)
