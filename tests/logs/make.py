"""Writes a small log as this version does: retries, tools, escalations, questions and judges.

    uv run python tests/logs/make.py tests/logs/v3.sqlite

A release that brings a new schema adds the log that it writes; those of before are never made anew.
The script says no more than what every version so far understands.
"""

import sqlite3
import sys
from contextlib import suppress
from typing import Any

from loopwright import Log, Loop, Task
from loopwright.calls import Failure, Reply, Request, Text, ToolCall, Usage
from loopwright.models import Scripted, set_price
from loopwright.policies import Approve, Budget, Escalate, Judge, Retry
from loopwright.tools import tool

for model, usd in {"weak": 1, "strong": 10, "judge": 2}.items():
    set_price(f"a:{model}", usd, 5 * usd)


@tool(effect="read")
def weather(city: str) -> str:
    """The weather."""
    if not city:
        raise OSError("nowhere")
    return f"Rain in {city}. " * 60


@tool
def send(to: str) -> str:
    """Send it."""
    return f"sent to {to}"


def is_short(answer: str) -> str | None:
    """A check."""
    return None if len(answer) < 40 else "Use less than 40 characters."


def reply(text: str, tokens: int = 9) -> Reply:
    return Reply((Text(text),), "stop", Usage(100, output_visible=tokens))


def scripted(*replies: Any) -> dict[str, Any]:
    """A weak model that says this, a strong one that is short, and a judge who agrees."""
    accept = '{"reason": "Nice.", "verdict": "accept"}'
    said = {"strong": reply("Rain."), "judge": reply(accept)}
    left = list(replies)

    def model(request: Request) -> Any:
        return said[request.model] if request.model in said else left.pop(0)

    providers = [Scripted(model, name="a")]
    judge = Judge("It makes one smile.", model="a:judge")
    promotion = Task(
        "Write of {city}.", name="promotion", tools=[weather, send], checks=[is_short, judge]
    )
    return {"providers": providers, "task": promotion}


LONG = reply("umbrella " * 80, 80)
BUSY = Failure("overloaded", "busy", None, True, 529)
SCRIPTS: dict[str, list[Any]] = {
    "Bergen": [ToolCall("1", "weather", {"city": "Bergen"}), LONG, "Bergen is wet."],
    "Lima": [BUSY, LONG, LONG],
    "Oslo": [[ToolCall("1", "weather", {"city": ""}), ToolCall("2", "send", {"to": "Ada"})], "Ok."],
    "Rome": [ToolCall("1", "send", {"to": "Bob"})],
    "Riga": [Failure("bad_request", "no such model", None, False, 404)],
}


def main(path: str) -> None:
    """Write the log, as one file."""
    log = Log(path, "process")
    for city, replies in SCRIPTS.items():
        asked = scripted(*replies)
        policies = [Approve("send"), Retry(times=1), Escalate("a:strong"), *ceiling()]
        loop = Loop("a:weak", providers=asked["providers"], policies=policies, log=log)
        run = loop.run_now(asked["task"], city=city)
        if city == "Oslo":
            loop.answer(run.run_id, "approve", by="Ada")
            loop.resume_now(run.run_id, asked["task"])
    log.close()
    with sqlite3.connect(path) as database:
        database.execute("pragma journal_mode = delete")
        database.execute("vacuum")
    database.close()


def ceiling() -> list[Any]:
    """A shared one, in the versions that know them."""
    with suppress(TypeError):
        return [Budget(usd=50, per="day", name="shop")]
    return []


if __name__ == "__main__":
    main(*sys.argv[1:])
