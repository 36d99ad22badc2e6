"""`Approve`: a person is asked before these tools are called."""

from fnmatch import fnmatchcase

from attrs import frozen

from loopwright.calls import ToolCall
from loopwright.codec import canonical, digest
from loopwright.decisions import Ask, Decision, Refuse
from loopwright.errors import BadInput
from loopwright.policy import Policy
from loopwright.run import Run

CHOICES = ("approve", "deny")


@frozen(str=False, init=False)
class Approve(Policy):
    """Asks a person before a call to a tool whose name fits one of the patterns.

    `tools` are names, in which ``*`` stands for anything. The run waits, is kept in the log, and
    goes on, in this process or another, once somebody has said ``"approve"`` or ``"deny"``. The
    answer holds for this one call with exactly these arguments; a model that is denied reads the
    note that came with it.

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> from loopwright.calls import ToolCall
    >>> from loopwright.tools import tool
    >>> @tool
    ... def send(to: str) -> str:
    ...     "Send it."
    ...     return f"sent to {to}"
    >>> model = Scripted([ToolCall("1", "send", {"to": "Ada"}), "Done."])
    >>> loop = Loop(model, policies=[Approve("send*")], ask=lambda question, run: "approve")
    >>> loop.run_now(Task("Send it to Ada.", tools=[send])).output
    'Done.'
    """

    tools: tuple[str, ...]

    def __init__(self, *tools: str) -> None:
        if not tools or not all(isinstance(tool, str) and tool for tool in tools):
            raise BadInput(
                "Approve(...) needs the names of tools, such as Approve('send_*', 'delete')"
            )
        object.__setattr__(self, "tools", tools)

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if not isinstance(call, ToolCall) or run.moment != "call":
            return None
        if not any(fnmatchcase(call.name, pattern) for pattern in self.tools):
            return None
        bound = digest(call.id, call.name, call.arguments)
        answer = run.answered(bound)
        if answer is None:
            question = f"May {call.name} be called with {canonical(call.arguments)}?"
            return Ask(question, f"{call.name} needs approval", choices=CHOICES, digest=bound)
        if answer.text == "approve":
            return None
        who = answer.by or "a person"
        return Refuse(f"{who} denied this call{f': {answer.note}' if answer.note else '.'}")
