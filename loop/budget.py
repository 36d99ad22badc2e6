"""`Budget`: the limits of a run. They are finite unless one is lifted with `unlimited`."""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from math import inf, isnan
from typing import Any

import attrs
from attrs import field, frozen

from loopwright.calls import NANO, ModelCall, Sleep, ToolCall
from loopwright.decisions import Decision, Stop
from loopwright.errors import BadInput
from loopwright.outcome import Outcome
from loopwright.policy import Policy
from loopwright.run import Run

unlimited = inf
"""Lifts a limit: ``Budget(tool_calls=unlimited)``. Nothing else does."""

Limit = int | float | Decimal | str | None


def _limit(value: Limit, attribute: Any) -> Any:
    name = attribute.name
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("nan")
    if isinstance(value, bool) or isnan(number) or number < 0:
        raise BadInput(f"Budget({name}={value!r}): give a number of at least 0, or unlimited")
    if number == Decimal("inf"):
        return inf
    if name == "usd":
        return number
    if name != "seconds" and number != int(number):
        raise BadInput(f"Budget({name}={value!r}): give a whole number")
    return float(number) if name == "seconds" else int(number)


def _limited() -> Any:
    return field(default=None, converter=attrs.Converter(_limit, takes_field=True))


@frozen(str=False)
class Budget(Policy):
    """Stops the run as exhausted before a call that could pass a limit.

    `usd`: money, by the highest price that the call can have; `tokens`: in and out, counted in the
    same way; `seconds`: working time, which waiting for a person is not; `model_calls`,
    `tool_calls`, `steps`: how many there may be. Of a batch of parallel tool calls that does not
    fit as a whole, none is made.

    A limit that is not given says nothing; what no budget of a loop says is filled with the
    default: 1 USD, 1,000,000 tokens, 10 minutes, 25 model calls, 50 tool calls, 100 steps. They are
    meant to be noticed by what runs away, and by nothing else. Of several budgets each one holds.

    `unpriced` says what happens with a model whose price is unknown: ``"refuse"``, which is
    the default, or ``"allow"``.

    It is a ceiling over our price table and over the usage that the provider reports, not over the
    invoice. Raises `BadInput` for a limit that is negative or no number.

    >>> Budget(usd="0.50", seconds=120).limits
    {'usd': '0.50', 'seconds': 120.0}
    """

    usd: Limit = _limited()
    tokens: Limit = _limited()
    seconds: Limit = _limited()
    model_calls: Limit = _limited()
    tool_calls: Limit = _limited()
    steps: Limit = _limited()
    unpriced: str | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.unpriced not in (None, "refuse", "allow"):
            raise BadInput(f"Budget(unpriced={self.unpriced!r}): say 'refuse' or 'allow'")

    @property
    def limits(self) -> Mapping[str, Any]:
        """The finite limits, as they stand in the log."""
        held = {name: getattr(self, name) for name in DEFAULTS}
        return {
            name: str(limit) if name == "usd" else limit
            for name, limit in held.items()
            if limit not in (None, inf)
        }

    def decide(self, run: Run) -> Decision | None:
        if run.moment != "call":
            return None
        over = _over_time(self, run) or _over_count(self, run) or _over_money(self, run)
        return Stop(over, Outcome.exhausted) if over else None


def _over_time(budget: Budget, run: Run) -> str | None:
    if budget.seconds is None:
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
        return (
            _past("model calls", budget.model_calls, spent.model_calls, 1)
            or _past("tokens", budget.tokens, spent.tokens, call.quote.tokens)
            or _past("steps", budget.steps, run.step, 1)
        )
    if isinstance(call, ToolCall):
        return _past("tool calls", budget.tool_calls, spent.tool_calls, 1)
    return None


def _past(what: str, limit: Any, used: int, asked: int) -> str | None:
    if limit is None or used + asked <= limit:
        return None
    return f"the limit of {limit} {what} would be passed: {used} used, {asked} more asked"


def _over_money(budget: Budget, run: Run) -> str | None:
    call = run.call
    if not isinstance(call, ModelCall) or (budget.usd is None and budget.unpriced is None):
        return None
    if not call.quote.priced:
        return _unpriced(call) if budget.unpriced != "allow" else None
    spent = run.spent
    if budget.usd in (None, inf) or spent.at_most + call.quote.high <= budget.usd * NANO:  # type: ignore[operator]
        return None
    return (
        f"the limit of {budget.usd} USD could be passed: {_usd(spent.settled)} settled, "
        f"{_usd(spent.reserved)} reserved, {_usd(spent.presumed)} presumed, and this call to "
        f"{call.model} may cost {_usd(call.quote.high)}"
    )


def _unpriced(call: ModelCall) -> str:
    return (
        f"the price of {call.model} is unknown, so no limit in USD can hold: is the name right? If "
        f"so, give the price with set_price({call.model!r}, input=..., output=...), or say "
        "Budget(unpriced='allow')"
    )


def _usd(nano: int) -> str:
    return f"{Decimal(nano) / NANO:.6f}"


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


def defaults(policies: Iterable[Policy]) -> Budget:
    """A budget of the default limits, for all that no budget among `policies` speaks of."""
    budgets = _budgets(policies)
    silent = {n: d for n, d in DEFAULTS.items() if all(getattr(b, n) is None for b in budgets)}
    said = {budget.unpriced for budget in budgets}
    allowed = "allow" in said and "refuse" not in said
    return Budget(**silent, unpriced="allow" if allowed else "refuse")


def limits(policies: Iterable[Policy]) -> Mapping[str, Any]:
    """The finite limits that hold under `policies`: of each the tightest."""
    budgets = _budgets(policies)
    said = {n: [b.limits[n] for b in budgets if n in b.limits] for n in DEFAULTS}
    return {name: min(held, key=float) for name, held in said.items() if held}


def _budgets(policies: Iterable[Policy]) -> list[Budget]:
    return [policy for policy in policies if isinstance(policy, Budget)]
