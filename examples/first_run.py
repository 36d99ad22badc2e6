"""A task, carried out: a typed answer, a tool, two checks, retry, escalation, a budget, a log.

    uv run examples/first_run.py [city]

With ANTHROPIC_API_KEY or OPENAI_API_KEY set, the models are real. Without a key it rehearses: a
server on this machine plays the models, with the faults that real ones have.
"""

import os
import sys
from contextlib import ExitStack
from datetime import date, timedelta

from attrs import frozen

from loopwright import Loop, Run, Task
from loopwright.models.rehearsal import Rehearsal
from loopwright.policies import Budget, Escalate, Retry
from loopwright.tools import tool


@frozen
class Promotion:
    headline: str
    body: str


@tool(effect="read", timeout=10)
async def weather(city: str, date: str) -> dict[str, str | float]:
    """Look up the weather of a past day.

    Args:
        city: The name of the city.
        date: The day, as YYYY-MM-DD.
    """
    return {"city": city, "date": date, "sky": "light rain", "celsius": 17.5}


def names_the_city(promotion: Promotion, run: Run) -> str | None:
    city = run.inputs["city"]
    return None if city in promotion.body else f"The body must name the city, {city}."


def short_headline(promotion: Promotion) -> str | None:
    length = len(promotion.headline)
    return None if length <= 60 else f"The headline has {length} characters: at most 60."


task = Task(
    "Look up the weather of {day} in {city}, and write a promotion of our umbrellas that fits it.",
    name="weather promotion",
    output=Promotion,
    tools=[weather],
    checks=[names_the_city, short_headline],
)

LADDERS = {
    "ANTHROPIC_API_KEY": ("anthropic:claude-haiku-4-5", "anthropic:claude-opus-5-5"),
    "OPENAI_API_KEY": ("openai:gpt-6-luna", "openai:gpt-6-sol"),
}


def loop() -> Loop:
    """The loop for the key that is set: what ``loopwright ... --app`` looks for, besides `task`."""
    key = next(filter(os.environ.get, LADDERS), "ANTHROPIC_API_KEY")
    model, stronger = LADDERS[key]
    house_rules = [
        Budget(usd="0.50", seconds=120, tool_calls=10),
        Retry(times=1),
        Escalate(stronger),
    ]
    return Loop(model, policies=house_rules, log="runs.db", watch=True)


def main() -> None:
    with ExitStack() as stack:
        if not any(os.environ.get(key) for key in LADDERS):
            print(
                "No key is set, so this is a rehearsal: a server on this machine plays the models."
            )
            os.environ |= stack.enter_context(Rehearsal()).environment
        city = sys.argv[1] if len(sys.argv) > 1 else "Shanghai"
        run = loop().run_now(task, city=city, day=str(date.today() - timedelta(days=1)))
    print(f"\n{run.outcome}: {run.output}")
    print(f"{run.cost} USD, {run.spent.model_calls} model calls, run {run.run_id} in runs.db")
    sys.exit(run.outcome != "accepted")


if __name__ == "__main__":
    main()
