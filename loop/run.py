"""`Run`: one carrying-out of a task, as the fold of its events.

`loopwright.fold` makes it. To resume is to fold what the log holds, and to enter the same loop.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import NOTHING, field, fields, frozen

from loopwright.calls import (
    NANO,
    Answer,
    Block,
    Call,
    Compaction,
    Failure,
    Media,
    Message,
    ModelCall,
    Options,
    Question,
    Quote,
    Reply,
    Text,
    ToolCall,
    ToolResult,
)
from loopwright.compiled import default
from loopwright.decisions import Moment
from loopwright.events import (
    Decided,
    Declined,
    Event,
    Failed,
    Problem,
    Setting,
    Spent,
    Unwinding,
)
from loopwright.fixed import fixed
from loopwright.models.capabilities import capabilities
from loopwright.outcome import Outcome
from loopwright.task import FRAME, Task
from loopwright.trail import Trail
from loopwright.written import writer

if TYPE_CHECKING:
    from loopwright.show.lines import Line

PER_MESSAGE = 16
"""Tokens that a provider may add around a message (role, separators): generously."""

PER_IMAGE = 10_000
"""The most tokens of an image, or of a page shown as one: twice the largest (4,784) that a provider
says it makes of one."""

CONTEXT = 1_000_000
"""The most tokens of a document that only the provider sees: the largest context in use."""


@frozen
class Attempt:
    """One answer, by a model or a person, and what the checks said of it.

    `inspected` is false until the checks have spoken; `judging` are the calls of judges that have
    to return before that.
    """

    text: str
    by: str
    finish: str = "stop"
    problems: tuple[Problem, ...] = ()
    undecided: tuple[Problem, ...] = ()
    checks: int = 0
    inspected: bool = False
    judging: tuple[str, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether checks existed and all of them agreed."""
        return self.checks > 0 and not self.problems and not self.undecided


