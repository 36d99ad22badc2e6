"""What the tests of the ledger share, and what is done in the processes that they start.

Every model call there leaves a line in a file outside: what it has cost, whoever was killed.
"""

import json
import sqlite3
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from killed import Outside

from loopwright import Budget, Log, Loop, Outcome, Policy, Run, Task
from loopwright.calls import Failure, Reply, Request, Text, Usage
from loopwright.decisions import Decision, Switch
from loopwright.events import Ceiling
from loopwright.models import Scripted, set_price
from loopwright.policies import Retry

Balances = dict[tuple[str, str], tuple[int, int, int]]
Came = TypeVar("Came")


def driven(coroutine: Coroutine[Any, Any, Came]) -> Came:
    """What a coroutine that never suspends gives."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        came: Came = stop.value
        return came
    raise AssertionError("it suspended")


def balances(log: Log) -> Balances:
    rows = log.connection.execute("select * from balances where settled or reserved or presumed")
    return {(name, at): (a, b, c) for name, at, a, b, c in rows}


COST, QUOTE = 2_000, 8_000
"""Nano-dollars that a call costs, and those that are reserved for it."""

NARROW = 3
"""How many calls to the flaky model can have a reservation at the same time."""

set_price("spend:steady", 0, "1")
set_price("spend:flaky", 0, "1")


class Narrow(Policy):
    """A ceiling over the flaky model alone; what it declines goes to the steady one."""

    ceilings = (Ceiling("narrow", NARROW * QUOTE, model="spend:flaky"),)

    def decide(self, run: Run) -> Decision | None:
        narrow = run.moment == "call" and run.declined and run.declined[-1].ceiling.name == "narrow"
        if run.model == "spend:flaky" and (narrow or run.moment == "failure"):
            return Switch("spend:steady", "too many at once" if narrow else "it failed")
        return None


def the_loop(folder: Path, allowed: int) -> Loop:
    outside = Outside(folder)

    def model(request: Request) -> Reply | Failure:
        """The flaky one fails for nothing; the steady one has billed before it answers."""
        if request.model == "flaky":
            return Failure("overloaded", "busy", None, True, 529)
        outside.note("billed")
        return Reply((Text("yes"),), "stop", Usage(1, output_visible=COST // 1000))

    whole = Budget(f"{allowed}e-9", name="whole")
    return Loop(
        "spend:flaky",
        providers=[Scripted(model, name="spend")],
        policies=[Narrow(), Retry(times=3), whole],
        log=Log(folder / "runs.db", "process"),
    )


def never(answer: str) -> str:
    return "Spend more."


TASK = Task("Spend in {slot}.", checks=[never], max_tokens=QUOTE // 1000)

_LEFT = """
select s.run from events s where s.type = 'Started' and json_extract(s.data, '$.inputs.slot') = ?
  and not exists (select 1 from events e where e.run = s.run and e.type = 'Ended')
"""


def spend(folder: Path, slot: int, allowed: int, resumes: bool) -> None:
    """Make runs until the ceiling ends one; first, maybe, go on with those of a dead process."""
    loop = the_loop(folder, allowed)
    assert loop.log is not None
    left = loop.log.connection.execute(_LEFT, (slot,)).fetchall() if resumes else []
    for (run_id,) in left:
        loop.resume_now(run_id, TASK)
    while loop.run_now(TASK, slot=slot).outcome is not Outcome.exhausted:
        pass


def look(folder: Path, allowed: int) -> None:
    """Look at the balances again and again until the file `stop` is there; note what was seen."""
    limits = {"whole": allowed, "narrow": NARROW * QUOTE}
    looks, passed, most = 0, [], {"whole": 0, "narrow": 0}
    database = sqlite3.connect(folder / "runs.db")
    while not (folder / "stop").exists():
        looks += 1
        for name, used in database.execute(
            "select ceiling, settled + reserved + presumed from balances"
        ):
            most[name] = max(most[name], used)
            if used > limits[name]:
                passed.append((name, used))
        time.sleep(0.001)
    (folder / "seen").write_text(json.dumps({"looks": looks, "passed": passed, "most": most}))
