"""`delegate`: an agent as a tool. A task is carried out by a loop of its own, inside the call."""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import inf
from typing import Any

from attrs import field, frozen

from loopwright.api import Loop
from loopwright.budget import Budget
from loopwright.calls import Effect, Quote, ToolCall, ToolSpec
from loopwright.ceiling import nano
from loopwright.codec import digest
from loopwright.decisions import Decision, Stop, Switch
from loopwright.draft import undone
from loopwright.errors import BadInput, Mismatch
from loopwright.events import Ceiling, Intended
from loopwright.house import House
from loopwright.outcome import Outcome
from loopwright.policy import Policy, flat
from loopwright.run import Run
from loopwright.task import Task
from loopwright.tools.labels import heard, labels
from loopwright.tools.tool import Tool, check_name, tool
from loopwright.use import Billed, Place, StillWaiting


def delegate(
    task: Task, loop: Loop, *, usd: Decimal | str | int, name: str = "", description: str = ""
) -> "Delegate":
    """A tool that has `task` carried out by `loop`, as a run of its own below the calling one.

    The inputs of the prompt are the tool's parameters, as texts. The child is linked in the log of
    the calling run, goes on with it after a crash, and asks the same people. It may spend `usd`,
    which is reserved when it is called; it may not work longer than the calling run, and what that
    run's policies say before a call holds here, too: they stop, refuse, ask and amend, but leave
    the child its models. When the calling run ends badly, what the child did is undone, too, from
    the log, also where the child itself was accepted. The tool has the labels of all tools of the
    child: what one of them brings in from outside, it may pass on. Where the calling run has no
    log, the child is kept in that of its own loop, if there is one, as a run without a parent.

    Raises `BadInput` for what is no task, loop or amount, for a name that no tool can have, and for
    a budget with `when` in the loop that has no effect.

    >>> from loopwright.models import Scripted
    >>> poet = delegate(Task("Write about {topic}."), Loop(Scripted(["Oh!"])), usd=1, name="poet")
    >>> from loopwright.calls import ToolCall
    >>> boss = Loop(Scripted([ToolCall("1", "poet", {"topic": "rain"}), "Done."]))
    >>> from loopwright import Budget
    >>> boss.run_now(Task("Have a poem written.", tools=[poet], limits=Budget(usd=2))).output
    'Done.'
    """
    if not isinstance(task, Task) or not isinstance(loop, Loop):
        wrong = task if not isinstance(task, Task) else loop
        raise BadInput(f"{wrong!r:.80}: give a Task, and the Loop that carries it out")
    name = name or "_".join(task.title.lower().split())[:40]
    check_name("delegate", name)
    texts = {one: {"type": "string"} for one in task.fields}
    schema = {
        "type": "object",
        "properties": texts,
        "required": list(texts),
        "additionalProperties": False,
    }
    said = description or f"Has this done by somebody else, and gives the result: {task.title}"
    high = nano(usd)
    House.of((*loop.policies, *flat(task.limits or ()), _slice(high, inf))).checked()
    return Delegate(task, loop, ToolSpec(name, said, schema), Quote(0, high))


