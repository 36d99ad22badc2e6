"""Spending: what is reserved, settled and presumed spent as the calls of a run go."""

from attrs import evolve

from loopwright.calls import Call, Failure, ModelCall, Reply, ToolCall
from loopwright.draft import put
from loopwright.events import Returned, Spent
from loopwright.run import Run


def reserved(spent: Spent, call: Call) -> Spent:
    """What is spent once `call` is under way."""
    if not isinstance(call, ModelCall | ToolCall):
        return spent
    quote, asks = call.quote, isinstance(call, ModelCall)
    return Spent(
        spent.settled,
        spent.reserved + quote.high,
        spent.presumed,
        spent.tokens + quote.tokens if asks else spent.tokens,
        spent.model_calls + asks,
        spent.tool_calls + (not asks),
    )


def settled(run: Run, call: ModelCall, reply: Reply, event: Returned) -> Run:
    """With what the call has cost; the call is presumed spent if the reply says nothing of it."""
    spent, usage = run.spent, reply.usage
    unknown = usage is None
    spent = Spent(
        spent.settled + event.cost.high,
        spent.reserved - call.quote.high,
        spent.presumed + (call.quote.high if unknown else 0),
        spent.tokens + (0 if usage is None else usage.tokens - call.quote.tokens),
        spent.model_calls,
        spent.tool_calls,
    )
    counted = run.counted
    if usage is not None and call.purpose == "answer":
        counted = (run.size, usage.input + usage.output) if usage.input else (0, 0)
    if run.failures:
        put(run, failures=0)
    return put(run, spent=spent, counted=counted)


def unpresumed(spent: Spent, amount: int) -> Spent:
    """What is spent if the call for which `amount` was presumed is made again, and settles it."""
    return evolve(spent, presumed=spent.presumed - amount) if amount else spent


def unbilled(failure: Failure) -> bool:
    """A provider that answered with an error status has billed nothing; else it may have."""
    return failure.status is not None and failure.status >= 400


def unsettled(spent: Spent, call: ModelCall, failure: Failure) -> Spent:
    """What is spent after a call that failed: presumed, unless it was not billed."""
    free = unbilled(failure)
    return evolve(
        spent,
        reserved=spent.reserved - call.quote.high,
        presumed=spent.presumed + (0 if free else call.quote.high),
        tokens=spent.tokens - (call.quote.tokens if free else 0),
    )
