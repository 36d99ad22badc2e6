"""`AskPerson`: a question to a person, at a moment of your choice."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from attrs import field, frozen

from loopwright.decisions import Ask, Decision, Stop
from loopwright.errors import BadInput
from loopwright.policies.given import listed
from loopwright.policy import Policy
from loopwright.run import Run


def _question(policy: object, attribute: object, question: Any) -> None:
    if not callable(question) and not (isinstance(question, str) and question.strip()):
        raise BadInput(
            f"AskPerson({question!r}): give the question, or a function of the run that gives it"
        )


def _predicate(policy: object, attribute: object, when: Any) -> None:
    if not callable(when):
        raise BadInput(f"AskPerson(at={when!r}): give a function of the run that says when to ask")


def _choices(choices: Iterable[str]) -> tuple[str, ...]:
    return listed("AskPerson", "choices", choices)


def _either(policy: object, attribute: object, choices: tuple[str, ...]) -> None:
    if "stop" not in choices or len(choices) < 2:
        raise BadInput(f"AskPerson(choices={choices!r}): give 'stop' and something else to say")


@frozen(str=False)
class AskPerson(Policy):
    """Asks a person at the moment at which `at`, a function of the run, holds.

    `question` is the text, or a function of the run that gives it. Within a run the same text is
    asked once; what is to be asked again has to read differently.

    Before a call, and after a failed one, the `choices` are ``"go on"`` and ``"stop"``, unless
    others are given: with ``"stop"`` the run ends as stopped, with anything else it goes on (a
    failed call is made again), and policies of your own find under ``run.answers`` what was said.
    After an answer the person reviews it in the same way, and with anything but ``"stop"`` the rest
    of the list decides. With ``writes=True`` the person writes the answer in the model's place, and
    it is checked like any other. Where nobody is there to be asked, the run waits.

    Raises `BadInput` for a question, a predicate or choices that cannot work.

    >>> from loopwright import Loop, Task
    >>> from loopwright.models import Scripted
    >>> long_prompt = lambda run: run.moment == "call" and len(run.prompt) > 20
    >>> asking = AskPerson("This is a long one. Go on?", at=long_prompt)
    >>> loop = Loop(Scripted(["Hi."]), policies=[asking], ask=lambda question, run: "stop")
    >>> loop.run_now(Task("Greet Ada with all due ceremony.")).why
    'a person said stop to: This is a long one. Go on?'
    """

    models: ClassVar[tuple[str, ...]] = ()
    """It never leads to another model."""

    question: str | Callable[[Run], str] = field(validator=_question)
    at: Callable[[Run], bool] = field(validator=_predicate, kw_only=True)
    choices: tuple[str, ...] = field(
        default=("go on", "stop"), converter=_choices, validator=_either, kw_only=True
    )
    writes: bool = field(default=False, kw_only=True)

    def decide(self, run: Run) -> Decision | None:
        if stopped := _stopped(run):
            return Stop(stopped)
        if not self.at(run):
            return None
        text = self.question if isinstance(self.question, str) else self.question(run)
        writes = self.writes and run.moment == "answer"
        return self._written(run, text) if writes else self._agreed(run, text)

    def _agreed(self, run: Run, text: str) -> Decision | None:
        if run.answered(_AGREED + text):
            return None
        why = "a person is to say how to go on"
        shown = f"{text}\n{run.answer.text}" if run.answer and run.moment == "answer" else text
        return Ask(shown, why, choices=self.choices, digest=_AGREED + text)

    def _written(self, run: Run, text: str) -> Decision | None:
        if run.answered(_WRITTEN + text):
            return None
        shown = f"{text}\n{run.answer.text}" if run.answer else text
        why = "a person is to give the answer"
        return Ask(shown, why, purpose="answer", digest=_WRITTEN + text)


_AGREED, _WRITTEN = "go on? ", "the answer? "


def _stopped(run: Run) -> str:
    """A person's stop holds from then on, also where nothing would be asked any more."""
    for key, answer in run.answers.items():
        if key.startswith(_AGREED) and answer.text == "stop":
            note = f" ({answer.note})" if answer.note else ""
            return f"{answer.by or 'a person'} said stop to: {key.removeprefix(_AGREED)}{note}"
    return ""
