"""The views, by the questions that people ask: each answer in the cookbook is the one given."""

import itertools
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moments import Clock

from loopwright import BadInput, Log, Loop, Outcome, Run, Task
from loopwright.calls import Failure, Question, Reply, Request, Text, ToolCall, ToolResult, Usage
from loopwright.decisions import Switch, TryAgain
from loopwright.events import Ended, Inspected, Intended, Paused, Resumed, Unwinding
from loopwright.log.datasette import questions
from loopwright.log.search import search
from loopwright.models import Scripted, set_price
from loopwright.policies import Approve, Escalate, Retry
from loopwright.show.board import board
from loopwright.tools import tool

EXAMPLES = Path(__file__).parent.parent / "examples"
PAGE = (EXAMPLES / "cookbook.md").read_text()
RECIPE = re.compile(r"^## (.+)\n\n(?:(?:.+\n)+\n)?```sql\n((?:.+\n)+)```\n\n((?:\|.*\n)+)", re.M)
RECIPES = {title: (query, answer) for title, query, answer in RECIPE.findall(PAGE)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log that the cookbook is about."""
    path = tmp_path_factory.mktemp("cookbook") / "shop.db"
    run_path(str(EXAMPLES / "cookbook.py"))["main"](str(path))
    return path


@pytest.fixture
def shop(path: Path) -> Iterator[sqlite3.Connection]:
    """The same, opened as anybody can: the library has no part in it."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    yield database
    database.close()


def table(database: sqlite3.Connection, query: str) -> str:
    """What a query gives, as a table in Markdown."""
    found = database.execute(query)
    names = [name for name, *_ in found.description]
    rows = [["" if cell is None else str(cell) for cell in row] for row in found]
    return "".join(f"| {' | '.join(row)} |\n" for row in (names, ["---"] * len(names), *rows))


@pytest.mark.parametrize("title", RECIPES)
def test_the_answer_in_the_cookbook_is_the_one_that_is_given(
    shop: sqlite3.Connection, title: str
) -> None:
    query, answer = RECIPES[title]
    assert table(shop, query) == answer


def test_every_question_of_the_cookbook_is_asked() -> None:
    assert len(RECIPES) == PAGE.count("\n## ") == PAGE.count("```sql") >= 20


def test_the_questions_ship_with_the_library() -> None:
    """With `:since` and `:run` in the places of a day and of an id."""
    asked = {title: query.strip() for title, (query, _) in RECIPES.items()}
    left_open = {
        title: re.sub("'01m[0-9a-z]+'", ":run", query.replace("'2026-09-21'", ":since"))
        for title, query in asked.items()
    }
    assert questions() == left_open


# ------------------------------------------------------------------------------------------- laws

NEWS = ["sunny", "rain " * 200, "Überall Nebel"]
ITEMS = st.sampled_from(
    [
        *NEWS,
        "good",
        ToolCall("1", "look", {"at": "sea"}),
        ToolCall("1", "look", {"at": ""}),
        [ToolCall("1", "look", {"at": "sea"}), ToolCall("2", "look", {"at": "x" * 600})],
        Failure("overloaded", "busy", None, True, 529),
        Reply((Text("cut of"),), "length", Usage(5, 7)),
    ]
)
SCRIPTS = st.lists(st.lists(ITEMS, max_size=6), min_size=1, max_size=3)


@tool(effect="read")
def look(at: str) -> str:
    """Look."""
    if not at:
        raise OSError("nowhere")
    return f"waves at {at}"


def is_good(answer: str) -> str | None:
    return None if answer == "good" else f"Say good, not {answer[:9]}."


TASK = Task("Say {n}.", name="say", system="Be good.", tools=[look], checks=[is_good])


def carried_out(log: Log, scripts: list[list[Any]]) -> list[Run]:
    runs = []
    for n, script in enumerate(scripts):
        models = [Scripted([*script, "good"], name="a"), Scripted(["good"], name="b")]
        policies = [Retry(times=1), Escalate("b:b")]
        loop = Loop("a:a", providers=models, policies=policies, ports=[Clock(n)], log=log)
        runs.append(loop.run_now(TASK, n=n))
    return runs


def texts(run: Run) -> list[str]:
    """All that was said, in any order."""
    blocks = [block for message in run.messages for block in message.blocks]
    words = [block.text for block in blocks if isinstance(block, Text)]
    return sorted([*words, *(block.content for block in blocks if isinstance(block, ToolResult))])


def tried_again(run: Run) -> int:
    """How often a policy had a model asked once more."""
    made = [event.call for event in run.events if isinstance(event, Intended)]
    tools = {call.id for call in made if isinstance(call, ToolCall)}
    decided = [e for e in run.decisions if isinstance(e.decision, TryAgain | Switch)]
    return sum(e.about not in tools for e in decided)


@settings(max_examples=25)
@given(SCRIPTS, st.booleans())
def test_the_views_say_what_the_folded_runs_say(scripts: list[list[Any]], summed: bool) -> None:
    set_price("a:a", 1, 2)
    set_price("b:b", 10, 20)
    with TemporaryDirectory() as folder:
        log = Log(f"{folder}/runs.db", "process")
        runs = carried_out(log, scripts)
        if summed:
            assert log.sum_up() == len(runs)
        ask = log.connection.execute
        for run in runs:
            attempts = sum(isinstance(event, Inspected) for event in run.events)
            row = ask(
                "select outcome, cost_nano, attempts, model_calls from runs where run = ?",
                (run.run_id,),
            ).fetchone()
            assert row == (run.outcome, run.spent.settled, attempts, run.spent.model_calls)
            said = ask("select role, text from messages where run = ?", (run.run_id,)).fetchall()
            assert sorted(t for role, t in said if role not in ("system", "call")) == texts(run)
            caused = ask("select model, policy from model_calls where run = ?", (run.run_id,))
            assert {model: policy for model, policy in caused if model == "b:b"} in (
                {},
                {"b:b": "Escalate"},
            )
        spent = sum(run.spent.settled for run in runs)
        again = sum(map(tried_again, runs))
        assert ask("select sum(cost_nano) from spend").fetchone() == (spent,)
        query = "select total(model_calls) from spend where policy <> ''"
        assert ask(query).fetchone() == (again,)
        (row,) = ask("select runs, ended, accepted, cost_nano from tasks").fetchall()
        accepted = sum(run.outcome is Outcome.accepted for run in runs)
        assert row == (len(runs), len(runs), accepted, spent)
        log.close()


@settings(max_examples=10)
@given(SCRIPTS, SCRIPTS)
def test_every_word_of_every_message_is_found(
    before: list[list[Any]], after: list[list[Any]]
) -> None:
    with TemporaryDirectory() as folder:
        log = Log(f"{folder}/runs.db", "process")
        for scripts in (before, after):
            carried_out(log, scripts)
            search(log, "anything")
            ask = log.connection.execute
            everything = ask("select run, seq, text, role from messages").fetchall()
            indexed = ask("select run, seq, text, role from said").fetchall()
            assert sorted(indexed) == sorted(everything)
            for word in ("WAVES", "sun", "uberall neb", "say", '"good"'):
                there = {(r, s) for r, s, text, _ in everything if holds(text, word)}
                assert {(f.run, f.seq) for f in search(log, word, limit=1000)} == there
        log.close()


def holds(text: str, words: str) -> bool:
    """Whether each of the words begins a word of the text."""
    plain = re.findall(r"\w+", text.casefold().replace("ü", "u"))
    wanted = words.casefold().strip('"').split()
    return all(any(have.startswith(word) for have in plain) for word in wanted)


def test_a_run_that_goes_on_is_found_whole(log: Log) -> None:
    def model(request: Request) -> Any:
        return f"It was {request.messages[-1].text}"

    loop = Loop(Scripted(model), policies=[Escalate(person=True)], log=log)
    unsure = Task("Rain?", checks=[lambda answer: None if "storm" in answer else "Think."])
    run = loop.run_now(unsure)
    assert [one.role for one in search(log, "rain")] == ["user", "assistant"]
    assert search(log, "storm") == []
    loop.answer(run.run_id, "a storm", by="Ada")
    loop.resume_now(run.run_id, unsure)
    assert [(one.role, one.piece) for one in search(log, "storm")] == [("person", "a [storm]")]


@pytest.mark.parametrize("words", ["", "  ", '"', "-- *"])
def test_a_search_for_nothing_is_refused(log: Log, words: str) -> None:
    with pytest.raises(BadInput, match="give at least one word to look for"):
        search(log, words)


# ------------------------------------------------------------------------------------------ people


def test_a_question_that_was_taken_back_waits_for_nobody(log: Log) -> None:
    """While the unwinding asks one of its own."""
    pay = tool(name="pay")(lambda: "paid")
    loop = Loop(Scripted([ToolCall("1", "pay"), "Done."]), policies=[Approve("pay")], log=log)
    run = loop.run_now(Task("Go.", tools=[pay]))
    doubt = Question("q", "Did it happen?", purpose="doubt")
    later = [
        Resumed(run.time, run.setting),
        Unwinding(run.time, Outcome.stopped, "Ada thinks better of it"),
        Intended(run.time, doubt),
        Paused(run.time, doubt.id),
        Ended(run.time, Outcome.waiting, doubt.text),
    ]
    waiting = questions()["What waits for a person now?"]
    for events, asked in (([], run.questions[0]), (later, doubt)):
        log.append_now(run.run_id, run.seq, events)
        assert log.questions(run.run_id) == [asked]
        assert [row["question"] for row in log.asked(waiting)] == [asked.text]
        assert board(log).count(asked.text) == 1
    gone = log.asked("select call, withdrawn from approvals order by seq")
    assert [tuple(row.values()) for row in gone] == [(run.questions[0].id, 1), ("q", 0)]


# ------------------------------------------------------------------------------------------ growth

OF_A_RUN = "steps model_calls tool_calls decisions problems approvals messages trees runs"


@pytest.mark.parametrize("view", OF_A_RUN.split())
def test_what_is_asked_of_one_run_is_read_from_that_run_alone(
    shop: sqlite3.Connection, view: str
) -> None:
    plan = shop.execute(f"explain query plan select * from {view} where run = 'r'").fetchall()
    details = [detail for *_, detail in plan]
    assert any("USING PRIMARY KEY (run=?" in d or "(type=? AND run=?)" in d for d in details)
    assert not [d for d in details if re.match(r"SCAN (events|parts|answers)\b", d)]


@pytest.mark.parametrize("title", RECIPES)
def test_no_question_reads_all_events(path: Path, title: str) -> None:
    """But for the newest ones that name a ceiling, through the index of their times."""
    with closing(sqlite3.connect(path)) as database:
        plan = database.execute(f"explain query plan {RECIPES[title][0]}").fetchall()
        views = database.execute("select sql from sqlite_master where type = 'view'").fetchall()
    aliases = {a for (sql,) in views for a in re.findall(r"\bevents ([a-z])\b", sql)}
    read = [detail.split()[1] for *_, detail in plan if detail.startswith("SCAN ")]
    sorted_by_time = [d for *_, d in plan if "USING INDEX events_settings" in d]
    assert {"events", *aliases} & {*read} == ({"e"} if sorted_by_time else set())


def grown(path: Path, times: int) -> sqlite3.Connection:
    """The log in memory, with so many times its runs."""
    database = sqlite3.connect(":memory:")
    source = sqlite3.connect(path)
    source.backup(database)
    source.close()
    for n in range(1, times):
        database.execute(
            "insert into events select run || ?, seq, type, time, call, data, 0 from events"
            " where instr(run, '-') = 0",
            (f"-{n}",),
        )
    return database


def work(database: sqlite3.Connection, query: str) -> int:
    """How much SQLite does for a query: instructions of its machine, in hundreds."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1

    database.set_progress_handler(count, 100)
    database.execute(query).fetchall()
    database.set_progress_handler(None, 0)
    return done


def test_what_a_question_costs_grows_with_the_log_and_not_with_its_square(path: Path) -> None:
    """On some 10,000 events, and on an eighth of them."""
    small, large = grown(path, 10), grown(path, 80)
    (events,) = large.execute("select count(*) from events").fetchone()
    assert events > 8_000
    views = [name for (name,) in small.execute("select name from sqlite_master where type='view'")]
    queries = [query for query, _ in RECIPES.values() if "said" not in query]
    pairs = itertools.pairwise(OF_A_RUN.split())
    queries += [f"select count(*) from {a} join {b} on {b}.run = {a}.run" for a, b in pairs]
    for query in (*queries, *(f"select * from {view}" for view in views)):
        assert work(large, query) < 8 * 1.5 * (work(small, query) + 10), query
    small.close()
    large.close()
