"""A ladder on the wire: a cheap answer rejected, a strong one accepted, and what it saved."""

from loopwright import Log, Loop, Outcome, Task
from loopwright.models import set_price
from loopwright.models.rehearsal import Rehearsal, SeenRequest
from loopwright.policies import Escalate
from loopwright.quality import quality

CHEAP, STRONG = "anthropic:claude-haiku-4-5", "anthropic:claude-opus-5-5"
PER_TOKEN = {CHEAP: 1_000, STRONG: 20_000}
"""Nano-dollars a token, in and out."""

HARD = "A question that is hard"


def says(request: SeenRequest) -> str:
    """The cheap model knows the easy answers, the strong one all."""
    return "no idea" if HARD in request.opening and "haiku" in request.model else "42"


def digits(answer: str) -> str | None:
    return None if answer.isdigit() else "Give a number."


def test_the_saving_of_a_ladder_is_what_one_reckons_by_hand(log: Log) -> None:
    for model, nano in PER_TOKEN.items():
        set_price(model, input=nano // 1000, output=nano // 1000)
    task = Task("{question}?", checks=[digits], name="sums")
    with Rehearsal(says) as rehearsal:
        loop = Loop(CHEAP, policies=[Escalate(STRONG)], providers=[rehearsal.anthropic()], log=log)
        runs = [loop.run_now(task, question=q) for q in ("An easy one", "Another", "Third", HARD)]
        last = rehearsal.requests[-1]
    assert [run.outcome for run in runs] == [Outcome.accepted] * 4
    assert (last.model, runs[-1].models) == ("claude-opus-5-5", (CHEAP, STRONG))
    assert last.answers == ("no idea",)
    assert "Give a number." in last.by("user")[-1]
    spent = dict.fromkeys(PER_TOKEN, 0)
    rows = log.db.query("select * from model_calls")
    for row in rows:
        tokens = row["input_uncached"] + row["cache_read"] + row["output_visible"]
        spent[row["model"]] += tokens * PER_TOKEN[row["model"]]
    (report,) = quality(log)
    assert report.cost == sum(spent.values()) == sum(run.spent.settled for run in runs)
    assert (report.runs, report.accepted, report.first_try) == (4, 4, 3)
    assert report.always_cheap == spent[CHEAP]
    assert report.always_strong == 4 * spent[STRONG]
    assert report.saving == 3 * spent[STRONG] - spent[CHEAP]
