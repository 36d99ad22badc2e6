"""`Team`: agents that hand a task on to each other, along the edges of a table and no others."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from attrs import field, frozen

from loopwright.api import Loop
from loopwright.calls import Failure, Message, Reply, Request, Text, ToolCall, ToolResult, Usage
from loopwright.decisions import Decision, Refuse, Stop
from loopwright.errors import BadInput
from loopwright.given import listed, whole
from loopwright.models import catalogue
from loopwright.outcome import Outcome
from loopwright.policy import Policy
from loopwright.run import Run
from loopwright.task import Task
from loopwright.tools.delegate import Delegate

DONE = "done"
"""To whom an agent hands off when the whole work is done."""

NOBODY = ""
"""Who is called next when it has ended badly."""

TEAM = "team"
"""Who says what no agent has said: that a hand-off was refused, or that a check has complained."""

_USAGE = Usage(1, output_visible=1)
"""Which reply comes next is looked up, for free; no tokens at all would count as no report."""


@frozen
class HandOff:
    """What each agent of a team answers: `to` whom the work goes, or ``"done"``, and its words."""

    to: str
    message: str


def _named(agents: Iterable[Delegate]) -> Mapping[str, Delegate]:
    given: tuple[Delegate, ...] = listed(
        "agents", agents, "is no agent: make it with delegate", "task", "spec"
    )
    named: dict[str, Delegate] = {}
    for agent in given:
        if named.setdefault(agent.spec.name, agent) is not agent:
            raise BadInput(f"two agents are called {agent.spec.name!r}: give one of them a name=")
    return named


def _table(edges: Any) -> Mapping[str, Sequence[str]]:
    if not isinstance(edges, Mapping) or not all(map(_names, edges.values())):
        raise BadInput("edges: give lists of names by name, such as {'planner': ['done']}")
    return edges


def _names(ends: Any) -> bool:
    many = isinstance(ends, Collection) and not isinstance(ends, str)
    return many and all(isinstance(to, str) for to in ends)


@frozen(eq=False)
class Team:
    """Agents that hand a task on to each other.

    `agents` are delegates; the task of each has the one input `message`, in which stands what was
    said so far and to whom the agent may hand off, and the output `HandOff`. `edges` says by their
    names who may hand off to whom; the first one in it begins. `rounds` is how many hand-offs there
    may be, those refused included: by default ten, twice the way through four agents and back.

    The team is the model of an ordinary loop, whose tools are the agents: each hand-off is a tool
    call in the log. One outside the table is refused there, with its reason, and told to the agent
    that wanted it, as are the problems that a check of the team's task finds, where a policy tries
    again. It is accepted when somebody who may say so says ``"done"``; after the last round it ends
    as exhausted, and when an agent's run ends badly as failed.

    Raises `BadInput` for edges that lead nowhere, and for agents that cannot be in a team.

    >>> from loopwright.models import Scripted
    >>> from loopwright.tools import delegate
    >>> writer = Scripted(['{"to": "editor", "message": "Rain falls."}'], name="writer")
    >>> editor = Scripted(['{"to": "done", "message": "Rain falls, Ada."}'], name="editor")
    >>> agents = [
    ...     delegate(Task("{message}", output=HandOff), Loop(model), usd=0, name=model.name)
    ...     for model in (writer, editor)
    ... ]
    >>> team = Team(agents, {"writer": ["editor"], "editor": ["done", "writer"]})
    >>> team.loop().run_now(team.task("Write a line to Ada.")).output
    'Rain falls, Ada.'
    >>> print(editor.requests[0].messages[0].text)
    Write a line to Ada.
    <BLANKLINE>
    [writer] Rain falls.
    <BLANKLINE>
    [team] You are the editor. You may hand off to: done, writer.
    """

    agents: Mapping[str, Delegate] = field(converter=_named)
    edges: Mapping[str, Sequence[str]] = field(converter=_table)
    rounds: int = 10
    name: str = field(default=TEAM, init=False)

    def __attrs_post_init__(self) -> None:
        named = {*self.edges, *(to for ends in self.edges.values() for to in ends)} - {DONE}
        if unknown := sorted(named - set(self.agents)):
            raise BadInput(f"the edges name {unknown[0]!r}, which is no agent of the team")
        if not self.edges:
            raise BadInput("a team needs edges")
        whole("rounds", self.rounds)
        for name, agent in self.agents.items():
            _check(name, agent)
        catalogue.free(self.name)

    def loop(self, *, policies: Any = (), **options: Any) -> Loop:
        """The loop that carries the team's work out; `options` are those of `Loop`."""
        return Loop(self, policies=[Edges(self.edges, self.rounds), policies], **options)

    def task(self, prompt: str, **options: Any) -> Task:
        """The work of the team; `options` are those of `Task`."""
        return Task(prompt, tools=list(self.agents.values()), **options)

    async def reply(self, request: Request) -> Reply | Failure:
        """Who is called next, or how it ended: follows from the conversation alone."""
        passed = list(_passed(request.messages))
        to = passed[-1].to if passed else next(iter(self.edges))
        if passed and _over(passed[-1], self.edges):
            return Reply((Text(passed[-1].message),), "stop", _USAGE)
        message = "\n\n".join(self._told(request.messages[0].text, passed, to))
        return Reply((ToolCall(f"{len(passed)}", to, {"message": message}),), "tool_calls", _USAGE)

    def _told(self, prompt: str, passed: Sequence["Passed"], to: str) -> Iterator[str]:
        yield prompt
        yield from (f"[{one.by}] {one.message}" for one in passed)
        ends = ", ".join(self.edges.get(to, ())) or "nobody"
        yield f"[{TEAM}] You are the {to}. You may hand off to: {ends}."


