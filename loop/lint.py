"""`lint`: ask before you run. What a run can use at most, and what is wrong with its policies."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

from attrs import evolve, field, frozen

from loopwright import budget, dryrun
from loopwright.calls import ModelCall, ToolCall
from loopwright.ceiling import asked, covers
from loopwright.codec import canonical
from loopwright.decisions import Amend, Ask, Decision, Refuse, Switch
from loopwright.dryrun import REJECTED, WORLDS, Tried, World, dry
from loopwright.errors import BadInput
from loopwright.events import Ceiling, Decided, Declined, Intended
from loopwright.models import catalogue
from loopwright.outcome import Outcome
from loopwright.policy import Policy, flat
from loopwright.quote import quoted
from loopwright.run import Run
from loopwright.task import Task, a_task
from loopwright.worst import Worst, named, of_checks, unwrapped, worst

Level = Literal["error", "warning"]


@frozen
class Finding:
    """Something that is wrong (an error), or may be (a warning): with which policy, and what to do.

    `policy` is empty where it is about the loop or the task.
    """

    level: Level
    policy: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {f'{self.policy}: ' if self.policy else ''}{self.text}"


@frozen
class Forecast:
    """What is known of a run before it begins: the `worst` that it can use, and `findings`."""

    worst: Worst
    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings with which a run should not begin."""
        return tuple(found for found in self.findings if found.level == "error")

    def check(self) -> None:
        """Raise `BadInput` if there are errors."""
        if self.errors:
            raise BadInput("\n".join(map(str, self.errors)))

    def __str__(self) -> str:
        return "\n".join((str(self.worst), *map(str, self.findings)))

    def _repr_html_(self) -> str:
        from loopwright.show.notebook import forecast

        found: Any = self
        return forecast(found)

    def _repr_markdown_(self) -> str:
        from loopwright.show.notebook import forecast_markdown

        found: Any = self
        return forecast_markdown(found)


def lint(
    policies: Any,
    task: Task,
    model: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    answered: bool = False,
) -> Forecast:
    """What a run of `task` on `model` can use at most, and what is wrong with `policies`.

    Nothing is called. The worst case follows from the budgets (see `worst`). The findings follow
    from what the policies say of themselves, and from dry runs in which every answer is rejected,
    or every model call fails in one of the ways in which it can. `inputs` are those of the task, as
    far as they are known. `answered` says that questions to a person can be answered: that the loop
    has somebody to ``ask=``, or a log in which the run can wait.

    An error is what cannot work: a model without a price or with a smaller output, a limit below
    the first call, a question that nobody can answer, failures that are waited for until a limit is
    passed, a rung of a ladder that is never reached. A warning is what may be meant.

    A policy tells more of itself by attributes: `models` (those that it may call; see `worst`) and
    `tools` (patterns of the names of tools that it speaks about).

    >>> from loopwright import Budget, Task
    >>> from loopwright.decisions import TryAgain
    >>> def patient(run):
    ...     return TryAgain("later", after=61) if run.moment == "failure" else None
    >>> found = lint([Budget(seconds=120), patient], Task("Hi."), "anthropic:claude-haiku-4-5")
    >>> print(found.errors[0].text)
    when model calls fail as rate_limited, ...: 2 calls and 61 s of waiting, and then sleeping 61 s
    would pass the limit of 120 s: 61 s are used. Raise that limit, ...
    """
    theirs = (*flat(policies), *flat(a_task(task).limits or ()))
    scene = _Scene(theirs, task, model, dict(inputs or {}), answered)
    findings = [found for rule in RULES for found in rule(scene)]
    return Forecast(worst(theirs, task, model), tuple(dict.fromkeys(findings)))


# ----------------------------------------------------------------------- what the rules look at


@frozen(slots=False, eq=False)
class _Scene:
    """Policies, a task and a model, and the dry runs of them."""

    policies: tuple[Policy, ...]
    task: Task
    model: str
    inputs: Mapping[str, Any]
    answered: bool
    raised: dict[str, str] = field(factory=dict)

    @cached_property
    def run(self) -> Run:
        return dryrun.beginning(self.policies, self.task, self.model, self.inputs)

    @cached_property
    def runs(self) -> dict[World, Run]:
        """How it goes on, by the world."""
        return {world: self.under(self.policies, world) for world in WORLDS}

    def under(self, policies: Iterable[Policy], world: World) -> Run:
        tried = [Tried(policy, self.raised) for policy in policies]
        return dry(self.run, world, [*tried, budget.defaults(self.policies)])

    @property
    def unpriced(self) -> bool:
        """Whether models without a price are allowed."""
        return budget.defaults(self.policies).unpriced == "allow"

    @property
    def models(self) -> set[str]:
        rungs = {name for policy in self.policies for name in named(policy)}
        return {self.model, *rungs, *of_checks(self.task)}