@frozen(slots=False, repr=False)
class Run:
    """One carrying-out of a task: what happened so far, and what is due next.

    A policy reads it and changes nothing. At each moment it finds there:

    - always: `inputs`, `prompt`, `messages`, `model`, `models` (all used, in order), `step`,
      `attempt` (tries at this answer on this model, from 1), `spent`, `seconds` (working time),
      `limits`, `events`, `decisions`, `task`;
    - before a call: `call`, `quote` (what it may cost) and `declined` (the reservations that the
      ledger has declined since the last call was made);
    - after a failed call: `call`, `failure` and how often in a row it has failed, this one
      included: ``failures_of(run.call)``; `failures` counts model calls only;
    - after an answer: `answer` and `problems`.
    """

    run_id: str
    setting: Setting
    parent: str = ""
    base: str = ""
    inputs: Mapping[str, Any] = field(factory=dict)
    title: str = ""
    prompt: str = ""
    system: str = ""
    version: str = ""
    label: str = ""
    outside: bool = False
    max_tokens: int = 4096
    options: Options = Options()

    model: str = ""
    models: tuple[str, ...] = ()
    messages: Trail[Message] = field(factory=Trail[Message])
    events: Trail[Event] = field(factory=Trail[Event])
    time: float = 0.0
    started: float = 0.0
    seconds: float = 0.0
    step: int = 0
    attempt: int = 1
    failures: int = 0
    spent: Spent = Spent()

    pending: tuple[Call, ...] = ()
    in_flight: Mapping[str, Call] = field(factory=dict)
    held: Mapping[str, Call] = field(factory=dict)
    doubtful: Mapping[str, int] = field(factory=dict)
    changed: tuple[str, ...] = ()
    declined: tuple[Declined, ...] = ()
    failed: tuple[tuple[Call, Failure], ...] = ()
    unreconciled: tuple[str, ...] = ()
    undoable: tuple[tuple[ToolCall, str], ...] = ()
    not_undone: tuple[str, ...] = ()
    unwinding: Unwinding | None = None
    slices: Mapping[str, int] = field(factory=dict)
    owners: Mapping[str, str] = field(factory=dict)
    facts: Mapping[str, tuple[ToolCall, ToolResult]] = field(factory=dict)
    batch: tuple[str, ...] = ()
    results: Mapping[str, ToolResult] = field(factory=dict)
    verdicts: Mapping[str, Reply | Failure] = field(factory=dict)
    answers: Mapping[str, Answer] = field(factory=dict)
    answer: Attempt | None = None
    best: Attempt | None = None
    size: int = 0
    counted: tuple[int, int] = (0, 0)
    compaction: Compaction | None = None

    outcome: Outcome | None = None
    why: str = ""
    output_data: Any = None
    verified: bool = False

    moment: Moment | None = field(default=None, eq=False)
    call: Call | None = field(default=None, eq=False)
    failure: Failure | None = field(default=None, eq=False)
    task: Task | None = field(default=None, eq=False)
    kept: str = field(default="", eq=False)

    # ---------------------------------------------------------------------------- what it shows

    @property
    def seq(self) -> int:
        """How many events there are."""
        return len(self.events)

    @property
    def open(self) -> bool:
        """Whether the loop has something to do."""
        return self.outcome is None

    @property
    def output(self) -> Any:
        """The answer, as a value of the task's output type; `None` if none was accepted."""
        if self.outcome is not Outcome.accepted or self.output_data is None:
            return None
        schema = self.task.schema if self.task else None
        return schema.parse(self.output_data) if schema else self.output_data

    @property
    def cost(self) -> Decimal:
        """What the run has cost for certain, in USD."""
        return Decimal(self.spent.settled) / NANO

    @property
    def possible_cost(self) -> Decimal:
        """What it has cost at most, in USD: calls whose outcome is unknown are counted in full."""
        return Decimal(self.spent.at_most) / NANO

    @property
    def limits(self) -> Mapping[str, Any]:
        """The finite limits under which the run stands."""
        return self.setting.limits

    @property
    def quote(self) -> Quote:
        """What the call under decision may cost."""
        return self.call.quote if isinstance(self.call, ModelCall | ToolCall) else Quote()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the checks found wrong with the answer."""
        return self.answer.problems if self.answer else ()

    @property
    def feedback(self) -> str:
        """The problems, in words for the model."""
        listed = "\n".join(f"- {problem.text}" for problem in self.problems)
        return (
            f"Your answer was not accepted:\n{listed}\nGive a complete new answer."
            if listed
            else ""
        )

    def failures_of(self, call: Call | None) -> int:
        """How often in a row `call` has failed: of model calls any, of a tool call just this."""
        if not isinstance(call, ToolCall):
            return self.failures
        return sum(isinstance(e, Failed) and e.call == call.id for e in self.events)

    @property
    def decisions(self) -> list[Decided]:
        """All that was decided, in order."""
        return [event for event in self.events if isinstance(event, Decided)]

    @property
    def questions(self) -> list[Question]:
        """The questions that wait for a person."""
        return [call for call in self.in_flight.values() if isinstance(call, Question)]

    def fact(self, call: Call) -> ToolResult | None:
        """What the run that this one forked from got of this very call, if it is not made again."""
        if not self.facts or not isinstance(call, ToolCall) or call.id not in self.facts:
            return None
        asked, result = self.facts[call.id]
        same = (call.name, call.arguments) == (asked.name, asked.arguments)
        return result if same and call.purpose == "call" else None

    def answered(self, key: str) -> Answer | None:
        """What a person answered to the question with the digest `key`, if anybody did."""
        return self.answers.get(key)

    @property
    def steps(self) -> "Sequence[Line]":
        """What happened, one line a step, in order: ``run.steps[-1]`` is the last step."""
        from loopwright.show.lines import lines

        return tuple(lines(self.events))

    def __repr__(self) -> str:
        said = self.outcome or "open"
        return f"<Run {self.run_id} of {self.title!r}: {said}, {self.step} steps, {self.cost} USD>"

    def _repr_html_(self) -> str:
        from loopwright.show.beside import children
        from loopwright.show.notebook import html

        run: Any = self
        return html(run, children(run))

    def _repr_markdown_(self) -> str:
        from loopwright.show.notebook import run_markdown

        run: Any = self
        return run_markdown(run)

    # -------------------------------------------------------------------------- how it changes

    @classmethod
    def blank(cls, run_id: str, task: Task | None = None) -> "Run":
        """A run to which nothing has happened yet. What has its default stands with the class: a
        step copies what the run itself holds, and Python's garbage collector looks at all of it."""
        run: Run = object.__new__(cls)
        object.__setattr__(
            run, "__dict__", {"run_id": run_id, "setting": Setting(""), "task": task}
        )
        return run

    def but(self, **changes: Any) -> "Run":
        """The same run but for these fields.

        `attrs.evolve` would run the generated initialiser with all fields: ten times slower, at
        each event.
        """
        run: Run = object.__new__(Run)
        object.__setattr__(run, "__dict__", self.__dict__ | changes)
        return run

    def before(self, call: Call, spent: Spent) -> "Run":
        """The run as policies see it before `call`, with what the calls beside it reserve."""
        return self.but(moment="call", call=call, spent=spent)

    def bound(self, call: ModelCall) -> int:
        """How many input tokens `call` can have at most.

        What the last reply reported is exact for the messages it had seen; of the rest, a
        tokenizer that works on bytes cannot make more tokens than there are UTF-8 bytes. What
        would fit no context, as with a document that only the provider sees, is as much as goes
        into the model's own, by the catalogue.
        """
        most = self._bound(call)
        return most if most <= CONTEXT else min(most, capabilities(call.model).context or most)

    def _bound(self, call: ModelCall) -> int:
        counted, tokens = self.counted
        if counted and not call.messages:
            return tokens + self.size - counted
        apart = call.messages or call.compaction
        size = sum(map(weight, self.seen(call))) if apart else self.size
        if call.purpose != "answer":
            return size + FRAME
        return size + (self.task.weight if self.task else len(self.system.encode()))

    def seen(self, call: ModelCall) -> Sequence[Message]:
        """The messages that `call` shows to the model."""
        if call.messages or not call.compaction:
            return call.messages or self.messages.until(call.upto)
        upto = min(call.compaction.upto, call.upto)
        left = [_shortened(self.messages[i], call.compaction.longest) for i in range(1, upto)]
        if call.compaction.summary:
            left = [Message("user", (Text(f"[What happened so far] {call.compaction.summary}"),))]
        return [self.messages[0], *left, *(self.messages[i] for i in range(upto, call.upto))]


