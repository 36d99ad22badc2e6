"""Events: what happened, as appended facts. A closed set of frozen values.

Each carries its own time, in seconds since 1970 by the clock of the port. The order is the order
in which they were appended, never the time.
"""

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from loopwright.calls import (
    Call,
    Cost,
    Failure,
    Media,
    ModelCall,
    Options,
    Result,
    ToolResult,
)
from loopwright.decisions import Decision, Moment
from loopwright.fixed import fixed
from loopwright.outcome import Outcome


@frozen
class Spent:
    """What has been spent so far; money in nano-dollars.

    `reserved` is the highest cost of the calls under way, `presumed` that of the calls whose
    outcome is unknown: they may have been billed. `tokens` counts both with the most they can have.
    """

    settled: int = 0
    reserved: int = 0
    presumed: int = 0
    tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0

    @property
    def at_most(self) -> int:
        """The most that can have been spent, in nano-dollars."""
        return self.settled + self.reserved + self.presumed


@frozen
class Problem:
    """What a check found wrong, in words that the model can act on."""

    check: str
    text: str


Unit = Literal["usd", "tokens", "requests", "failures"]
"""What a ceiling counts: nano-dollars, tokens, model calls made, or model calls that failed."""


@frozen
class Ceiling:
    """What all runs of a log that name it may use together, in whatever process.

    `limit` counts in its `unit` (nano-dollars for ``"usd"``). `per` is the calendar window, in UTC,
    over which it holds: ``"minute"``, ``"hour"``, ``"day"``, ``"week"``, ``"month"``, or ``""`` for
    all time. It counts the calls to models whose names fit the pattern `model`.
    """

    name: str
    limit: int
    per: str = ""
    unit: Unit = "usd"
    model: str = "*"


@frozen
class Setting:
    """What a run is carried out with: compared when it is resumed, so that a change shows.

    `version` is that of the prompt, `tools` and `output` are digests, `checks` are names, `limits`
    holds the finite limits only, `policies` tells the list from top to bottom, `by` is who carries
    the run on: host, process and a random part.
    """

    model: str
    version: str = ""
    tools: Mapping[str, str] = field(factory=dict, converter=fixed)
    output: str = ""
    checks: tuple[str, ...] = ()
    limits: Mapping[str, Any] = field(factory=dict, converter=fixed)
    policies: tuple[str, ...] = ()
    by: str = ""
    ceilings: tuple[Ceiling, ...] = ()


@frozen
class Started:
    """A run began. `prompt` is the template filled with `inputs`, `version` the digest of it.

    `parent` is the run whose tool call this run is, if it is one. A fork shares the first `shared`
    events of the run `base`, in which it made so many `steps`, and this is the first of its own. Of
    the tool calls that were asked for there and made by the base only later, it holds the `facts`,
    which are the results of those that must not be made again; of the `doubts` nobody knows whether
    they happened. `outside` says that strangers may speak through the inputs: they were given by a
    run which had heard them.
    """

    time: float
    run: str
    task: str
    prompt: str
    setting: Setting
    version: str = ""
    label: str = ""
    system: str = ""
    inputs: Mapping[str, Any] = field(factory=dict, converter=fixed)
    max_tokens: int = 4096
    media: tuple[Media, ...] = ()
    options: Options = Options()
    parent: str = ""
    base: str = ""
    shared: int = 0
    steps: int = 0
    facts: tuple[ToolResult, ...] = ()
    doubts: tuple[str, ...] = ()
    outside: bool = False


@frozen
class Resumed:
    """The run goes on, maybe in another process. What was under way is in doubt from here on."""

    time: float
    setting: Setting


@frozen
class Decided:
    """A policy spoke. `others` are those whose opinions were overruled."""

    time: float
    moment: Moment
    policy: str
    decision: Decision
    about: str = ""
    parameters: Mapping[str, Any] = field(factory=dict)
    others: tuple[str, ...] = ()
    spent: Spent = Spent()
    seconds: float = 0.0


@frozen
class Intended:
    """A call is about to be made."""

    time: float
    call: Call


@frozen
class Declined:
    """The ledger did not reserve what `call` asked for, so it was not made.

    The figures are those of the `ceiling` at that moment, over all runs that name it, in its unit.
    Its window ends at `until`, in seconds since 1970; at 0, never.
    """

    time: float
    call: str
    ceiling: Ceiling
    settled: int
    reserved: int
    presumed: int
    asked: int
    until: float = 0.0


@frozen
class Reconciled:
    """What a call in doubt has really cost, as the provider's bill or a person, `by`, says."""

    time: float
    call: str
    cost: int
    presumed: int
    by: str = ""


@frozen
class Returned:
    """A call succeeded, after so many `seconds`; or its result was `cached`."""

    time: float
    call: str
    result: Result
    seconds: float = 0.0
    cost: Cost = Cost()
    cached: bool = False


@frozen
class Failed:
    """A call failed, after so many `seconds`."""

    time: float
    call: str
    failure: Failure
    seconds: float = 0.0
    traceback: str = ""


@frozen
class Paused:
    """A question was not answered, which is `call` or what that tool call led to: the run waits.

    `why` says what kept the answer away.
    """

    time: float
    call: str
    why: str = ""


@frozen
class Inspected:
    """The checks looked at the answer. `judging` are the model calls that judges now need."""

    time: float
    problems: tuple[Problem, ...] = ()
    undecided: tuple[Problem, ...] = ()
    checks: int = 0
    judging: tuple[ModelCall, ...] = ()


@frozen
class Unwinding:
    """The run ends badly: before it does, what its tools did is undone, the last first."""

    time: float
    outcome: Outcome
    why: str = ""
    output: Any = None
    traceback: str = ""


@frozen
class Ended:
    """The run is over. `output` is the accepted answer, or the best attempt, as JSON data."""

    time: float
    outcome: Outcome
    why: str = ""
    output: Any = None
    verified: bool = False
    traceback: str = ""


Event = (
    Started
    | Resumed
    | Decided
    | Intended
    | Declined
    | Returned
    | Failed
    | Paused
    | Inspected
    | Unwinding
    | Ended
    | Reconciled
)

EVENTS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        Started,
        Resumed,
        Decided,
        Intended,
        Declined,
        Returned,
        Failed,
        Paused,
        Inspected,
        Unwinding,
        Ended,
        Reconciled,
    )
}
"""Every event by the name that stands in the log's column `type`."""
