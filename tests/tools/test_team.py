"""Agents that hand a task on to each other, along the edges of a table."""

import json
from pathlib import Path
from typing import Any

import pytest

from loopwright import BadInput, Budget, Log, Loop, Outcome, Task
from loopwright.calls import ToolCall
from loopwright.events import Decided, Intended
from loopwright.models import Scripted
from loopwright.policies import Retry
from loopwright.tools import files, tool
from loopwright.tools.delegate import Delegate, delegate
from loopwright.tools.team import HandOff, Team

EDGES = {
    "planner": ["coder"],
    "coder": ["reviewer"],
    "reviewer": ["tester", "coder"],
    "tester": ["done", "coder"],
}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "runs.db", "process")


def to(name: str, message: str) -> str:
    return json.dumps({"to": name, "message": message})


def agent(name: str, *answers: str) -> Delegate:
    model = Scripted(list(answers), name=name)
    task = Task(f"You are the {name}.\n{{message}}", output=HandOff, name=name)
    return delegate(task, Loop(model), usd=0, name=name)


def team(rounds: int = 10, **answers: list[str]) -> Team:
    return Team([agent(name, *answers.get(name, [])) for name in EDGES], EDGES, rounds)


def called(run: Any) -> list[str]:
    return [
        e.call.name for e in run.events if isinstance(e, Intended) and hasattr(e.call, "arguments")
    ]


STRAIGHT: dict[str, list[str]] = {
    "planner": [to("coder", "Add it up.")],
    "coder": [to("reviewer", "def add(): ..."), to("reviewer", "def add(a, b): return a + b")],
    "reviewer": [to("coder", "It has no body."), to("tester", "Looks good.")],
    "tester": [to("done", "All tests pass.")],
}


def test_the_work_goes_along_the_edges(log: Log) -> None:
    crew = team(**STRAIGHT)
    run = crew.loop(log=log).run_now(crew.task("Write add."))
    assert (run.outcome, run.output) == (Outcome.accepted, "All tests pass.")
    assert called(run) == ["planner", "coder", "reviewer", "coder", "reviewer", "tester"]
    second = [e.call for e in run.events if isinstance(e, Intended)][7]
    assert "\n\n[reviewer] It has no body.\n\n" in second.arguments["message"]  # type: ignore[union-attr]
    assert len(log.ids()) == 7


def test_a_hand_off_outside_of_the_table_is_refused_and_told(log: Log) -> None:
    answers = {**STRAIGHT, "planner": [to("tester", "Test it!"), to("coder", "Add it up.")]}
    crew = team(**answers)
    run = crew.loop(log=log).run_now(crew.task("Write add."))
    assert run.outcome is Outcome.accepted
    (refused,) = [e for e in run.events if isinstance(e, Decided) and e.policy == "Edges"]
    why = "planner may hand off to coder, and not to tester"
    assert refused.decision.why == why  # type: ignore[union-attr]
    assert called(run)[:3] == ["planner", "planner", "coder"]
    asked = crew.agents["planner"].loop.providers["planner"].requests[1]  # type: ignore[attr-defined]
    assert why in asked.messages[0].text


def test_one_to_nobody_is_told_too(log: Log) -> None:
    answers = {**STRAIGHT, "planner": [to("boss", "Done?"), to("coder", "Add it up.")]}
    crew = team(**answers)
    run = crew.loop(log=log).run_now(crew.task("Write add."))
    assert run.outcome is Outcome.accepted
    assert "There is no tool 'boss'" in run.decisions[0].decision.why  # type: ignore[union-attr]


def test_done_only_by_who_may_say_so(log: Log) -> None:
    answers = {**STRAIGHT, "planner": [to("done", "That was easy."), to("coder", "Add it up.")]}
    crew = team(**answers)
    run = crew.loop(log=log).run_now(crew.task("Write add."))
    assert run.output == "All tests pass."
    assert called(run)[:3] == ["planner", "planner", "coder"]


def test_nobody_hands_off_to_itself_unless_the_table_says_so(log: Log) -> None:
    answers = {**STRAIGHT, "planner": [to("planner", "Hm."), to("coder", "Add it up.")]}
    crew = team(**answers)
    run = crew.loop(log=log).run_now(crew.task("Write add."))
    assert run.decisions[0].decision.why == "planner may hand off to coder, and not to planner"  # type: ignore[union-attr]
    assert called(run)[:3] == ["planner", "planner", "coder"]
    assert run.outcome is Outcome.accepted


def test_one_that_insists_is_capped(log: Log) -> None:
    crew = team(5, planner=[to("tester", "Test it!")] * 9)
    run = crew.loop(log=log).run_now(crew.task("Write add."))
    assert (run.outcome, called(run)) == (Outcome.exhausted, ["planner"] * 3)


def test_an_agent_is_told_to_whom_it_may_hand_off(log: Log) -> None:
    crew = team(**STRAIGHT)
    crew.loop(log=log).run_now(crew.task("Write add."))
    asked = crew.agents["reviewer"].loop.providers["reviewer"].requests[0]  # type: ignore[attr-defined]
    told = "[team] You are the reviewer. You may hand off to: tester, coder."
    assert asked.messages[0].text.endswith(told)


