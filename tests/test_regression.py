"""Exported tests: they pass at once, and fail when a change alters a decision."""

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from forking import sending, the_loop
from hypothesis import given, settings
from hypothesis import strategies as st
from killed import Outside
from test_examples import EXAMPLES, environment
from test_laws import (
    _of_model,
    carried,
    driven,
    rules,
    setting,
    tasks,
    world,
    worlds,
)
from test_laws import house as policies_of
from test_whatif import house, recorded, told

from loopwright import BadInput, Log, LogError, Loop, Media, Outcome, RunNotFound, Task
from loopwright.calls import Failure, Reply, Request, ToolCall, ToolResult
from loopwright.events import Failed, Resumed, Returned
from loopwright.fold import folded
from loopwright.models import Scripted
from loopwright.models.rehearsal import Rehearsal
from loopwright.policies import Approve
from loopwright.policy import Policy
from loopwright.port import Inline
from loopwright.regression import Recording, app, export_test, save_test
from loopwright.regression import recorded as recording
from loopwright.tools import tool
from loopwright.whatif import replayed

# -------------------------------------------------------------------------------------------- laws


def carrier(rules: Sequence[Policy]) -> Loop:
    return Loop("world:weak", providers=[world([])], policies=list(rules))


def small(task: Task) -> Task:
    """As the laws' runs begin."""
    tools, checks = list(task.tools.values()), task.checks
    return Task(task.prompt, tools=tools, checks=checks, max_tokens=64)


