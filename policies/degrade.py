"""`Degrade`: when the money does not reach, something cheaper rather than nothing."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from decimal import Decimal

from attrs import evolve, field, frozen

from loopwright.calls import NANO, Compaction, ModelCall, Quote
from loopwright.decisions import Amend, Decision, Refuse, Switch
from loopwright.outcome import Outcome
from loopwright.policies.given import at_least, named
from loopwright.policy import Policy
from loopwright.quote import quoted
from loopwright.run import Run

KEPT = 2
"""Messages that are never shortened: the last tool calls and what came of them, which the model has
not read yet."""


def _models(models: Iterable[str]) -> tuple[str, ...]:
    return named("Degrade", models)


@frozen(str=False)
class Degrade(Policy):
    """Makes a model call cheaper if what it may cost does not fit what is left, step by step.

    First with fewer output tokens, but at least `least` (512, some 2,000 characters: shorter
    answers are mostly cut off, and then rejected); then with the old tool results cut to `longest`
    characters each (0 leaves this step out; 500 keep the beginning, which often says what it is);
    then on the next of `models`, cheaper ones of your choice,
    if need be with fewer output tokens; and if there is a rejected answer
    already, the run ends as exhausted with the best one kept. Each step is taken only if the call
    then fits: the limits of the run, in money and tokens, and the shared ceiling that declined it.

    Stands above the `Budget` in the list, which speaks if nothing is cheap enough.

    >>> from loopwright import Budget, Loop, Task
    >>> from loopwright.models import Scripted, set_price
    >>> set_price("cheap:cheap", input=1, output=10)
    >>> cheap = Scripted(["Hello."], name="cheap")
    >>> run = Loop(cheap, policies=[Degrade(), Budget(usd="0.02")]).run_now(Task("Hi."))
    >>> run.output, run.decisions[0].decision.why
    ('Hello.', 'what is left pays for 1985 output tokens instead of 4096')
    """

    models: tuple[str, ...] = field(default=(), converter=_models)
    least: int = field(default=512, validator=at_least(1, whole=True), kw_only=True)
    longest: int = field(default=500, validator=at_least(0, whole=True), kw_only=True)

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if run.moment != "call" or not isinstance(call, ModelCall) or _fits(run, run.quote):
            return None
        return next(self._steps(run, call), None)

    def _steps(self, run: Run, call: ModelCall) -> Iterator[Decision]:
        """All that can be done instead, the mildest first."""
        if clamped := self._clamped(run, call):
            yield Amend(clamped, _paid(clamped, call))
        if (shorter := self._shorter(run, call)) and (both := self._clamped(run, shorter)):
            yield Amend(both, f"old tool results are cut to {self.longest} characters")
        for model in self.models:
            elsewhere = evolve(call, model=model)
            if model not in (call.model, *run.models) and self._clamped(run, elsewhere):
                yield Switch(model, f"{call.model} does not fit what is left, {model} does")
        if run.best and call.purpose == "answer":
            why = f"no call fits what is left: the best answer so far, by {run.best.by}, is kept"
            yield Refuse(why, Outcome.exhausted)

    def _clamped(self, run: Run, call: ModelCall) -> ModelCall | None:
        """The call with as many output tokens as fit, if that is enough."""
        sizes = range(min(self.least, call.max_tokens), call.max_tokens + 1)
        fitting = bisect_right(sizes, 0, key=lambda size: not _fits(run, _quote(run, call, size)))
        return evolve(call, max_tokens=sizes[fitting - 1]) if fitting else None

    def _shorter(self, run: Run, call: ModelCall) -> ModelCall | None:
        """The call with old tool results cut, if they were not already."""
        before, upto = call.compaction or Compaction(0), call.upto - KEPT
        if not self.longest or call.purpose != "answer" or before.summary or upto <= before.upto:
            return None
        return evolve(call, compaction=Compaction(upto, longest=self.longest))


def _paid(clamped: ModelCall, call: ModelCall) -> str:
    return f"what is left pays for {clamped.max_tokens} output tokens instead of {call.max_tokens}"


def _fits(run: Run, quote: Quote) -> bool:
    """Whether `quote` is within the run's own limits, and within the ceiling that declined it."""
    spent, limits = run.spent, run.limits
    usd, tokens = Decimal(limits.get("usd", "inf")), limits.get("tokens", float("inf"))
    money = usd * NANO - spent.at_most
    room = {"usd": money, "tokens": Decimal(tokens) - spent.tokens}
    for one in run.declined:
        if one.ceiling.unit in room and run.call and one.call == run.call.id:
            left = one.ceiling.limit - one.settled - one.reserved - one.presumed
            room[one.ceiling.unit] = min(room[one.ceiling.unit], Decimal(left))
    return quote.high <= room["usd"] and quote.tokens <= room["tokens"]


def _quote(run: Run, call: ModelCall, max_tokens: int) -> Quote:
    """Of what another model sees, or what is shortened, nothing was counted yet."""
    anew = call.model != run.model or call.compaction != run.compaction
    seen_by = run.but(counted=(0, 0)) if anew else run
    return quoted(evolve(call, max_tokens=max_tokens), seen_by.bound(call))