def _at(*worlds: World) -> str:
    kinds = [world for world in worlds if world != REJECTED]
    failing = f"model calls fail as {', '.join(kinds)}" if kinds else ""
    return "when " + " or ".join(filter(None, (REJECTED if REJECTED in worlds else "", failing)))


def _told(policy: Policy) -> str:
    return canonical([policy.name, dict(policy.parameters)])


def _spoken(run: Run) -> list[str]:
    """Who decided in a run, each as `_told` tells it."""
    return [canonical([d.policy, dict(d.parameters)]) for d in run.decisions]


# ---------------------------------------------------------------------------------------- rules


def _models(scene: _Scene) -> Iterator[Finding]:
    """Prices that are unknown, and answers longer than the model can give."""
    for model in sorted(scene.models):
        try:
            catalogue.quote(model, 0, 0, scene.task.options)
        except BadInput as error:
            if not scene.unpriced:
                yield Finding("error", "", f"{error}; or allow it with Budget(unpriced='allow')")
        most = catalogue.capabilities(model).output
        if most is not None and scene.task.max_tokens > most:
            text = f"max_tokens={scene.task.max_tokens} is more than {model} can answer: say {most}"
            yield Finding("error", "", text)


def _unlimited(scene: _Scene) -> Iterator[Finding]:
    held = budget.limits((*scene.policies, budget.defaults(scene.policies)))
    for name in budget.DEFAULTS:
        if name not in held:
            text = f"there is no limit of {name}: say Budget({name}=...) unless that is meant"
            yield Finding("warning", "Budget", text)


def _first_call(scene: _Scene) -> Iterator[Finding]:
    """A limit, or a ceiling that runs share, below the price of the first call."""
    run = scene.runs[REJECTED]
    first = next(iter(scene.run.pending))
    if not run.spent.model_calls and run.outcome is Outcome.exhausted:
        who = run.decisions[-1].policy
        yield Finding("error", who, f"not even the first call can be made: {run.why}")
    call = _quoted(scene, first)
    for ceiling in budget.ceilings(scene.policies):
        if not _fits(ceiling, call) and not _cheaper(scene, ceiling, call):
            why = budget.told(_declined(ceiling, call), call)
            text = f"not even the first call can be made: {why}. Raise it, or lower max_tokens"
            yield Finding("error", ceiling.name, text)


def _quoted(scene: _Scene, call: Any) -> ModelCall:
    known: ModelCall = evolve(call, quote=quoted(call, scene.run.bound(call)))
    return known


def _fits(ceiling: Ceiling, call: ModelCall) -> bool:
    return not covers(ceiling, call) or asked(ceiling, call) <= ceiling.limit


def _declined(ceiling: Ceiling, call: ModelCall) -> Declined:
    return Declined(0.0, call.id, ceiling, 0, 0, 0, asked(ceiling, call))


def _cheaper(scene: _Scene, ceiling: Ceiling, call: ModelCall) -> bool:
    """Whether somebody knows a call that fits, in place of one that the ceiling declines."""
    view = scene.run.before(call, scene.run.spent).but(declined=(_declined(ceiling, call),))
    for policy in scene.policies:
        match _opinion(policy, view, scene):
            case Amend(ModelCall() as other) if _fits(ceiling, _quoted(scene, other)):
                return True
            case Switch(to) if _fits(ceiling, _quoted(scene, evolve(call, model=to))):
                return True
    return False


def _cut_off(scene: _Scene) -> Iterator[Finding]:
    """Ladders that are cut off by a limit."""
    worlds: dict[tuple[Level, str, str], list[World]] = {}
    for world, run in scene.runs.items():
        if run.outcome is Outcome.exhausted and run.spent.model_calls:
            *_, before, last = (None, *run.decisions)
            level: Level = "warning" if _spares(last, world) else "error"
            who = before.policy if before else last.policy
            worlds.setdefault((level, who, f"{_tries(run)}, and then {run.why}"), []).append(world)
    for (level, who, what), names in worlds.items():
        text = f"{_at(*names)}: {what}. Raise that limit, or let it try less often or wait shorter"
        yield Finding(level, who, text)


def _spares(last: Decided, world: World) -> bool:
    """A limit of money or tokens refuses, and is met only if every call costs as much as it can;
    to ask for better answers until a limit is reached may be meant."""
    return world == REJECTED or isinstance(last.decision, Refuse)


def _tries(run: Run) -> str:
    waited = f" and {run.seconds:.3g} s of waiting" if run.seconds else ""
    return f"{run.spent.model_calls} calls{waited}"