@settings(max_examples=40)
@given(worlds, rules, tasks)
def test_the_same_loop_goes_the_same_way(
    script: list[Reply | Failure], rules: list[Policy], task: Task
) -> None:
    events = recorded(script, rules, task).events
    assert not Recording(events).difference(carrier(rules), small(task))
    half = Recording(events[: len(events) // 2 + 1])
    assert not half.difference(carrier(rules), small(task))


@settings(max_examples=40)
@given(worlds, rules, tasks, st.data())
def test_a_run_that_was_interrupted_goes_the_same_way_again(
    script: list[Reply | Failure], rules: list[Policy], task: Task, data: st.DataObject
) -> None:
    whole = recorded(script, rules, task)
    cut = data.draw(st.integers(1, whole.seq - 1), label="events before the crash")
    before = folded(whole.events[:cut], task)
    answered = sum(
        isinstance(e, Returned | Failed) and _of_model(e.call, whole) for e in before.events
    )
    policies = policies_of(rules)
    port = Inline({"world": world(script, answered)}, lambda *_: None)
    port.clock = before.time
    again = told(Resumed(port.now(), setting(policies)), task)
    resumed = driven(carried(before, again, policies, port))
    assert not Recording(resumed.events).difference(carrier(rules), small(task))


@settings(max_examples=40)
@given(worlds, rules, rules, tasks)
def test_other_policies_make_a_difference_where_they_decide_otherwise(
    script: list[Reply | Failure], rules: list[Policy], others: list[Policy], task: Task
) -> None:
    run = recorded(script, rules, task)
    row = replayed(run.events, house(others), task)
    found = Recording(run.events).difference(carrier(others), small(task))
    assert not row.divergence or found


# --------------------------------------------------------------------------------------- examples

FIRST_RUN = """\
from first_run import task
from loopwright import Loop
from loopwright.policies import Budget, Escalate, Retry

rules = [Budget(usd="0.50", seconds=120, tool_calls=10), Retry(times=1)]
loop = Loop("anthropic:claude-haiku-4-5", policies=[rules, Escalate("anthropic:claude-opus-5-5")])
"""

FOUR_ROLES = """\
from pathlib import Path

from four_roles import crew
from loopwright.policies import Budget

team = crew("anthropic:claude-haiku-4-5", Path())
loop = team.loop(policies=[Budget(usd=2, seconds=600)])
task = team.task("Write the module slugs.py, so that test_slugs.py passes.")
tester = team.agents["tester"]
tester_loop, tester_task = tester.loop, tester.task
"""

COOKBOOK = """\
from cookbook import first, letter, model, second
from loopwright import Budget, Loop, Task
from loopwright.models import Scripted
from loopwright.models.rehearsal import Rehearsal
from loopwright.policies import Approve, Escalate, Retry
from loopwright.tools import delegate

shop = [Scripted(model, name="shop")]
writer = Loop("shop:small", policies=[Retry(times=1), Escalate("shop:large")], providers=shop)
write = delegate(second, writer, usd="0.20", name="write")
both = Task("Advertise {what}.", name="campaign", tools=[write])
boss = Loop("shop:small", providers=shop)


def desk():
    policies = [Approve("refund"), Budget("0.0054", per="day", name="support")]
    return Loop("shop:small", policies=policies, providers=shop, log="desk.db")
"""

APPS = {"promo.py": FIRST_RUN, "crew.py": FOUR_ROLES, "shop.py": COOKBOOK}

LOOPS = {
    "weather promotion": "promo.py",
    "letter": "approve.py",
    "Write the module slugs.py, so that test…": "crew.py",
    "tester": "crew:tester_loop:tester_task",
    "shop letter": "shop.py:desk:letter",
    "shop promotion v1": "shop.py:writer:first",
    "shop promotion v2": "shop.py:writer:second",
    "shop campaign": "shop.py:boss:both",
}

POLICIES = {
    "promo.py": ("Retry(times=1)", "Retry(times=0)"),
    "approve.py": ('policies=[Approve("refund")]', "policies=[]"),
    "four_roles.py": ("rounds=12", "rounds=3"),
    "shop.py": ('Approve("refund"), ', ""),
}

PROMPTS = {
    "first_run.py": ("our umbrellas", "our raincoats"),
    "approve.py": ("Answer this letter", "Reply to this letter"),
    "crew.py": ("Write the module", "Please write the module"),
    "four_roles.py": ("Run the tests.", "Run all tests."),
    "cookbook.py": ("Write one sentence", "Write a sentence"),
    "shop.py": ("Advertise {what}.", "Advertise {what} well."),
}


RUNS = {
    "promo.py": {"city": "Shanghai", "day": "2026-11-20"},
    "approve.py": {"letter": "My cup arrived broken. I paid 40 euros. Order A-17."},
    "crew.py": {},
}


def carried_out(home: Path) -> None:
    """The examples, with the models that play in them, each in its log."""
    for name, inputs in RUNS.items():
        script = runpy.run_path(str(EXAMPLES / "four_roles.py"))["rehearsed"]()
        script = script if name == "crew.py" else None
        with Rehearsal(script) as rehearsal, pytest.MonkeyPatch.context() as patch:
            patch.chdir(home)
            for variable, value in rehearsal.environment.items():
                patch.setenv(variable, value)
            loop, task = app(name)
            loop.log, loop.watch = Log(home / f"{name}.db"), None
            run = loop.run_now(task, **inputs)
            if run.outcome is Outcome.waiting:
                loop.answer(run.run_id, "approve", by="Ada")
                run = loop.resume_now(run.run_id, task)
        assert run.outcome is Outcome.accepted
    runpy.run_path(str(EXAMPLES / "cookbook.py"))["main"](str(home / "shop.db"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the examples, a log of each, and an exported test of each of their runs."""
    home, modules = tmp_path_factory.mktemp("shop"), set(sys.modules)
    for name in ("first_run.py", "approve.py", "four_roles.py", "cookbook.py"):
        (home / name).write_text((EXAMPLES / name).read_text())
    for name, text in APPS.items():
        (home / name).write_text(text)
    (home / "test_slugs.py").write_text(runpy.run_path(str(home / "four_roles.py"))["TESTS"])
    carried_out(home)
    (home / "test_slugs.py").unlink()
    for path in home.glob("*.db"):
        log = Log(path)
        for run_id in log.ids():
            told = log.run(run_id)
            shop = ("shop", told.title, told.label) if path.stem == "shop" else (told.title,)
            title = " ".join(filter(None, shop))
            if title in LOOPS:
                kind = re.sub("[^a-z0-9]", "", title.lower())
                name = f"test_{kind}_{re.sub('[^a-z0-9]', '_', run_id)}.py"
                save_test(log, run_id, home / name, app=LOOPS[title])
        log.close()
    yield home
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(home)):
            del sys.modules[name]


def outcomes(home: Path) -> dict[str, str]:
    """What a real pytest says of each exported test, and why."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "-rA"]
    done = subprocess.run(
        [*command, "--rootdir", home, home],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = re.findall(r"^(PASSED|FAILED|ERROR) (test_\w+)\.py", done.stdout, re.MULTILINE)
    assert said, done.stdout + done.stderr
    parts = re.split(r"^_{3,} (test_\w+) _{3,}$", done.stdout, flags=re.MULTILINE)
    why = "\n".join(parts[1:])
    return {"why": why} | {name: verdict for verdict, name in said}


def planted(home: Path, tmp_path: Path, changes: dict[str, tuple[str, str]]) -> Path:
    for path in home.glob("*.py"):
        text = path.read_text()
        if path.name in changes:
            assert changes[path.name][0] in text
            text = text.replace(*changes[path.name])
        (tmp_path / path.name).write_text(text)
    return tmp_path


def test_the_tests_of_all_examples_pass_at_once(shop: Path) -> None:
    said = outcomes(shop)
    del said["why"]
    assert set(said.values()) == {"PASSED"}
    kinds = {name.split("_")[1] for name in said}
    assert len(kinds) == len(LOOPS), kinds
    assert len(said) >= 13


def test_they_fail_after_a_planted_change_of_a_policy(shop: Path, tmp_path: Path) -> None:
    said = outcomes(planted(shop, tmp_path, POLICIES))
    for kind in ("weatherpromotion", "letter", "writethemodule", "shopletter"):
        failed = [verdict for name, verdict in said.items() if name.startswith(f"test_{kind}")]
        assert "FAILED" in failed, kind
    assert "a: Retry: TryAgain" in said["why"]
    assert "b: Otherwise: Stop (rate_limited" in said["why"]
    assert "a: Approve: Ask" in said["why"] or "a: the decision: Approve: Ask" in said["why"]


def test_they_fail_after_a_planted_change_of_a_prompt(shop: Path, tmp_path: Path) -> None:
    said = outcomes(planted(shop, tmp_path, PROMPTS))
    assert "umbrellas that fits it." in said["why"]
    passed = {name for name, verdict in said.items() if verdict == "PASSED"}
    assert not {name for name in passed if not name.startswith("test_shopletter")}


# --------------------------------------------------------------------------------------- scenarios


def test_nothing_is_called(tmp_path: Path) -> None:
    """Also of a fork, of which only what is its own is gone through."""
    loop, task = the_loop(tmp_path), sending(tmp_path)
    assert loop.log is not None
    base = loop.run_now(task)
    fork = loop.fork_now(base.run_id, task, at=2)
    before = Outside(tmp_path).noted()
    silent = Loop(Scripted([], name="killed"))
    for one in (base, fork):
        Recording.of(recording(loop.log, one.run_id)).check(silent, task)
    assert Outside(tmp_path).noted() == before
    refusing = Loop(Scripted([], name="killed"), policies=[lambda run: None, Approve("send")])
    with pytest.raises(AssertionError, match="goes another way now"):
        Recording(fork.events).check(refusing, task)


def test_a_run_that_waits_or_was_cancelled_is_replayed(log: Log) -> None:
    @tool(effect="unsafe")
    def send() -> str:
        """Send."""
        return "sent"

    def said(request: Request) -> Any:
        last = request.messages[-1].blocks[-1]
        return "Done." if isinstance(last, ToolResult) else ToolCall("1", "send")

    task = Task("Send it.", tools=[send])
    loop = Loop(Scripted(said), policies=[Approve("send")], log=log)
    run_id = loop.run_now(task).run_id
    Recording(log.events(run_id)).check(loop, task)
    log.cancel(run_id, by="Ada")
    Recording(log.events(run_id)).check(loop, task)
    loop.resume_now(run_id, task)
    loop.answer(run_id, "approve", by="Ada")
    assert loop.resume_now(run_id, task).output == "Done."
    Recording(log.events(run_id)).check(loop, task)
    with pytest.raises(AssertionError, match="the call"):
        Recording(log.events(run_id)).check(Loop(Scripted(said)), task)


def test_a_fork_that_asks_again_is_replayed(log: Log) -> None:
    @tool(effect="unsafe")
    def send() -> str:
        """Send."""
        return "sent"

    def said(request: Request) -> Any:
        last = request.messages[-1].blocks[-1]
        return "Done." if isinstance(last, ToolResult) else [ToolCall(n, "send") for n in "12"]

    task = Task("Send it.", tools=[send])
    loop = Loop(Scripted(said), policies=[Approve("send")], log=log)
    base = loop.run_now(task)
    run = loop.fork_now(base.run_id, task, at=2)
    for question in run.questions:
        loop.answer(run.run_id, "approve", question=question.id)
    assert loop.resume_now(run.run_id, task).output == "Done."
    Recording(log.events(run.run_id)).check(loop, task)
    with pytest.raises(AssertionError, match="goes another way now"):
        Recording(log.events(run.run_id)).check(Loop(Scripted(said)), Task("Send it."))


def test_an_image_is_an_image_again(log: Log) -> None:
    task = Task("What is in {picture}, and in {others}?")
    image = Media("image/png", "iVBORw0KGgo=", name="a cat")
    loop = Loop(Scripted(["A cat."]), log=log)
    run_id = loop.run_now(task, picture=image, others=[image, image]).run_id
    Recording.of(recording(log, run_id)).check(loop, task)


QUOTES = "''' \"\"\" \\' \\N{BELL} {run} \u202e \x00 \ud800 </script> r''' \\"


def test_nothing_that_was_said_gets_out_of_the_text(tmp_path: Path) -> None:
    log = Log(tmp_path / "runs.db", "process")
    task = Task("Say {it}.", name=f"{QUOTES}\nimport os")
    loop = Loop(Scripted([QUOTES]), log=log)
    run_id = loop.run_now(task, it=QUOTES).run_id
    text = export_test(log, run_id, app="mine.py")
    assert all(char.isascii() and (char.isprintable() or char == "\n") for char in text)
    held: dict[str, Any] = {}
    exec(compile(text, "exported", "exec"), held)
    Recording.of(held["RECORDED"]).check(loop, task)
    assert Recording.of(held["RECORDED"]).events[1:] == tuple(log.events(run_id))[1:]
    names = [name for name in held if name.startswith("test_")]
    assert len(names) == 1
    log.close()


def test_secrets_are_masked(log: Log) -> None:
    key = "sk-ant-" + "a1" * 20
    run_id = (
        Loop(Scripted([f"It is {key}."]), log=log)
        .run_now(
            Task("Tell."),
        )
        .run_id
    )
    text = export_test(log, run_id, app="mine.py")
    assert key not in text
    assert "[redacted]" in text
    assert " process " not in text  # who carried it out is nobody's business


def test_a_long_recording_stands_beside_the_test(log: Log, tmp_path: Path) -> None:
    loop, task = Loop(Scripted(["x" * 100_001, "short"]), log=log), Task("Write.")
    path = tmp_path / "test_long.py"
    written = save_test(log, loop.run_now(task).run_id, path, app="mine.py")
    assert [one.name for one in written] == ["test_long.py", "test_long.jsonl"]
    assert len(path.read_text()) < 1_000
    assert "Path(__file__).with_name('test_long.jsonl')" in path.read_text()
    Recording.read(written[1]).check(loop, task)
    json.loads(written[1].read_text().splitlines()[0])
    assert save_test(log, loop.run_now(task).run_id, path, app="mine.py") == (path,)


def test_no_recording_is_put_over_other_data(log: Log, tmp_path: Path) -> None:
    run = Loop(Scripted(["x" * 100_001]), log=log).run_now(Task("Write."))
    data = tmp_path / "test_long.jsonl"
    data.write_text("mine")
    with pytest.raises(BadInput, match=r"test_long\.jsonl is there already, and is no test"):
        save_test(log, run.run_id, tmp_path / "test_long.py", app="mine.py")
    assert data.read_text() == "mine"


def test_apps_are_found_and_what_is_wrong_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    text = (
        "from loopwright import Loop, Task\n"
        "loop = Loop('anthropic:claude-haiku-4-5')\n"
        "def make():\n    return Task('Greet.')\n"
        "task, wrong = make(), 42\n"
    )
    (tmp_path / "an_app.py").write_text(text)
    test = str(tmp_path / "test_it.py")
    for spec in ("an_app.py", "an_app.py:loop", "an_app.py:loop:make", f"{tmp_path}/an_app.py"):
        loop, task = app(spec, test)
        assert (loop.model, task.prompt) == ("anthropic:claude-haiku-4-5", "Greet.")
    monkeypatch.chdir(tmp_path)
    assert app("an_app:loop:task")[1].prompt == "Greet."
    for spec, why in {
        "an_app.py:missing": "has no 'missing': name the Loop",
        "an_app.py:loop:wrong": "wrong is a int, and no Task",
        "no_app.py": "there is no file no_app.py",
        "no_such_module": "there is no module 'no_such_module'",
        "": "say FILE_OR_MODULE",
    }.items():
        with pytest.raises(BadInput, match=re.escape(why)):
            app(spec, test)


def test_what_cannot_be_exported_is_said(log: Log) -> None:
    with pytest.raises(RunNotFound):
        export_test(log, "missing", app="mine.py")
    run_id = Loop(Scripted(["Hello."]), log=log).run_now(Task("Greet.")).run_id
    with pytest.raises(BadInput, match="FILE:loop:task"):
        export_test(log, run_id, app="mine\n.py")
    with pytest.raises(LogError, match="line 1 is no event"):
        Recording.of("nonsense")
