"""`Team`: agents that hand a task on to each other, along the edges of a table and no others."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from loopwright.api import Loop
from loopwright.calls import Failure, Message, Reply, Request, Text, ToolCall, ToolResult, Usage
from loopwright.decisions import Decision, Refuse
from loopwright.errors import BadInput
from loopwright.models import catalogue
from loopwright.policy import Policy
from loopwright.run import Run
from loopwright.task import Task
from loopwright.tools.delegate import Delegate

DONE = "done"
"""To whom an agent hands off when the whole work is done."""


NOBODY = ""
"""Who is called next when it has ended, well or badly."""


@frozen
class HandOff:
    """What each agent of a team answers: `to` whom the work goes, or ``"done"``, and its words."""

    to: str
    message: str


@frozen(eq=False)
class Team:
    """Agents that hand a task on to each other.

    `agents` are delegates by their names; the task of each has the one input `message` and the
    output `HandOff`. `edges` says who may hand off to whom; the first name in it begins. After
    `rounds` hand-offs nobody is called any more. The team is the model of an ordinary loop, whose
    tools are the agents: each hand-off is a tool call in the log, and one outside the table is
    refused there, with its reason, and told to the agent that wanted it.

    Raises `BadInput` for edges that lead nowhere.
    """

    agents: Mapping[str, Delegate]
    edges: Mapping[str, Sequence[str]]
    rounds: int = 10
    name: str = field(default="team", init=False)

    def __attrs_post_init__(self) -> None:
        named = {*self.edges, *(to for ends in self.edges.values() for to in ends)} - {DONE}
        if unknown := sorted(named - set(self.agents)):
            raise BadInput(f"the edges name {unknown[0]!r}, which is no agent of the team")
        if not self.edges or self.rounds < 1:
            raise BadInput("a team needs edges, and at least one round")
        for name, agent in self.agents.items():
            if agent.spec.name != name or agent.task.fields != ("message",):
                raise BadInput(
                    f"the agent {name!r} must be a delegate of that name for {{message}}"
                )
        catalogue.free(self.name)

    def loop(self, *, policies: Any = (), **options: Any) -> Loop:
        """The loop that carries the team's work out; `options` are those of `Loop`."""
        return Loop(self, policies=[Edges(self.edges), policies], **options)

    def task(self, prompt: str, **options: Any) -> Task:
        """The work of the team; `options` are those of `Task`."""
        return Task(prompt, tools=list(self.agents.values()), **options)

    async def reply(self, request: Request) -> Reply | Failure:
        """Who is called next, or how it ended: follows from the conversation alone."""
        passed = list(_passed(request.messages))
        usage = Usage(1, output_visible=1)
        to, message = self._next(request.messages[0].text, passed)
        if to == NOBODY:
            return Reply((Text(message),), "stop", usage)
        call = ToolCall(f"{len(passed)}", to, {"message": message})
        return Reply((call,), "tool_calls", usage)

    def _next(self, prompt: str, passed: Sequence["Passed"]) -> tuple[str, str]:
        told = "\n\n".join([prompt, *(f"[{one.by}] {one.message}" for one in passed)])
        if not passed:
            return next(iter(self.edges)), told
        last = passed[-1]
        if last.to == NOBODY or (last.to == DONE and DONE in self.edges.get(last.by, ())):
            return NOBODY, last.message
        if len(passed) >= self.rounds:
            return NOBODY, f"Nobody is called after {self.rounds} hand-offs. Last: {last.message}"
        return last.to, told


@frozen
class Passed:
    """One hand-off that was made, or what came of one that could not be."""

    by: str
    to: str
    message: str


def _passed(messages: Sequence[Message]) -> Iterator[Passed]:
    """The hand-offs in a conversation. One that was refused goes back to who wanted it."""
    called, before = "", ""
    for message in messages[1:]:
        for block in message.blocks:
            if isinstance(block, ToolCall):
                called = block.name
            if isinstance(block, ToolResult):
                one = _read(block, called, before)
                before = one.by if not block.error else before
                yield one


def _read(result: ToolResult, called: str, before: str) -> Passed:
    if result.error:
        return Passed("refused", before or called, result.content)
    said = json.loads(result.content)
    output = said.get("output")
    if said["outcome"] == "accepted" and isinstance(output, Mapping):
        return Passed(called, str(output["to"]), str(output["message"]))
    return Passed(called, NOBODY, f"{called} ended as {said['outcome']}: {said.get('why', '')}")


@frozen(str=False)
class Edges(Policy):
    """A hand-off that the table does not know is refused, and told to the agent that wanted it."""

    edges: Mapping[str, Sequence[str]]

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {"edges": {name: list(ends) for name, ends in self.edges.items()}}

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if run.moment != "call" or not isinstance(call, ToolCall):
            return None
        passed = [one for one in _passed(run.messages) if one.by != "refused"]
        if not passed or run.messages[-1].role != "assistant":
            return None
        allowed = self.edges.get(passed[-1].by, ())
        if call.name in allowed or call.name == passed[-1].by:
            return None
        ends = ", ".join(allowed) or "nobody"
        return Refuse(f"{passed[-1].by} may hand off to {ends}, and not to {call.name}")