def test_what_a_check_finds_goes_to_who_said_done(log: Log) -> None:
    tested = [to("done", "I think so."), to("done", "All tests pass.")]
    crew = team(**{**STRAIGHT, "tester": tested})
    task = crew.task("Write add.", checks=[lambda said: None if "pass" in said else "Run them!"])
    run = crew.loop(log=log, policies=[Retry(times=1, backoff=0)]).run_now(task)
    assert (run.outcome, run.output) == (Outcome.accepted, "All tests pass.")
    assert called(run)[-2:] == ["tester", "tester"]
    asked = crew.agents["tester"].loop.providers["tester"].requests[1]  # type: ignore[attr-defined]
    assert "[team] Your answer was not accepted:\n- Run them!" in asked.messages[0].text


def test_agents_have_tools_and_checks_of_their_own(log: Log) -> None:
    """The table says nothing about what they do in their own runs."""

    @tool(effect="read")
    def look(path: str) -> str:
        """Look."""
        return "def add(): ..."

    model = Scripted(
        [ToolCall("1", "look", {"path": "add.py"}), "no JSON", to("done", "Seen.")], name="reader"
    )
    task = Task("{message}", output=HandOff, tools=[look], name="reader")
    reader = delegate(task, Loop(model, policies=[Retry(times=1, backoff=0)]), usd=0)
    crew = Team([reader], {"reader": ["done"]}, rounds=1)
    run = crew.loop(log=log).run_now(crew.task("Read add."))
    assert (run.outcome, run.output) == (Outcome.accepted, "Seen.")


def test_what_agents_wrote_is_undone_when_the_team_does_not_get_done(
    log: Log, tmp_path: Path
) -> None:
    (tmp_path / "repository").mkdir()
    write = ToolCall("1", "write_file", {"path": "add.py", "text": "def add(): ..."})
    model = Scripted([write, to("coder", "Here."), to("coder", "Still here.")], name="coder")
    tools = files(tmp_path / "repository", write=True)
    task = Task("{message}", output=HandOff, tools=tools, name="coder")
    crew = Team([delegate(task, Loop(model), usd=0)], {"coder": ["coder", "done"]}, rounds=2)
    run = crew.loop(log=log).run_now(crew.task("Write add."))
    assert run.outcome is Outcome.exhausted
    assert list(log.db.query("select 1 from tool_calls where tool = 'write_file'"))
    assert not (tmp_path / "repository" / "add.py").exists()


def test_a_team_can_be_an_agent_of_another_loop(log: Log) -> None:
    crew = team(**STRAIGHT)
    shop = delegate(crew.task("Write {what}."), crew.loop(), usd=0, name="shop")
    boss = Scripted([ToolCall("1", "shop", {"what": "add"}), "Delivered."], name="boss")
    run = Loop(boss, log=log).run_now(Task("Have it written.", tools=[shop]))
    assert run.output == "Delivered."
    assert len(log.ids()) == 8


def test_rounds_are_capped(log: Log) -> None:
    again = [to("reviewer", "Here."), to("reviewer", "Here."), to("reviewer", "Here.")]
    no = [to("coder", "No."), to("coder", "No."), to("coder", "No.")]
    crew = team(4, **{**STRAIGHT, "coder": again, "reviewer": no})
    run = crew.loop(log=log).run_now(crew.task("Write add."))
    assert called(run) == ["planner", "coder", "reviewer", "coder"]
    assert run.outcome is Outcome.exhausted
    assert run.why.endswith(
        "after 4 hand-offs nobody is called any more. The last: coder to reviewer: Here."
    )


def test_an_agent_that_ends_badly_ends_the_work(log: Log) -> None:
    crew = team(planner=["no JSON"])
    run = crew.loop(log=log).run_now(crew.task("Write add."))
    assert run.outcome is Outcome.failed
    assert run.why.startswith("planner ended as rejected")


def test_a_team_stands_under_policies_like_any_loop(log: Log) -> None:
    crew = team(**STRAIGHT)
    run = crew.loop(log=log, policies=[Budget(tool_calls=2)]).run_now(crew.task("Write add."))
    assert run.outcome is Outcome.exhausted
    assert called(run) == ["planner", "coder"]


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ({"planner": ["nobody"]}, "the edges name 'nobody', which is no agent of the team"),
        ({}, "a team needs edges"),
        (["planner"], r"edges: give lists of names by name, such as {'planner': \['done'\]}"),
        ({"planner": "done"}, "edges: give lists of names by name"),
        ({"planner": [7]}, "edges: give lists of names by name"),
    ],
)
def test_edges_that_lead_nowhere(edges: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Team([agent(name) for name in EDGES], edges)


@pytest.mark.parametrize("rounds", [0, "3", 2.5])
def test_rounds_that_cannot_be(rounds: Any) -> None:
    with pytest.raises(BadInput, match=r"rounds=.*: give a whole number of at least 1"):
        Team([agent(name) for name in EDGES], EDGES, rounds)


def test_two_agents_of_one_name() -> None:
    with pytest.raises(BadInput, match="two agents are called 'planner': give one of them"):
        Team([agent("planner"), agent("planner")], {"planner": ["done"]})
    planner = agent("planner")
    assert len(Team([planner, planner], {"planner": ["done"]}).agents) == 1


def test_agents_that_cannot_be_in_a_team() -> None:
    with pytest.raises(BadInput, match="no agent can be called 'done'"):
        Team([agent("planner"), agent("done")], {"planner": ["done"]})
    mute = delegate(Task("{message}", name="mute"), Loop(Scripted([])), usd=0)
    with pytest.raises(BadInput, match="the task of 'mute' must have the one input"):
        Team([mute], {"mute": ["done"]})
    for given, said in (("x", "agents='x': give a list"), (["x"], "'x' is no agent: make it with")):
        with pytest.raises(BadInput, match=said):
            Team(given, {"a": ["done"]})  # type: ignore[arg-type]
