"""The board of a log: its figures are those of the log."""

import re
import shlex
import subprocess
from decimal import Decimal
from html import unescape

import pytest
from show.staged import ATTACKS, evil_run
from show.test_page import Parsed

from loopwright import BadInput, Log, Loop, Task
from loopwright.models import Scripted
from loopwright.show.board import board
from loopwright.show.figures import money


def section(document: str, title: str) -> str:
    """The part of a board that is called `title`."""
    (found,) = re.findall(f"<section><h2>{title}</h2>(.*?)</section>", document, re.DOTALL)
    return str(found)


def cells(document: str, title: str) -> list[list[str]]:
    """The texts in the table of a part."""
    rows = re.findall("<tr>(.*?)</tr>", section(document, title), re.DOTALL)[1:]
    return [
        [re.sub("<[^>]*>", "", cell) for cell in re.findall("<td[^>]*>(.*?)</td>", row)]
        for row in rows
    ]


def test_what_was_spent_is_what_the_log_says(shop: Log) -> None:
    document = board(shop)
    spent = sum(shop.run(run).spent.settled for run in shop.ids() if "." not in run)
    assert f"<dd>{money(spent)}</dd>" in document
    for by in ("day", "task", "model"):
        rows = cells(document, f"Spend by {by}")
        assert sum(Decimal(row[2]) for row in rows) * 10**9 == spent
        assert sum(int(row[1]) for row in rows) == 31


def test_prompt_versions_stand_side_by_side(shop: Log) -> None:
    rows = [row for row in cells(board(shop), "Prompt versions") if row[0] == "promotion"]
    assert [(row[1], *row[3:6]) for row in rows] == [
        ("v1", "3", "67 %", "0 %"),
        ("v2", "3", "100 %", "67 %"),
    ]


def test_what_went_wrong_and_what_it_cost(shop: Log) -> None:
    document = board(shop)
    assert [row[0] for row in cells(document, "What trying again cost")] == ["Escalate", "Retry"]
    assert "0.0525 USD, 79 % of the spend" in document
    assert cells(document, "What checks reject")[0][:3] == ["names_the_city", "5", "2"]
    assert cells(document, "Failures") == [["a model call", "overloaded", "1", ""]]
    ended = {row[0]: int(row[1]) for row in cells(document, "How runs ended")}
    assert ended == {"accepted": 6, "waiting": 1, "rejected": 1, "exhausted": 1}


def test_who_waits_for_what(shop: Log) -> None:
    ((run, task, _, question),) = cells(board(shop), "Waiting for a person")
    assert task == "letter"
    assert "May refund be called" in question
    assert shop.run(run.split()[0]).outcome == "waiting"


def test_since_leaves_out_what_was_before(shop: Log) -> None:
    document = board(shop, "2026-09-22")
    assert [row[0] for row in cells(document, "Spend by day")] == ["2026-09-22"]
    assert all(row[3].startswith("2026-09-22") for row in cells(document, "Dearest runs"))
    assert "is_short" not in section(document, "What checks reject")
    assert "No run has begun since then" in board(shop, "2026-12-01")
    with pytest.raises(BadInput, match="give an ISO date"):
        board(shop, "yesterday")


@pytest.mark.parametrize(
    "run", ["x; touch owned", "$(touch owned)", "`touch owned`", "--help", "a'b"]
)
def test_a_copied_command_is_one_command_about_one_run(log: Log, run: str) -> None:
    log.append_now(run, 0, evil_run("x")[:1])
    (copied,) = set(re.findall('data-copy="([^"]*)"', board(log)))
    words = shlex.split(unescape(copied), comments=False)
    assert [word for word in words if word != "--"] == ["loopwright", "show", run]
    assert (words[2] == "--") == run.startswith("-")
    done = subprocess.run(["sh", "-c", f"echo {unescape(copied)}"], capture_output=True, text=True)
    assert done.stdout.split() == " ".join(words).split()


def test_titles_are_shown_as_they_are_and_shortened(log: Log) -> None:
    for name in ("NUL \0 title", '{"$text":1}', "W" * 3_000):
        Loop(Scripted(["x"]), log=log).run_now(Task("x", name=name))
    document = board(log)
    for title in ("Spend by task", "Prompt versions"):
        there = {unescape(row[0]) for row in cells(document, title)}
        assert there == {"NUL \\x00 title", '{"$text":1}', "W" * 239 + "…"}
    runs = {unescape(row[1]) for row in cells(document, "Slowest runs")}
    assert runs == {"NUL \\x00 title", '{"$text":1}', "W" * 239 + "…"}


def test_an_empty_log_has_a_board(log: Log) -> None:
    assert "No run has begun yet" in Parsed(board(log)).text


@pytest.mark.parametrize("evil", ATTACKS)
def test_nothing_that_others_wrote_is_markup(log: Log, evil: str) -> None:
    log.append_now("evil", 0, evil_run(evil))
    bad, seen = Parsed(board(log)), Parsed(board(log)).seen
    assert not {"iframe", "img", "form", "base", "link"} & set(seen)
    assert seen["script"] == 1
    assert "owned" not in bad.attributes
    assert not {name for name in bad.attributes if name.startswith("on")}
