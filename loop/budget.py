"""`Budget`: the limits of a run. They are finite unless one is lifted with `unlimited`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from math import inf
from typing import Any

import attrs
from attrs import field, frozen

from loopwright.calls import NANO, Call, ModelCall, Sleep, ToolCall
from loopwright.ceiling import LARGEST, asked, covers
from loopwright.codec import nameable
from loopwright.decisions import Decision, Refuse, Stop, TryAgain
from loopwright.errors import BadInput
from loopwright.events import Ceiling, Declined
from loopwright.outcome import Outcome
from loopwright.policy import UNTOLD, Policy, When
from loopwright.run import CONTEXT, Run

unlimited = inf
"""Lifts a limit: ``Budget(tool_calls=unlimited)``. Nothing else does."""

Limit = int | float | Decimal | str | None


def _limit(value: Limit, budget: Any, attribute: Any) -> Any:
    name = attribute.name
    if value is None:
        return None
    number, said = _number(value), f"{type(budget).__name__}({name}={value!r})"
    if number is None or number < 0:
        raise BadInput(f"{said}: give a number of at least 0, or unlimited")
    if number == Decimal("inf"):
        return inf
    most = LARGEST // NANO if name == "usd" else LARGEST
    if number > most:
        raise BadInput(f"{said}: give at most {most}, or unlimited")
    if name == "usd":
        return number
    if name != "seconds" and number != int(number):
        raise BadInput(f"{said}: give a whole number")
    return float(number) if name == "seconds" else int(number)


def _number(value: Any) -> Decimal | None:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return None if isinstance(value, bool) or number.is_nan() else number


def _limited() -> Any:
    converter = attrs.Converter(_limit, takes_self=True, takes_field=True)
    return field(default=None, converter=converter)


@frozen(str=False)
class Budget(Policy):
    """Stops the run as exhausted before a call that could pass a limit.

    `usd`: money, by the highest price that the call can have; `tokens`: in and out, counted in the
    same way; `seconds`: working time, which waiting for a person is not; `model_calls`,
    `tool_calls`, `steps`: how many there may be. Of a batch of parallel tool calls that does not
    fit as a whole, none is made.

    A limit that is not given says nothing; what no budget of a loop says is filled with the
    default: 1 USD, 1,000,000 tokens, 10 minutes, 25 model calls, 50 tool calls, 100 steps. They are
    meant to be noticed by what runs away, and by nothing else. Of several budgets each one holds;
    one with `when` tightens, and lifts nothing: what it says above a default is refused, unless
    another budget lifts that.

    With a `name` it is a ceiling in `usd` that all runs of a log which name it share, in whatever
    process; `per` then is ``"minute"``, ``"hour"``, ``"day"``, ``"week"`` or ``"month"`` of the
    calendar in UTC, and without it all time counts. The log holds it: the reservation, the look at
    the ceiling and the intent to make the call are one transaction. A bill above its reservation is
    settled in full, and nothing more is let through.

    A reservation that does not fit is refused, and the run ends as exhausted, unless a policy above
    this one, such as `Degrade`, knows a call that is cheaper; the other limits stop the run. A
    model call that `seconds` cut off stays due: a run that is resumed with more makes it again.

    `unpriced` says what happens with a model whose price is unknown: ``"refuse"``, which is
    the default, or ``"allow"``.

    It is a ceiling over our price table and over the usage that the provider reports, not over the
    invoice. Raises `BadInput` for a limit that is negative, no number, or more than is counted: 9
    million USD, and 2 to the 53rd of all else.

    >>> Budget(usd="0.50", seconds=120).limits
    {'usd': '0.50', 'seconds': 120.0}
    >>> Budget(usd=50, per="day", name="support").ceilings[0].limit
    50000000000
    """

    usd: Limit = _limited()
    tokens: Limit = _limited()
    seconds: Limit = _limited()
    model_calls: Limit = _limited()
    tool_calls: Limit = _limited()
    steps: Limit = _limited()
    unpriced: str | None = field(default=None, kw_only=True)
    per: str = field(default="", kw_only=True)
    shared: str = field(default="", kw_only=True, alias="name")

    _watched: Any = field(default=None, init=False, repr=False, eq=False, metadata=UNTOLD)

    def __attrs_post_init__(self) -> None:
        if self.per or self.shared:
            _check_ceiling(self)
        if self.unpriced not in (None, "refuse", "allow"):
            raise BadInput(f"Budget(unpriced={self.unpriced!r}): say 'refuse' or 'allow'")

    @property
    def ceilings(self) -> tuple[Ceiling, ...]:
        """What the runs that name it share, if it has a name."""
        return (Ceiling(self.shared, _nano(self.usd), self.per),) if self.shared else ()

    @property
    def limits(self) -> Mapping[str, Any]:
        """The finite limits of one run, as they stand in the log."""
        held = {} if self.shared else {name: getattr(self, name) for name in DEFAULTS}
        return {
            name: str(limit) if name == "usd" else limit
            for name, limit in held.items()
            if limit not in (None, inf)
        }

    def decide(self, run: Run) -> Decision | None:
        if run.moment == "failure":
            return _cut_off(self, run)
        if run.moment != "call":
            return None
        stopping, refusing = self._watched or _watched(self)
        for past in stopping:
            if over := past(self, run):
                return Stop(over, Outcome.exhausted)
        for past in refusing:
            if over := past(self, run):
                return Refuse(over, Outcome.exhausted)
        return None


def _cut_off(budget: Budget, run: Run) -> Decision | None:
    """A model call that time cut off is due again: it is the limit that the run then ends for, and
    with more time it can go on."""
    assert run.failure is not None
    limit: Any = inf if budget.seconds is None else budget.seconds
    if run.seconds < limit or run.failure.kind != "timeout" or not isinstance(run.call, ModelCall):
        return None
    return TryAgain(why=f"the limit of {limit:g} s cut the call off")


def _over_time(budget: Budget, run: Run) -> str | None:
    if isinstance(run.call, Sleep) and run.call.idle:
        return None
    if isinstance(run.call, Sleep) and run.seconds + run.call.seconds > budget.seconds:  # type: ignore[operator]
        return (
            f"sleeping {run.call.seconds:.4g} s would pass the limit of {budget.seconds:g} s: "
            f"{run.seconds:.4g} s are used"
        )
    if run.seconds >= budget.seconds:  # type: ignore[operator]
        return f"the limit of {budget.seconds:g} s is reached: {run.seconds:.4g} s are used"
    return None


def _over_count(budget: Budget, run: Run) -> str | None:
    spent, call = run.spent, run.call
    if isinstance(call, ModelCall):
        return _past("model calls", budget.model_calls, spent.model_calls, 1) or _past(
            "steps", budget.steps, run.step, 1
        )
    if isinstance(call, ToolCall):
        return _past("tool calls", budget.tool_calls, spent.tool_calls, 1) or _past(
            "steps", budget.steps, run.step, 1
        )
    return None


def _past(what: str, limit: Any, used: int, asked: int) -> str | None:
    if limit is None or used + asked <= limit:
        return None
    return f"the limit of {limit} {what} would be passed: {used} used, {asked} more asked"


def _over_tokens(budget: Budget, run: Run) -> str | None:
    over = _past("tokens", budget.tokens, run.spent.tokens, run.quote.tokens)
    whole = over and isinstance(run.call, ModelCall) and run.quote.tokens >= CONTEXT
    return f"{over} (a document may fill the whole context of its model)" if whole else over


def _over_money(budget: Budget, run: Run) -> str | None:
    if not run.quote.high:
        return None
    spent, limit = run.spent, _nano(budget.usd)
    if spent.at_most + run.quote.high <= limit:
        return None
    used = _used(spent.settled, spent.reserved, spent.presumed, _usd)
    return _told(f"the limit of {budget.usd:f} USD", used, run.call, _usd(run.quote.high))


def told(declined: Declined, call: Call | None) -> str:
    """Why the ledger declined: the ceiling, its limit, and what is used of it."""
    ceiling = declined.ceiling
    shown = _usd if ceiling.unit == "usd" else str
    limit = f"the ceiling {ceiling.name!r} of {shown(ceiling.limit)} {_UNITS[ceiling.unit]}"
    limit += _EACH[ceiling.per]
    if ceiling.unit == "failures":
        return f"{limit} is reached: {declined.settled} settled"
    used = _used(declined.settled, declined.reserved, declined.presumed, shown)
    return _told(limit, used, call, shown(declined.asked))


_UNITS = {"usd": "USD", "tokens": "tokens", "requests": "requests", "failures": "failed calls"}
_EACH = {"": ""} | {per: f" a {per}" for per in ("minute", "day", "week", "month")}
_EACH["hour"] = " an hour"


def _used(settled: int, reserved: int, presumed: int, shown: Callable[[int], str]) -> str:
    return f"{shown(settled)} settled, {shown(reserved)} reserved, {shown(presumed)} presumed"


def _told(limit: str, used: str, call: Call | None, asked: str) -> str:
    whom = f" to {call.model}" if isinstance(call, ModelCall) else ""
    return f"{limit} could be passed: {used}, and this call{whom} may cost {asked}"


def _unpriced(budget: Budget, run: Run) -> str | None:
    why = run.quote.unpriced
    return why and f"no limit in USD can hold: {why}. Or say Budget(unpriced='allow')"


Past = Callable[[Budget, Run], str | None]
"""Says that a limit would be passed, if it would."""

_STOPPING: Mapping[Past, tuple[str, ...]] = {
    _over_time: ("seconds",),
    _over_count: ("model_calls", "tool_calls", "steps"),
    _unpriced: ("unpriced",),
}
_REFUSING: Mapping[Past, tuple[str, ...]] = {_over_tokens: ("tokens",), _over_money: ("usd",)}


def _watched(budget: Budget) -> tuple[tuple[Past, ...], tuple[Past, ...]]:
    """What stops a run and what refuses a call, of the limits that are held; found out once."""
    watched = (_held(budget, _STOPPING), _held(budget, _REFUSING))
    object.__setattr__(budget, "_watched", watched)
    return watched


def _held(budget: Budget, watched: Mapping[Past, tuple[str, ...]]) -> tuple[Past, ...]:
    """What has something to watch; a ceiling that runs share is watched by their log."""
    lifted = (None, inf, "allow")
    held = {name for names in watched.values() for name in names if not _shares(budget, name)}
    held = {name for name in held if getattr(budget, name) not in lifted}
    return tuple(past for past, names in watched.items() if held.intersection(names))


def _shares(budget: Budget, name: str) -> bool:
    return name == "usd" and bool(budget.shared)


@frozen(str=False)
class Ceilings(Policy):
    """A call that the ledger has declined is refused, unless a policy above knows a cheaper one.

    Stands below the user's list in every loop.
    """

    def decide(self, run: Run) -> Decision | None:
        call = run.call
        if run.moment != "call" or not run.declined or not isinstance(call, ModelCall):
            return None
        last = run.declined[-1]
        if _another(call, last) and len(run.declined) < MOST_DECLINED:
            return None
        return Refuse(told(last, call), Outcome.exhausted)


def _another(call: ModelCall, last: Declined) -> bool:
    """Whether it is another call than the one declined last, one that the ceiling does not count,
    or the same made smaller."""
    elsewhere = call.id != last.call or not covers(last.ceiling, call)
    return elsewhere or asked(last.ceiling, call) < last.asked


MOST_DECLINED = 10
"""Reservations declined in a row, after which nothing smaller is tried: halving ten times makes of
any call a thousandth."""


def _nano(usd: Any) -> int:
    return int(usd * NANO)


def _usd(nano: int) -> str:
    """To the millionth, and as much further as there is something."""
    exact = f"{Decimal(nano) / NANO:.9f}"
    return exact[:-3] + exact[-3:].rstrip("0")


DEFAULTS: Mapping[str, Any] = {
    "usd": Decimal(1),
    "tokens": 1_000_000,
    "seconds": 600.0,
    "model_calls": 25,
    "tool_calls": 50,
    "steps": 100,
}
"""What holds where nobody says anything: a person who starts a run and looks away for ten minutes
should find it ended, and the loss small."""


def defaults(policies: Sequence[Policy]) -> Budget:
    """A budget of the default limits, for all that no budget among `policies` speaks of.

    Raises `BadInput` for one with `when` that has no effect beside it.
    """
    default = filling(policies)
    check_when(policies, default)
    return default


def filling(policies: Iterable[Policy]) -> Budget:
    """The same before all is known: the limits of a task may lift what they let stand."""
    budgets = _budgets(policies)
    own = [budget for budget in budgets if not budget.shared]
    silent = {n: d for n, d in DEFAULTS.items() if all(getattr(b, n) is None for b in own)}
    said = {budget.unpriced for budget in budgets}
    allowed = "allow" in said and "refuse" not in said
    return Budget(**silent, unpriced="allow" if allowed else "refuse")


def check_when(policies: Iterable[Policy], default: Budget) -> None:
    """Raise `BadInput` for a budget with `when` that has no effect beside the `default`."""
    for policy in policies:
        _check_when(policy, policy, default)


def _check_when(policy: Policy, inner: Policy, default: Budget) -> None:
    """What was meant to lift a limit must not let it stand in silence."""
    if isinstance(inner, When):
        _check_when(policy, inner.policy, default)
    if policy is inner or not isinstance(inner, Budget):
        return
    for name in DEFAULTS:
        said, held = getattr(inner, name), getattr(default, name)
        if None not in (said, held) and said > held:
            raise BadInput(
                f"{policy}: the default of {held:g} {name} holds beside it, so it has no effect: "
                f"say what holds at all times, too, as in Budget({name}={said})"
            )
    if (inner.unpriced, default.unpriced) == ("allow", "refuse"):
        raise BadInput(
            f"{policy}: unpriced='allow' holds for a whole loop: say it in a Budget without when"
        )


def limits(policies: Iterable[Policy]) -> Mapping[str, Any]:
    """The finite limits that hold under `policies`: of each the tightest."""
    budgets = _budgets(policies)
    said = {n: [b.limits[n] for b in budgets if n in b.limits] for n in DEFAULTS}
    return {name: min(held, key=float) for name, held in said.items() if held}


def ceilings(policies: Iterable[Policy]) -> tuple[Ceiling, ...]:
    """The ceilings that `policies` share with other runs. Raises `BadInput` as `agree` does."""
    found = dict.fromkeys(one for policy in policies for one in getattr(policy, "ceilings", ()))
    agree(found, found)
    return tuple(found)


def agree(ceilings: Iterable[Ceiling], others: Iterable[Ceiling]) -> None:
    """Raise `BadInput` if one of `others` has the name of another one of `ceilings`."""
    known = {ceiling.name: ceiling for ceiling in ceilings}
    for one in others:
        if known.get(one.name, one) != one:
            raise BadInput(f"two ceilings have the name {one.name!r}: give each ceiling its own")


def _check_ceiling(budget: Budget) -> None:
    others = [n for n in DEFAULTS if n != "usd" and getattr(budget, n) is not None]
    if not isinstance(budget.shared, str):
        raise BadInput(f"Budget(name={budget.shared!r}): a name is a text")
    if not budget.shared:
        raise BadInput(
            f"Budget(per={budget.per!r}): give the ceiling a name, by which runs share it"
        )
    nameable(budget.shared, "ceiling")
    if budget.per not in ("", *WINDOWS):
        raise BadInput(f"Budget(per={budget.per!r}): say one of {', '.join(WINDOWS)}")
    if budget.usd in (None, inf) or others:
        raise BadInput(
            f"Budget(name={budget.shared!r}): a shared ceiling is an amount of usd, and nothing "
            "else; put other limits into a Budget of their own"
        )


WINDOWS = ("minute", "hour", "day", "week", "month")
"""The calendar windows, in UTC, over which a shared ceiling can hold."""


def _budgets(policies: Iterable[Policy]) -> list[Budget]:
    return [policy for policy in policies if isinstance(policy, Budget)]