for _field in fields(Run):
    if _field.default is not NOTHING:
        setattr(Run, _field.name, fixed(default(_field.default)))


def _shortened(message: Message, longest: int) -> Message:
    if not any(isinstance(block, ToolResult) for block in message.blocks):
        return message
    return Message(message.role, [_short(block, longest) for block in message.blocks])


def _short(block: Block, longest: int) -> Block:
    if not isinstance(block, ToolResult) or len(block.content) <= longest:
        return block
    left_out = len(block.content) - longest
    content = f"{block.content[:longest]} [… {left_out} characters left out]"
    return ToolResult(block.call, content, block.error, block.outside)


def weight(message: Message) -> int:
    """The most tokens that `message` can have."""
    return PER_MESSAGE + sum([_block_weight(block) for block in message.blocks])


def _block_weight(block: Block) -> int:
    if isinstance(block, Text):
        return _length(block.text)
    if isinstance(block, ToolResult):
        return _length(block.content) + PER_MESSAGE
    if isinstance(block, ToolCall):
        return _length(block.name) + _length(_json(block.arguments)) + PER_MESSAGE
    return _media_weight(block) if isinstance(block, Media) else _length(_json(block.data))


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


_json = writer(dict, spaces=True)
"""As the blocks stand on the wire, and with spaces beside."""


def _media_weight(media: Media) -> int:
    """An image has a largest size. Of a document each byte may be a token, compressed texts unfold
    to some four times their size, and each page may be shown as an image too."""
    if media.kind == "image":
        return PER_IMAGE
    if media.url:
        return CONTEXT
    return min(CONTEXT, PER_IMAGE + 4 * len(media.data))
