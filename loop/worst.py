"""`Worst`: the most that a run can use, known before it begins."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from attrs import frozen

from loopwright import budget
from loopwright.budget import Budget
from loopwright.calls import NANO, Options
from loopwright.errors import BadInput
from loopwright.live import GRACE
from loopwright.models import catalogue
from loopwright.policy import Function, Policy, When
from loopwright.task import NOTHING, Task


@frozen
class Worst:
    """The most that one run can use; `None` where nothing bounds it.

    `cost` is in USD, by the price table, and holds as long as no provider reports more than its
    call could have; `seconds` are working time, to which only that of your own checks and policies
    can be added. Whatever the model says is covered: it may call tools that are not there, pause,
    or fail for ever. An interruption may add the calls that clear up after it, and a run that a
    tool begins has a worst case of its own, of which only the cost is part of this one.

    >>> from loopwright.budget import Budget
    >>> print(worst([Budget(usd="0.50", tool_calls=10)], Task("Hi."), "anthropic:claude-haiku-4-5"))
    at most 0.5 USD, 1000000 tokens, 25 model calls, 0 tool calls, 601 s
    """

    cost: Decimal | None = None
    tokens: int | None = None
    model_calls: int | None = None
    tool_calls: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        cost = None if self.cost is None else f"{self.cost.normalize():f}"
        seconds = None if self.seconds is None else f"{self.seconds:g}"
        shown = (
            *((cost, "USD"), (self.tokens, "tokens"), (self.model_calls, "model calls")),
            *((self.tool_calls, "tool calls"), (seconds, "s")),
        )
        return "at most " + ", ".join(_amount(number, unit) for number, unit in shown)


def _amount(number: object, unit: str) -> str:
    return f"unlimited {unit}" if number is None else f"{number} {unit}"


def worst(policies: Sequence[Policy], task: Task, model: str) -> Worst:
    """The most that a run of `task` on `model` can use under `policies`, a flat list.

    The limits of its budgets, the default ones included, bound it, for every call is measured
    against them before it is made. They are tightened where that can be proved: a task without
    tools makes no tool call; where a step holds one model call, there are no more calls than steps;
    and tokens cost no more than the dearest model that the run can reach asks for them.
    """
    held = budget.limits((*policies, budget.defaults(policies)))
    calls, tokens = _model_calls(task, held), held.get("tokens")
    undone = _undone(task, held.get("tool_calls"))
    return Worst(
        cost=_cost(policies, task, held, _by_price(policies, task, model, tokens, calls)),
        tokens=tokens,
        model_calls=calls,
        tool_calls=_sum(held.get("tool_calls"), undone) if task.tools else 0,
        seconds=_sum(held.get("seconds"), _sum(GRACE, undone, GRACE + LEAST)),
    )


LEAST = 0.001
"""Seconds that a call has where none are left (`loopwright.use.timeout`)."""


def _undone(task: Task, tool_calls: int | None) -> int | None:
    """How many calls may be taken back in the end, for which no limit holds."""
    return tool_calls if _undoable(task) else 0


def _undoable(task: Task) -> list[Any]:
    return [tool for tool in task.tools.values() if getattr(tool, "undo", None)]


def _sum(bound: Any, more: Any, each: float = 1) -> Any:
    return None if bound is None or more is None else bound + more * each


def _model_calls(task: Task, held: Any) -> int | None:
    """Judges are asked together in one step; a call of a tool may be amended to what counts."""
    alone = not task.tools and not any(hasattr(check, "ask") for check in task.checks)
    names = ("model_calls", "steps") if alone else ("model_calls",)
    least: int | None = _least(held.get(name) for name in names)
    return least


def _least(bounds: Iterable[Any]) -> Any:
    return min((bound for bound in bounds if bound is not None), default=None)


# ---------------------------------------------------------------------------------------- money


def _cost(policies: Sequence[Policy], task: Task, held: Any, by_price: int | None) -> Any:
    """What is allowed without a price costs what nobody knows, unless all prices are known; and no
    limit holds for what is taken back."""
    if by_price is None and budget.defaults(policies).unpriced == "allow":
        return None
    if any(map(_paid, _undoable(task))):
        return None
    limits = [int(Decimal(held["usd"]) * NANO)] if "usd" in held else []
    shared = [c.limit for c in budget.ceilings(policies) if (c.unit, c.per, c.model) == _WHOLE]
    nano = _least([by_price, *limits, *shared])
    return None if nano is None else Decimal(nano) / NANO


def _paid(tool: Any) -> bool:
    return bool(getattr(tool, "quote", NOTHING).high)


_WHOLE = ("usd", "", "*")
"""A shared ceiling that bounds each run, too; a run may last over several windows."""


def _by_price(
    policies: Sequence[Policy], task: Task, model: str, tokens: int | None, calls: int | None
) -> int | None:
    """What so many tokens cost on the dearest model, if all that can be called are known.

    The price of each call is rounded up, by less than a nano-dollar.
    """
    known = reachable(policies, task, model)
    if tokens is None or known is None or any(map(_paid, task.tools.values())):
        return None
    try:
        dearest = max(_dearest(name, task.options, tokens) for name in known)
    except BadInput:
        return None
    rounded: int = _least([tokens, calls])
    return dearest + rounded if dearest else 0


def _dearest(model: str, options: Options, tokens: int) -> int:
    """Whatever part of them goes in or comes out."""
    prices = []
    for asked in (options, Options()):
        into = catalogue.quote(model, tokens, 0, asked).high
        both = catalogue.quote(model, tokens, tokens, asked).high
        prices.append(max(into, both - into))
    return max(prices)


def reachable(policies: Sequence[Policy], task: Task, model: str) -> set[str] | None:
    """The models that a run can call, or `None` if a policy does not say which ones it may call.

    A policy says so with an attribute `models`, which is empty if it never changes the model; it
    then asks for nothing dearer than the task does, either.
    """
    found = {model, *of_checks(task)}
    for policy in policies:
        inner = unwrapped(policy)
        if isinstance(inner, Budget):
            continue
        if not hasattr(inner, "models") or isinstance(inner, Function):
            return None
        found |= set(named(inner))
    return found


def unwrapped(policy: Policy) -> Policy:
    """The policy inside ``.when(...)``."""
    return unwrapped(policy.policy) if isinstance(policy, When) else policy


def named(policy: Policy) -> tuple[str, ...]:
    """The models that a policy says it may call."""
    models: Any = getattr(unwrapped(policy), "models", ())
    return tuple(name for name in models if isinstance(name, str)) if _many(models) else ()


def of_checks(task: Task) -> set[str]:
    """The models that the task's judges ask."""
    asked = [(getattr(c, "model", ""), *(getattr(c, "models", ()) or ())) for c in task.checks]
    return {name for names in asked for name in names if name}


def _many(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str)
