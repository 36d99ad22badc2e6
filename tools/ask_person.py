"""`ask_person`: a tool with which a model asks a person, and `Relay`, which passes it on."""

from attrs import frozen

from loopwright.calls import ToolCall
from loopwright.codec import digest
from loopwright.decisions import Ask, Decision
from loopwright.errors import BadInput
from loopwright.policy import Policy
from loopwright.run import Run
from loopwright.tools.tool import Tool, tool
from loopwright.use import Place

_LONGEST = 2_000
"""Characters of a question: nobody reads more before an answer."""


def ask_person(*, name: str = "ask_person") -> Tool:
    """A tool with which the model asks a person; the loop needs the policy `Relay` for it.

    The question goes the way of all questions: to the `ask` of the loop, or the run waits for
    ``loop.answer(...)``, over restarts, and then goes on. The model reads what was said.

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> call = ToolCall("1", "ask_person", {"question": "Which city?", "choices": ["Ulm", "Bonn"]})
    >>> model = Scripted([call, "Ulm it is."])
    >>> loop = Loop(model, policies=[Relay()], ask=lambda question, run: question.choices[0])
    >>> loop.run_now(Task("Plan a trip.", tools=[ask_person()])).output
    'Ulm it is.'
    >>> model.requests[1].messages[-1].blocks[0].content
    'Ulm'
    """
    return tool(_answered, name=name, effect="read")


def _answered(question: str, place: Place, choices: list[str] = []) -> str:  # noqa: B006
    """Ask a person what only a person can know or decide, and wait for the answer.

    Args:
        question: what is asked, understandable without the conversation
        choices: the possible answers, if it shall be one of a few
    """
    answer = place.run.answered(_key(place.call))
    if answer is None:
        raise BadInput("nobody was asked: put Relay() into the policies of the loop")
    return f"{answer.text}\n{answer.note}" if answer.note else answer.text


@frozen(str=False)
class Relay(Policy):
    """Puts the questions that a model asks with `ask_person` to a person, before the call is made.

    What the person reads begins with who asks, since the model may be under a stranger's influence.
    """

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if run.moment != "call" or not isinstance(call, ToolCall) or not _asks(run, call):
            return None
        if run.answered(_key(call)):
            return None
        text = str(call.arguments.get("question"))[:_LONGEST]
        given = call.arguments.get("choices")
        choices = tuple(map(str, given)) if isinstance(given, list | tuple) else ()
        why = f"the model asks with {call.name}"
        return Ask(f"The model asks: {text}", why, choices=choices, digest=_key(call))


def _asks(run: Run, call: ToolCall) -> bool:
    tool = run.task.tools.get(call.name) if run.task else None
    return tool is not None and tool.function is _answered and call.purpose == "call"


def _key(call: ToolCall) -> str:
    return digest("ask_person", call.id, call.arguments)