def _check(name: str, agent: Delegate) -> None:
    if name in (DONE, TEAM):
        raise BadInput(f"no agent can be called {name!r}: that word has a meaning of its own")
    if agent.task.fields != ("message",) or agent.task.output is not HandOff:
        raise BadInput(
            f"the task of {name!r} must have the one input {{message}}, and output=HandOff"
        )


@frozen
class Passed:
    """A hand-off `by` an agent; or what the team has to say of one, which goes to who wanted it."""

    by: str
    to: str
    message: str


def _over(last: Passed, edges: Mapping[str, Sequence[str]]) -> bool:
    """Whether nobody is called any more: it has ended badly, or is done."""
    return last.to == NOBODY or (last.to == DONE and DONE in edges.get(last.by, ()))


def _passed(messages: Sequence[Message]) -> Iterator[Passed]:
    """The hand-offs in a conversation, and what was said to them."""
    called, before = "", ""
    for message in messages[1:]:
        for block in message.blocks:
            if isinstance(block, ToolCall):
                called = block.name
            elif isinstance(block, ToolResult) and not block.error:
                before = called
                yield _read(block, called)
            elif isinstance(block, ToolResult):
                yield Passed(TEAM, before or called, block.content)
            elif isinstance(block, Text) and message.role == "user":
                yield Passed(TEAM, before, block.text)


def _read(result: ToolResult, called: str) -> Passed:
    said = json.loads(result.content)
    output = said.get("output")
    if said["outcome"] == "accepted" and isinstance(output, Mapping):
        return Passed(called, str(output["to"]), str(output["message"]))
    return Passed(called, NOBODY, f"{called} ended as {said['outcome']}: {said.get('why', '')}")


@frozen(str=False)
class Edges(Policy):
    """A hand-off that the table does not know is refused, and told to the agent that wanted it.

    After so many `rounds` nobody is called any more.
    """

    inherited: ClassVar[bool] = False
    """What an agent of the team does in a run of its own is no hand-off."""

    edges: Mapping[str, Sequence[str]]
    rounds: int

    @property
    def parameters(self) -> Mapping[str, Any]:
        edges = {name: list(ends) for name, ends in self.edges.items()}
        return {"edges": edges, "rounds": self.rounds}

    def decide(self, run: Run) -> Decision | None:
        passed = list(_passed(run.messages))
        if not passed:
            return None
        if run.moment == "answer" and passed[-1].to == NOBODY:
            return Stop(passed[-1].message, Outcome.failed)
        if run.moment == "call" and isinstance(run.call, ToolCall):
            return self._handed(run.call.name, passed)
        return None

    def _handed(self, to: str, passed: Sequence[Passed]) -> Decision | None:
        if len(passed) >= self.rounds:
            last = passed[-1]
            why = f"after {self.rounds} hand-offs nobody is called any more. The last: {last.by}"
            return Stop(f"{why} to {to}: {last.message}", Outcome.exhausted)
        by = next((one.by for one in reversed(passed) if one.by != TEAM), to)
        again = passed[-1].by == TEAM and to == by
        allowed = self.edges.get(by, ())
        if again or to in allowed:
            return None
        return Refuse(f"{by} may hand off to {', '.join(allowed) or 'nobody'}, and not to {to}")