def _silent(scene: _Scene) -> Iterator[Finding]:
    """Policies that never get to speak, though they would if they stood alone."""
    spoken = {who for run in scene.runs.values() for who in _spoken(run)}
    seen: list[Policy] = []
    for policy in scene.policies:
        if policy in seen:
            yield Finding("warning", policy.name, f"{policy} stands there twice: leave one out")
        elif getattr(unwrapped(policy), "times", None) == 0:
            yield Finding("warning", policy.name, "with times=0 it never speaks: leave it out")
        elif _told(policy) not in spoken and (world := _alone(scene, policy)):
            yield Finding(*_unreachable(policy), _overruled(scene, policy, world))
        seen.append(policy)


def _alone(scene: _Scene, policy: Policy) -> World | None:
    """The first world in which it would speak if it stood alone; limits always hold."""
    if isinstance(policy, budget.Budget):
        return None
    alone = [policy, *(p for p in scene.policies if isinstance(p, budget.Budget))]
    told = _told(policy)
    return next((w for w in WORLDS if told in _spoken(scene.under(alone, w))), None)


def _unreachable(policy: Policy) -> tuple[Level, str]:
    return ("error" if named(policy) else "warning"), policy.name


def _overruled(scene: _Scene, policy: Policy, world: World) -> str:
    run = scene.runs[world]
    before = ", ".join(dict.fromkeys(d.policy for d in run.decisions))
    return (
        f"{policy} never gets to speak: {_at(world)} it would, but {before} spoke first, and the "
        f"run ended: {run.why}. Move it up, or let those above it speak less often"
    )


def _rungs(scene: _Scene) -> Iterator[Finding]:
    """Rungs of ladders that are climbed, but not to their end."""
    reached = {scene.model} | {model for run in scene.runs.values() for model in _called(run)}
    climbed = {who for run in scene.runs.values() for who in _climbers(run)}
    for policy in scene.policies:
        missed = [model for model in named(policy) if model not in reached]
        if missed and _told(policy) in climbed:
            ends = scene.runs[REJECTED].why
            text = f"the rung {missed[0]} is never reached, since a run ends before: {ends}"
            yield Finding("error", policy.name, text)


def _called(run: Run) -> set[str]:
    calls = [event.call for event in run.events if isinstance(event, Intended)]
    return {call.model for call in calls if isinstance(call, ModelCall)}


def _climbers(run: Run) -> list[str]:
    """Who went on to another model after something had gone wrong."""
    return [
        canonical([d.policy, dict(d.parameters)])
        for d in run.decisions
        if isinstance(d.decision, Switch) and d.moment != "call"
    ]


def _tools(scene: _Scene) -> Iterator[Finding]:
    """Patterns that fit no tool."""
    names = list(scene.task.tools)
    for policy in scene.policies:
        for pattern in _patterns(policy):
            if not any(fnmatchcase(name, pattern) for name in names):
                near = difflib.get_close_matches(pattern, names, 1)
                hint = f": did you mean {near[0]!r}?" if near else ""
                text = f"{pattern!r} fits no tool of the task{hint}"
                yield Finding("warning", policy.name, text)


def _patterns(policy: Policy) -> list[str]:
    tools = getattr(unwrapped(policy), "tools", ())
    return [t for t in tools if isinstance(t, str)] if isinstance(tools, list | tuple) else []


def _unanswered(scene: _Scene) -> Iterator[Finding]:
    """Questions before a call of a tool, or after what went wrong, that nobody can answer."""
    if scene.answered:
        return
    text = "asks a person {}, and nobody can answer: give the loop ask=, or a log to wait in"
    for name, call in ((n, ToolCall("dry", n)) for n in scene.task.tools):
        view = scene.run.before(scene.task.resolved(call), scene.run.spent)
        for policy in scene.policies:
            if isinstance(_opinion(policy, view, scene), Ask):
                yield Finding("error", policy.name, text.format(f"before {name} is called"))
    for world, run in scene.runs.items():
        for decided in run.decisions:
            if isinstance(decided.decision, Ask):
                yield Finding("error", decided.policy, text.format(_at(world)))


def _opinion(policy: Policy, view: Run, scene: _Scene) -> Decision | None:
    return Tried(policy, scene.raised).decide(view)


def _raised(scene: _Scene) -> Iterator[Finding]:
    """Stands last, when all dry runs have been made."""
    for name, error in scene.raised.items():
        text = f"in a dry run it raised {error}; give lint the inputs, or mend it"
        yield Finding("warning", name, text)


Rule = Callable[[_Scene], Iterable[Finding]]

RULES: Sequence[Rule] = (
    _models,
    _unlimited,
    _first_call,
    _cut_off,
    _silent,
    _rungs,
    _tools,
    _unanswered,
    _raised,
)
