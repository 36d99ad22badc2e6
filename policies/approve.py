"""`Approve`: a person is asked before these tools are called."""

from fnmatch import fnmatchcase
from typing import ClassVar

from attrs import frozen

from loopwright.calls import Answer, Question, ToolCall
from loopwright.codec import shown
from loopwright.decisions import Ask, Decision
from loopwright.errors import BadInput
from loopwright.events import Intended, Returned
from loopwright.house import approval, denial
from loopwright.policy import Policy
from loopwright.run import Run

CHOICES = ("approve", "deny")

A_DAY = 86_400.0
"""Seconds: what is asked in the evening can be approved in the morning, and not next week."""


@frozen(str=False, init=False)
class Approve(Policy):
    """Asks a person before a call to a tool whose name fits one of the patterns.

    `tools` are names, in which ``*`` stands for anything. The run waits, is kept in the log, and
    goes on, in this process or another, once somebody has said ``"approve"`` or ``"deny"``. A model
    that is denied reads the note that came with it.

    An approval is bound to the digest of the tool, its version and the arguments as they will be
    sent, and is looked at anew when the call is about to be made. It holds for one dispatch of this
    one call: an amended call, a changed tool and a repetition ask again. It `expires` so many
    seconds (by default a day) after the question was put, since that is what the person saw; then
    it is asked anew, too. Each of these is a decision in the log, with its reason.

    Raises `BadInput` without a tool, and for an `expires` that is no positive number.

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

    models: ClassVar[tuple[str, ...]] = ()
    """It never leads to another model."""

    tools: tuple[str, ...]
    expires: float

    def __init__(self, *tools: str, expires: float = A_DAY) -> None:
        if not tools or not all(isinstance(tool, str) and tool for tool in tools):
            raise BadInput(
                "Approve(...) needs the names of tools, such as Approve('send_*', 'delete')"
            )
        if isinstance(expires, bool) or not isinstance(expires, int | float) or not expires > 0:
            raise BadInput(f"Approve(expires={expires!r}): give a positive number of seconds")
        object.__setattr__(self, "tools", tools)
        object.__setattr__(self, "expires", float(expires))

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if not isinstance(call, ToolCall) or run.moment != "call":
            return None
        if not any(fnmatchcase(call.name, pattern) for pattern in self.tools):
            return None
        bound = approval(run, call)
        said = _last(run, call)
        if said is None or said.answer is None:
            return _asking(call, bound, f"{call.name} needs approval")
        lapsed = self._lapsed(run, said, bound)
        if lapsed:
            return _asking(call, bound, f"{call.name} needs a new approval: {lapsed}")
        return None if said.answer.text == "approve" else denial(said.answer)

    def _lapsed(self, run: Run, said: "_Said", bound: str) -> str:
        """Why what was said does not hold for this dispatch, or nothing."""
        if said.question.digest != bound:
            return "the last one was for other arguments, or another version of the tool"
        if said.used:
            return "the last one was used, and holds for one dispatch only"
        age = run.time - said.asked
        if said.answer and said.answer.text == "approve" and age > self.expires:
            return f"the last one was asked for {age:.4g} s ago, and holds for {self.expires:g} s"
        return ""


@frozen
class _Said:
    """The last question about a call: when it was asked, what was answered, and whether the call
    was dispatched after it."""

    question: Question
    asked: float
    answer: Answer | None
    used: bool


def _last(run: Run, call: ToolCall) -> _Said | None:
    """Reads backwards, and no further than to the reply that asked for the call."""
    answers: dict[str, Answer] = {}
    used = False
    for i in range(run.seq - 1, -1, -1):
        match run.events[i]:
            case Returned(call=name, result=Answer() as answer):
                answers[name] = answer
            case Returned(call=name) if call.id.startswith(f"{name}-"):
                return None
            case Intended(call=ToolCall(id=call.id)):
                used = True
            case Intended(time, Question(purpose="approval", about=call.id) as question):
                if question.choices == CHOICES:
                    return _Said(question, time, answers.get(question.id), used)
    return None


def _asking(call: ToolCall, bound: str, why: str) -> Ask:
    question = f"May {call.name} be called with {shown(call.arguments)}?"
    return Ask(question, why, choices=CHOICES, digest=bound)
