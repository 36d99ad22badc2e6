"""Writes the log that the questions of cookbook.md are put to: a shop, on two days.

    uv run examples/cookbook.py         writes shop.db
    sqlite3 -box shop.db "select task, label, runs, acceptance from tasks"

The models are scripted and the clock is told, so that everybody gets the same log.
"""

import sys
from typing import Any

from attrs import evolve

from loopwright import Budget, Log, Loop, Task
from loopwright.calls import (
    Call,
    Failure,
    ModelCall,
    Reply,
    Request,
    Sleep,
    Slept,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from loopwright.events import Event, Failed, Returned
from loopwright.log.search import index
from loopwright.models import Scripted, set_price
from loopwright.policies import Approve, Escalate, Judge, Retry
from loopwright.port import Port, Through
from loopwright.run import Run
from loopwright.tools import delegate, tool

for name, dollars in {"small": 1, "large": 10, "judge": 2}.items():
    set_price(f"shop:{name}", dollars, 5 * dollars)


# ------------------------------------------------------------------------------------ the tasks


@tool(effect="read", cache_seconds=30 * 86_400)
async def weather(city: str) -> str:
    """The usual weather of the season."""
    return f"Rain in {city}."


@tool(effect="unsafe")
def refund(order: str, euros: int) -> str:
    """Pay money back."""
    return f"{euros} euros were paid back for order {order}."


def names_the_city(text: str, run: Run) -> str | None:
    """A check."""
    return None if run.inputs["city"] in text else "Name the city."


def is_short(text: str) -> str | None:
    """Another one: what fits on a poster."""
    return None if len(text) <= 60 else "Use at most 60 characters."


CHECKS = [names_the_city, is_short]
JUDGE = Judge("It makes one smile.", model="shop:judge")
PROMPT = "Write one sentence that sells umbrellas in {city}"
first = Task(f"{PROMPT}.", name="promotion", label="v1", tools=[weather], checks=CHECKS)
second = Task(
    f"{PROMPT}. Name the city, and use at most 60 characters.",
    name="promotion",
    label="v2",
    tools=[weather],
    checks=[*CHECKS, JUDGE],
)
letter = Task("Answer this letter: {letter}", name="letter", tools=[refund], max_tokens=500)

# ----------------------------------------------------------------------------------- the models

LONG = "umbrellas, umbrellas and still more umbrellas for everybody"
ANSWERS: dict[str, list[Any]] = {
    "v1 Bergen": [f"Bergen needs {LONG}.", f"Bergen wants {LONG}.", "Bergen stays dry with us."],
    "v1 Lima": ["Rain is coming.", "Rain comes.", "Rain, rain, rain.", "Rain it is."],
    "v1 Shanghai": ["Stay dry with us.", "Stay dry in Shanghai."],
    "v2 Bergen": [Failure("overloaded", "busy", None, True, 529), "Bergen, meet the sun."],
    "v2 Lima": ["Lima is grey.", "Lima: rain is only water."],
    "v2 Shanghai": ["Shanghai, dance in the rain."],
}
DULL = "Lima is grey."


def reply(text: str, tokens: int) -> Reply:
    """Words, with this many tokens in, of which a fifth was cached, and a tenth of them out."""
    usage = Usage(tokens * 4 // 5, cache_read=tokens // 5, output_visible=tokens // 10)
    return Reply((Text(text),), "stop", usage)


def model(request: Request) -> Any:
    """What the models would say."""
    if request.model == "judge":
        dull = DULL in request.messages[0].text
        said = '"Dull.", "verdict": "reject"' if dull else '"Nice.", "verdict": "accept"'
        return reply(f'{{"reason": {said}}}', 300)
    prompt, last = request.messages[0].text, request.messages[-1].blocks[-1]
    if prompt.startswith("Advertise"):
        return campaign(last)
    if prompt.startswith("Answer"):
        return clerk(prompt, last)
    city = next(city for city in ("Bergen", "Lima", "Shanghai") if city in prompt)
    if len(request.messages) == 1:
        return ToolCall("1", "weather", {"city": city})
    said = due[f"{'v2' if 'Name' in prompt else 'v1'} {city}"].pop(0)
    return reply(said, 1000) if isinstance(said, str) else said


def campaign(last: Any) -> Any:
    """Has two others write, at the same time."""
    if isinstance(last, ToolResult):
        return reply("Both are written.", 400)
    return [ToolCall(str(i), "write", {"city": city}) for i, city in enumerate(("Lima", "Bergen"))]


def clerk(prompt: str, last: Any) -> Any:
    """Pays back, if it may."""
    if isinstance(last, ToolResult):
        return reply(f"Dear customer: {last.content}", 600)
    order, euros = prompt.split()[-2:]
    return ToolCall("1", "refund", {"order": order, "euros": int(euros)})


due: dict[str, list[Any]] = {}

# ------------------------------------------------------------------------------------- the clock

HOUR = 3_600.0
SECONDS = {
    "shop:small": 1.5,
    "shop:large": 4.0,
    "shop:judge": 0.5,
    "ToolCall": 0.25,
    "Sleep": 2.0,
    "Question": 0.0,
}


class Clock:
    """Wraps a port: time passes by what is done, and in no other way."""

    def __init__(self, time: float) -> None:
        self.time = time
        self.drawn = 0

    def port(self, inner: Port, log: Log | None) -> Port:
        """The port around `inner`."""
        return Timed(inner, self)


class Timed(Through):
    """A port on such a clock."""

    def __init__(self, inner: Port, clock: Clock) -> None:
        super().__init__(inner)
        self.clock = clock

    def now(self) -> float:
        return self.clock.time

    def random(self) -> str:
        self.clock.drawn += 1
        return f"{self.clock.drawn:010}"

    async def perform(self, run: Run, call: Call) -> Event:
        slept = isinstance(call, Sleep) and Returned(0.0, call.id, Slept())
        event = slept or await super().perform(run, call)
        seconds = SECONDS[_kind(call)]
        self.clock.time += seconds
        if isinstance(event, Returned | Failed):
            return evolve(event, time=self.now(), seconds=seconds)
        return evolve(event, time=self.now())


def _kind(call: Call) -> str:
    return call.model if isinstance(call, ModelCall) else type(call).__name__


# --------------------------------------------------------------------------------------- the days


def main(path: str) -> None:
    """Write the log."""
    due.update({task: list(answers) for task, answers in ANSWERS.items()})
    log, clock = Log(path, "process"), Clock(1_790_000_000.0)  # 2026-09-21, 14:13 UTC
    shop: dict[str, Any] = {"providers": [Scripted(model, name="shop")], "log": log}
    shop["ports"] = [clock]
    writer = Loop("shop:small", policies=[Retry(times=1), Escalate("shop:large")], **shop)
    for city in ("Bergen", "Lima", "Shanghai"):
        writer.run_now(first, city=city)
    clock.time += 24 * HOUR
    writer.run_now(second, city="Shanghai")
    write = delegate(second, writer, usd="0.20", name="write")
    both = Task("Advertise {what}.", name="campaign", tools=[write])
    Loop("shop:small", **shop).run_now(both, what="umbrellas")
    policies = [Approve("refund"), Budget("0.0054", per="day", name="support")]
    letters(Loop("shop:small", policies=policies, **shop), clock)
    index(log)  # the table of the last question: a search does it, too
    log.close()


def letters(desk: Loop, clock: Clock) -> None:
    """One waits for a person, one is approved, one denied; for the last there is no money left."""
    answers = {"C-31 15": "", "A-17 40": "approve", "B-20 900": "deny", "D-44 20": ""}
    for order, said in answers.items():
        run = desk.run_now(letter, letter=f"My umbrella leaks. {order}")
        clock.time += HOUR
        if said:
            note = "Too much." if said == "deny" else ""
            desk.answer(run.run_id, said, by="Ada", note=note)
            desk.resume_now(run.run_id, letter)


if __name__ == "__main__":
    main(*sys.argv[1:] or ["shop.db"])
