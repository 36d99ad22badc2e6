"""THE loop. Read this first: call, inspect, decide, until the run has an outcome.

Everything goes through here: scripts, notebooks, stepping, streaming, resuming and replaying.
What happens in a special case is a policy; how an effect is carried out is the port's business.
"""

from collections.abc import AsyncGenerator, Sequence

from loopwright.decide import decide
from loopwright.inspect import inspect
from loopwright.policy import Policy
from loopwright.port import Port
from loopwright.run import Run


async def loop(run: Run, policies: Sequence[Policy], port: Port) -> AsyncGenerator[Run, None]:
    """Carry `run` on, and show it after each step, until it is over or has to wait.

    `record` writes events down before it gives back the run that they lead to; the calls that
    stand in `run.in_flight` were therefore written down before they are made.
    """
    while run.open:
        async with port.outcomes(run) as outcomes:  # call
            async for outcome in outcomes:
                run = await port.record(run, [outcome])
        run = await port.record(run, inspect(run, port.now()))  # inspect
        run = await port.record(run, decide(run, policies, port.now()))  # decide
        yield run