@frozen(eq=False)
class Delegate:
    """An agent as a tool; `delegate` makes them."""

    task: Task
    loop: Loop = field(repr=False)
    spec: ToolSpec
    quote: Quote
    effect: Effect = "idempotent"
    timeout: float = 3600.0  # the calling run's own limit comes first, unless somebody lifts it
    asynchronous: bool = True
    wants_place: bool = True
    undo: Tool | None = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        undoable = any(getattr(tool, "undo", None) for tool in self.task.tools.values())
        undo = tool(self.taken_back, effect="idempotent", timeout=self.timeout)
        object.__setattr__(self, "undo", undo if undoable else None)

    @property
    def labels(self) -> frozenset[str]:
        """What the tools of the child bring in, and where they lead."""
        return frozenset().union(*map(labels, self.task.tools.values()))

    @property
    def ceilings(self) -> tuple[Ceiling, ...]:
        """What the child shares with other runs, and what those that it delegates to do."""
        limits = flat(self.task.limits or ())
        return _shared((*self.loop.policies, *limits, *self.task.tools.values()))

    def bind(
        self, arguments: Mapping[str, Any], key: str = ""
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The inputs of the child. Raises `Mismatch` for a missing or unknown one, or no text."""
        names = self.task.fields
        wrong = [f"{name}: Field required" for name in names if name not in arguments]
        wrong += [f"{name}: Unexpected argument" for name in arguments if name not in names]
        wrong += [
            f"{name}: Input should be a text"
            for name in names
            if not isinstance(arguments.get(name, ""), str)
        ]
        if wrong:
            raise Mismatch(wrong)
        return (), {"inputs": dict(arguments)}

    def render(self, value: Any) -> str:
        """What the calling model reads of how the child ended."""
        return json.dumps(value, ensure_ascii=False)

    async def function(self, inputs: Mapping[str, Any], place: Place) -> Billed:
        """Carry the child out, or go on with it. Raises `StillWaiting` while it waits."""
        run, call = place.run, place.call.id
        base = f"{run.owners[call]}.{call}" if call in run.owners else ""
        inside = self._inside(place)
        child = await inside.run_as(
            self._run_id(place, call, inputs, inside),
            self.task,
            inputs,
            parent=run.run_id if inside.log is place.loop.log else "",
            base=base,
            outside=heard(run),
        )
        _check_waiting(child)
        said = {"outcome": child.outcome, "output": child.output_data}
        if child.outcome is not Outcome.accepted:
            said["why"] = child.why
        return Billed(said, child.spent.at_most)

    async def taken_back(self, place: Place) -> str:
        """Undo what the child did, however it ended.

        Raises `BadInput` without a log, `StillWaiting` while a person is asked about an undoing in
        doubt, and `RuntimeError` for what could not be undone.
        """
        loop = self._inside(place)
        call = undone(place.call)
        run_id = self._run_id(place, call, _arguments(place.run, call), loop)
        if loop.log is None:
            raise BadInput("what a child did is undone from the log: give the loop one")
        if not loop.log.has(run_id):
            return "it had not begun"
        ending = place.run.unwinding
        assert ending is not None, "nothing is taken back before the run ends"
        why = f"the calling run ended as {ending.outcome}"
        child = await loop.unwind(run_id, self.task, why=why, outcome=ending.outcome)
        if child.unwinding:
            _check_waiting(child)
        if child.not_undone:
            raise RuntimeError(child.why)
        return "undone"

    def _run_id(self, place: Place, call: str, inputs: Mapping[str, Any], inside: Loop) -> str:
        """The id of the child of this call.

        A log has each calling run once. Where none has it, another may have had its id before, and
        what the child is asked tells the two apart; for the same the child goes on, or has ended.
        """
        asked = "" if inside.log is place.loop.log else f"{digest(self.task.version, inputs)}."
        return f"{place.run.run_id}.{asked}{call}"

    def _inside(self, place: Place) -> Loop:
        """The child's loop, under the eyes of the calling one, and inside its limits."""
        mine, theirs, left = self.loop, place.loop, _left(place.run)
        slice_ = _slice(self.quote.high, left)
        return Loop(
            mine.model,
            policies=[Under(_above(place)), *mine.policies, slice_],
            log=theirs.log or mine.log,
            providers=list(mine.providers.values()),
            ask=mine.ask or theirs.ask,
            watch=mine.watch or theirs.watch,
            ports=mine.ports,
        )


def _arguments(run: Run, call: str) -> Mapping[str, Any]:
    """With what a tool was called."""
    intended = (event.call for event in run.events if isinstance(event, Intended))
    return next(one.arguments for one in intended if isinstance(one, ToolCall) and one.id == call)


def _check_waiting(child: Run) -> None:
    if child.outcome is Outcome.waiting:
        raise StillWaiting(f"run {child.run_id} asks: {child.why}")


def _shared(among: Iterable[object]) -> tuple[Ceiling, ...]:
    return tuple(ceiling for one in among for ceiling in getattr(one, "ceilings", ()))


def _above(place: Place) -> tuple[Policy, ...]:
    """The policies of the calling run, but those that are ``inherited = False``: about that run
    alone."""
    task = place.run.task
    policies = flat((place.loop.policies, (task and task.limits) or ()))
    return tuple(policy for policy in policies if getattr(policy, "inherited", True))


def _slice(high: int, seconds: float | None) -> Budget:
    """What a child may spend, in nano-dollars and seconds."""
    return Budget(usd=Decimal(high) / 10**9, seconds=seconds)


def _left(run: Run) -> float | None:
    """The working time that the calling run has left, in seconds."""
    limit = run.limits.get("seconds")
    return None if limit is None else max(0.0, limit - run.seconds)


@frozen(str=False)
class Under(Policy):
    """The policies of the calling run, before a call; the model is the child's own business.

    Each is heard by itself: one that would only switch must not keep those below from speaking.
    """

    policies: tuple[Policy, ...]

    @property
    def ceilings(self) -> tuple[Ceiling, ...]:
        """The shared ceilings of the calling run hold for its children, too."""
        return _shared(self.policies)

    def decide(self, run: Run) -> Decision | None:
        if run.moment != "call":
            return None
        said = [policy.decide(run) for policy in self.policies]
        heard = [one for one in said if one is not None and not isinstance(one, Switch)]
        stops = (one for one in heard if isinstance(one, Stop))
        return next(stops, heard[0] if heard else None)
