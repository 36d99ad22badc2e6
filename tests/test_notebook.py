"""What a notebook shows: runs, steps, reports, plots, and runs while they go on."""

import asyncio
import csv
import html
import io
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from queue import Empty
from typing import Any, cast

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyter_client.manager import start_new_kernel

from loopwright import Budget, Log, Loop, Run, Task
from loopwright.calls import Delta, Reply, Request, Text, ToolCall, Usage
from loopwright.errors import BadInput
from loopwright.events import Started
from loopwright.fold import folded
from loopwright.lint import Finding, Forecast
from loopwright.models import Scripted
from loopwright.policies import Approve, Retry
from loopwright.report import Report
from loopwright.show import notebook
from loopwright.show.attempts import MOST, changes, tried
from loopwright.show.cell import PAUSE, Cell, Page
from loopwright.show.lines import Line
from loopwright.show.markup import LONGEST, markdown
from loopwright.show.overview import By
from loopwright.show.plots import Column, Plot
from loopwright.show.table import in_csv
from loopwright.show.text import visible
from loopwright.tools import delegate, tool
from loopwright.worst import Worst

ATTACKS = (
    "<script>window.ran = 1</script>",
    '"><img src=x onerror=alert(1)>',
    "</pre></details></style><style>*{display:none}</style>",
    "<svg/onload=alert(1)>",
    "[click](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "a | b\n|---|---|\n# Title\n```\n<b>",
    "`code` **bold** _it_ $x^2$ \\(y\\) http://evil.example www.evil.example <http://e.example>",
    "\x1b[2J\x1b]8;;http://evil.example\x07link\x1b]8;;\x07\x1b]52;c;aGk=\x07\x07\b\b\x9b31m",
    "\u202egnp.exe\u2066\u200b\x00\ud800",
    "=cmd|' /C calc'!A0",
    "W" * 100_000,
)

texts = st.sampled_from(ATTACKS) | st.text(max_size=60)


@tool(effect="read")
def look(at: str) -> str:
    """Look."""
    return at


def carried(said: str, **options: Any) -> Run:
    """A run in which `said` stands wherever somebody else's text can stand."""
    model = Scripted(
        [[ToolCall("1", "look", {"at": said}), ToolCall("2", said)], said, said, "yes"]
    )
    task = Task(
        "Say {word}.",
        name=said or "x",
        tools=[look],
        checks=[lambda answer: None if answer == "yes" else f"Not {said}"],
    )
    return Loop(model, policies=[Retry(times=2)], **options).run_now(task, word=said)


class Balanced(HTMLParser):
    """Markup whose elements are all closed, in their order."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.feed(markup)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(name for name, _ in attrs)}
        if tag not in ("wbr", "line", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(name for name, _ in attrs)}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


OURS = {"style", "bdi", "table", "thead", "tbody", "tr", "th", "td", "div", "b", "i", "summary"}
OURS |= {"pre", "span", "del", "ins", "details", "wbr", "class", "open", "colspan", "svg", "role"}
OURS |= {"aria-label", "viewbox", "width", "height", "line", "x1", "x2", "y1", "y2", "text", "x"}
OURS |= {"y", "text-anchor", "rect", "g", "title"}
"""Every element and attribute that a notebook is given."""


def check_markup(markup: str) -> None:
    """It is well formed, all in it is ours, and nothing in it is invisible or steers."""
    assert Balanced(markup).seen <= OURS
    assert "".join(markup.split()).isprintable()


def check_markdown(text: str) -> None:
    """Each table has its rows and cells, and nothing but entities can mean something."""
    rows = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(set(rows)) <= 1
    assert not re.search(r"<|`|\]\(|!\[|\$|\\|://|www\.", text)
    assert text.replace("\n", "").isprintable()


# ------------------------------------------------------------------------------- what is shown


@settings(max_examples=25, deadline=None)
@given(texts)
def test_nothing_in_a_run_is_taken_as_markup(said: str) -> None:
    run = carried(said)
    check_markup(run._repr_html_())
    check_markdown(run._repr_markdown_())
    for line in run.steps:
        check_markup(line._repr_html_())
        check_markdown(line._repr_markdown_())


@pytest.mark.parametrize("said", ATTACKS)
def test_nothing_in_a_report_is_taken_as_markup(said: str, tmp_path: Path) -> None:
    log = Log(tmp_path / "runs.db")
    run = carried(said, log=log)
    loop = Loop(Scripted([said, said]), log=log)
    loop.run_now(Task("x", name=said))
    for report in (log.runs(), log.spend("task"), log.spend()):
        check_markup(report._repr_html_())
        check_markdown(report._repr_markdown_())
    assert {row.run for row in log.runs()} == {*log.ids()}
    assert run.run_id in log.ids()


@given(texts)
def test_markdown_shows_a_text_and_does_nothing_else(text: str) -> None:
    assert html.unescape(markdown(text)) == visible(" ".join(text.split()))
    check_markdown(markdown(text))


def test_what_is_shown_is_bounded() -> None:
    """A long text is in the log, and not in the notebook; neither are thousands of steps."""
    shown = carried("W" * 100_000)._repr_html_()
    assert f"and {100_000 - LONGEST:,} characters more" in shown
    assert len(shown) < 20 * LONGEST
    assert len(carried("W" * 100_000)._repr_markdown_()) < LONGEST
    many = [Line(i) for i in range(1, 5_001)]
    rows = notebook._table(many)
    assert rows.count("<tr>") == notebook.SHOWN + 2
    assert "… 4900 steps between" in rows
    assert rows.index("<td>50</td>") < rows.index("steps between") < rows.index("<td>4951</td>")


def test_a_run_shows_its_steps_with_what_was_decided_and_why() -> None:
    run = carried("maybe")
    shown = run._repr_html_()
    assert "accepted</b> (verified)" in shown
    assert shown.count("problem: Not maybe") == 2
    assert "Retry: TryAgain, attempt 1 of 3 was rejected: Not maybe" in shown
    assert "the model is told:" in shown
    assert "0.000000 USD of 1" in shown
    assert [line.step for line in run.steps] == [1, 2, 3, 4, 5]
    assert run.steps[-1].said == ["Otherwise: Accept, all checks agree"]
    assert "Accept, all checks agree" in run.steps[-1]._repr_html_()


def test_what_was_decided_before_the_first_call_shows_with_it() -> None:
    model = Scripted([ToolCall("1", "look", {"at": "x"}), "done"])
    run = Loop(model, policies=[Approve("look")]).run_now(Task("x", tools=[look]))
    (call, asked) = run.steps
    assert call.said[0].startswith("Approve: Ask")
    assert asked.came == ['waiting: May look be called with {"at":"x"}?']
    assert "approve / deny" in run._repr_html_()


def test_the_children_of_a_run_show_below_it(tmp_path: Path) -> None:
    poet = delegate(Task("Write about {topic}."), Loop(Scripted(["Oh!"])), usd=1, name="poet")
    model = Scripted([ToolCall("1", "poet", {"topic": "rain"}), "Done."])
    boss = Loop(model, log=tmp_path / "runs.db")
    run = boss.run_now(Task("Have a poem written.", tools=[poet], limits=Budget(usd=2)))
    assert boss.log
    for shown in (run, boss.log.run(run.run_id)):
        assert "child Write about {topic}.: accepted" in shown._repr_html_()
    assert [one.parent for one in boss.log.runs(parent=run.run_id)] == [run.run_id]
    assert [one.run for one in boss.log.runs()] == [run.run_id]
    boss.log.close()
    (tmp_path / "runs.db").unlink()
    assert "child Write" not in run._repr_html_()


def test_a_forecast_shows_itself() -> None:
    found = Forecast(
        Worst(), (Finding("error", "P<b>", "bad\n[x](y)"), Finding("warning", "", "?"))
    )
    check_markup(found._repr_html_())
    check_markdown(found._repr_markdown_())
    assert found._repr_html_().count('class="lw-note problem"') == 1


def test_two_runs_show_side_by_side(tmp_path: Path) -> None:
    from loopwright.diff import diff

    for said in ATTACKS[:-1]:
        difference = diff(carried("other"), carried(said))
        check_markup(difference._repr_html_())
        check_markdown(difference._repr_markdown_())
    same = carried("same")
    check_markup(notebook.compared(diff(same, same)))


MEASURE = """<script>document.body.append(
    `ran ${window.ran ?? 0}, wide ${document.documentElement.scrollWidth > innerWidth}`)</script>"""
ALARM = "<script>window.alert = () => { window.ran = 1 }</script>"


def test_nothing_runs_and_the_layout_holds_in_a_browser(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("there is no chromium or google-chrome on the PATH to show the notebook in")
    runs = [carried(said) for said in ATTACKS]
    shown = [run._repr_html_() + run.steps[0]._repr_html_() for run in runs]
    shown += [Report(tuple(map(Held, ATTACKS)), {})._repr_html_()]
    page = tmp_path / "page.html"
    body = "".join(shown).replace("<details", "<details open")
    page.write_text(f"<!doctype html><meta charset=utf-8>{ALARM}<body>{body}{MEASURE}")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += [f"--user-data-dir={tmp_path}/chromium", "--window-size=900,900", "--dump-dom"]
    command = [browser, *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "ran 0, wide false" in done.stdout


# ------------------------------------------------------------------------------------ attempts


@given(st.text(), st.text())
def test_what_changed_makes_of_each_text_the_other(old: str, new: str) -> None:
    pieces = changes(old, new)
    assert "".join(text for kind, text in pieces if kind != "new") == old
    assert "".join(text for kind, text in pieces if kind != "gone") == new
    assert changes(old, old) == ([("same", old)] if old else [])


def test_what_is_too_long_for_words_is_compared_by_lines() -> None:
    old = "".join(f"line {i}\n" for i in range(MOST // 2))
    assert changes(old, old + "new\n") == [("same", old), ("new", "new\n")]
    longer = "\n" * (MOST + 1)
    assert changes(longer, "x") == [("gone", longer), ("new", "x")]


def test_attempts_are_the_answers_that_were_looked_at() -> None:
    found = tried(carried("maybe").events)
    assert [(one.text, len(one.problems)) for one in found] == [
        ("maybe", 1),
        ("maybe", 1),
        ("yes", 0),
    ]
    assert [one.step for one in found] == [3, 4, 5]


# ------------------------------------------------------------------------------------- reports


@frozen
class Held:
    text: str

    def row(self) -> dict[str, Any]:
        return {"text": self.text, "usd": -1.5}


@given(st.lists(texts | st.sampled_from(["=1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "＝1"])))
def test_no_text_in_a_csv_is_taken_for_a_formula(found: list[str]) -> None:
    report = Report(tuple(map(Held, found)), {})
    rows = list(csv.reader(io.StringIO(report.to_csv(), newline="")))[1:]
    assert [row[0].removeprefix("'") for row in rows] == [text.removeprefix("'") for text in found]
    for text, usd in rows:
        assert not text.lstrip().startswith(("=", "+", "-", "@", "＝"))
        assert not text.startswith(("\t", "\r", "\n"))
        assert usd == "-1.5"
    assert in_csv(()) == "\r\n"


def test_columns_that_say_the_same_are_told_once() -> None:
    shown = Report((Held("same"),) * 3, {})._repr_html_()
    assert shown.count("same") == 1
    assert "all: text same" in shown


def test_a_plot_is_as_high_as_its_parts() -> None:
    columns = [Column("a", {"ok": 1, "bad": 3}), Column("b", {"ok": 2}), Column("c")]
    drawn = Plot("<b>", columns).svg()
    check_markup(drawn)
    heights = [float(found) for found in re.findall(r'height="([\d.]+)"/>', drawn)]
    assert heights == [14.0, 42.0, 28.0]


# ------------------------------------------------------------------------------ the log's tables


def kept(tmp_path: Path) -> Log:
    """Six runs of three days and two tasks: accepted, rejected, waiting."""
    log = Log(tmp_path / "runs.db", "process")
    for i, (name, said) in enumerate([("a", "yes"), ("b", "no"), ("a", "?")] * 2):
        policies = [Approve("look")]
        model = Scripted([ToolCall("1", "look", {"at": "x"}) if said == "?" else said])
        check = [lambda answer: None if answer == "yes" else "Say yes."]
        task = Task("x", name=name, tools=[look], checks=check)
        run = Loop(model, policies=policies).run_now(task)
        shift = [evolve(event, time=event.time - 86_400 * i) for event in run.events]
        first = shift[0]
        assert isinstance(first, Started)
        log.append_now(first.run, 0, shift)
    return log


def test_the_runs_of_a_log(tmp_path: Path) -> None:
    log = kept(tmp_path)
    found = log.runs()
    assert [row.started for row in found] == sorted((r.started for r in found), reverse=True)
    assert found.summary == {"runs": 6, "accepted": 2, "rejected": 2, "waiting": 2, "cost_usd": 0.0}
    assert [row.outcome for row in log.runs(task="a", outcome="accepted")] == ["accepted"] * 2
    assert log.runs(limit=2).items == found[:2]
    assert log.runs(limit=None) == found
    assert log.runs(since=time.time() - 2.5 * 86_400).items == found[:3]
    for row in found:
        run = log.run(row.run)
        assert (row.task, row.outcome, row.model_calls) == (run.title, run.outcome, 1)
    assert found.plot
    assert [column.parts for column in found.plot.columns][-1] == {"ok": 1, "wait": 0, "bad": 0}
    assert len(found.plot.columns) == 6
    check_markup(found._repr_html_())
    assert "<svg" in found._repr_html_()


@pytest.mark.parametrize(
    "title",
    [
        '{"$text":"abc"}',
        '{"$text":"abc","x":1}',
        '{"$text":"abc","x":{"$int":5}}',
        '{"$part":"abc"}',
        '{"$part":"a","$part":[1]}',
        '{"$text":"',
        "a\0b",
        f"{'L' * 600}\0",
        "L" * 600,
    ],
)
def test_a_title_is_shown_as_it_is_though_it_may_look_like_a_stored_form(
    tmp_path: Path, title: str
) -> None:
    log = Log(tmp_path / "runs.db")
    Loop(Scripted(["x"]), log=log).run_now(Task("x", name=title))
    assert [row.task for row in (*log.runs(), *log.runs(task=title))] == [title] * 2
    assert [row.name for row in log.spend("task")] == [title]
    check_markup(log.runs()._repr_html_())


@pytest.mark.parametrize("by", ["day", "task", "version", "model", "policy", "purpose", "root"])
def test_what_was_spent_adds_up_by_whatever_one_asks_for(tmp_path: Path, by: By) -> None:
    log = kept(tmp_path)
    found = log.spend(by)
    assert sum(row.model_calls for row in found) == 6
    counts = {"day": 6, "task": 2, "root": 6}
    assert len(found) == counts.get(by, 1)
    assert set(found.rows()[0]) >= {by, "cost_nano", "cost_usd"}
    assert sum(row.model_calls for row in log.spend(by, since=time.time() - 86_400)) == 2
    assert ("<svg" in found._repr_html_()) == (by == "day")
    check_markup(found._repr_html_())


def test_an_empty_log_has_empty_tables(tmp_path: Path) -> None:
    log = Log(tmp_path / "runs.db")
    for report in (log.runs(), log.spend(), log.spend("root")):
        assert not report
        check_markup(report._repr_html_())
        check_markdown(report._repr_markdown_())


@pytest.mark.parametrize(
    "asked",
    [{"outcome": "fine"}, {"limit": -1}, {"limit": "9"}, {"task": 3}, {"since": "noon"}],
)
def test_runs_that_cannot_be_asked_for(tmp_path: Path, asked: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=next(iter(asked))):
        Log(tmp_path / "runs.db").runs(**asked)
    with pytest.raises(BadInput, match="say one of day, task"):
        Log(tmp_path / "runs.db").spend("colour")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ while it goes on


class Handle:
    """A display that keeps what it was shown."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def __call__(self, page: Page) -> "Handle":
        self.update(page)
        return self

    def update(self, page: Page) -> None:
        self.pages.append(page.html)


def test_a_run_is_shown_while_it_goes_on_and_then_as_its_table() -> None:
    seen = Handle()
    begun = time.monotonic()
    run = carried("maybe", watch=Cell(seen))
    took = time.monotonic() - begun
    assert seen.pages[-1] == run._repr_html_()
    assert "model calls</span>" in seen.pages[0]
    assert len(seen.pages) <= 2 + took / PAUSE
    for page in seen.pages:
        assert Balanced(page)


@pytest.mark.parametrize("said", ATTACKS)
def test_nothing_is_taken_as_markup_while_it_goes_on(said: str) -> None:
    seen = Handle()
    cell, whole = Cell(seen), carried(said)
    for i in range(1, whole.seq):
        run = folded(whole.events[:i])
        cell(run, run.events[-1])
        cell(run, Delta("1", "text", said))
        cell._draw()
        check_markup(seen.pages[-1])


def test_a_key_is_not_shown_while_a_model_says_it() -> None:
    """What a notebook shows is kept in its file."""
    seen, key = Handle(), f"sk-ant-{'aB3' * 30}"
    cell, run = Cell(seen), folded(carried("x").events[:3])
    for piece in ("x " * 500, key[:20], key[20:50], key[50:], " and more"):
        cell(run, Delta("1", "text", piece))
    cell._draw()
    assert "[redacted] and more" in seen.pages[-1]
    assert "aB3" not in seen.pages[-1]


def test_a_key_behind_thinking_that_ends_in_a_letter_is_not_shown() -> None:
    seen, key = Handle(), f"sk-ant-{'aB3' * 30}"
    cell, run = Cell(seen), folded(carried("x").events[:3])
    for kind, text in (("thinking", "So I tell it"), ("text", f"{key} is it"), ("text", ".")):
        cell(run, Delta("1", kind, text))
        cell._draw()
    assert not [page for page in seen.pages if "aB3" in page]
    assert "[redacted] is it." in seen.pages[-1]
    cell(run, run.events[-1])
    cell._draw()
    assert "is it." not in seen.pages[-1]


def test_no_piece_of_a_long_key_is_shown_though_calls_speak_in_turns() -> None:
    seen, key = Handle(), f"eyJhbGciOiJIUzI1NiJ9.eyJ{'aB3' * 500}.{'aB3' * 30}"
    cell, run = Cell(seen), folded(carried("x").events[:3])
    for i in range(0, len(key), 100):
        for call in ("1", "2"):
            cell(run, Delta(call, "text", key[i : i + 100]))
            cell._draw()
    assert not [page for page in seen.pages if "aB3aB3aB3" in page]


class Speaks:
    """A model that says its words one by one."""

    name = "speaks"

    async def reply(self, request: Request) -> Reply:
        for word in ("one ", "two ", "<three>"):
            assert request.tell
            request.tell("text", word)
            await asyncio.sleep(1.5 * PAUSE)
        return Reply([Text("one two <three>")], usage=Usage(output_visible=3))


def test_the_words_of_a_model_are_shown_while_it_speaks() -> None:
    seen = Handle()
    policies = [Budget(unpriced="allow")]
    Loop(Speaks(), policies=policies, watch=Cell(seen)).run_now(Task("x"))
    said = [re.findall(r'lw-words lw-soft">(.*?)<', page) for page in seen.pages]
    assert ["one two"] in said
    assert ["one two &lt;three&gt;"] in said
    assert said[-1] == []


def test_several_runs_of_a_cell_share_its_display() -> None:
    seen = Handle()
    loop = Loop(Scripted(lambda *_: "yes"), watch=Cell(seen))
    loop.map_now(Task("Say {x}."), [{"x": str(i)} for i in range(30)])
    assert "and 10 more runs" in seen.pages[-1]
    assert seen.pages[-1].count("accepted</b>") == 20


def test_runs_that_end_one_after_the_other_are_not_drawn_one_by_one() -> None:
    seen = Handle()
    cell, run = Cell(seen), carried("x")
    going = run.events[:-1]
    cell(folded(going), going[-1])
    for i in range(100):
        cell.runs[str(i)] = evolve(cell.runs[run.run_id], run=run)

    async def ends() -> None:
        for i in range(100):
            cell(run.but(run_id=str(i)), run.events[-1])

    asyncio.run(ends())
    assert len(seen.pages) == 1
    cell(run, run.events[-1])
    assert len(seen.pages) == 2
    assert seen.pages[-1].count("accepted</b>") == 20


def test_it_is_drawn_by_the_event_loop_that_runs() -> None:
    """The one before may be held up: `run_now` lets a notebook's own wait."""
    seen = Handle()

    @tool(effect="read")
    async def look() -> str:
        """Look."""
        await asyncio.sleep(2 * PAUSE)
        return "rain"

    loop = Loop(Scripted(["yes", ToolCall("1", "look", {}), "yes"]), watch=Cell(seen))
    with asyncio.Runner() as held_up:
        held_up.run(loop.run(Task("x")))
        loop.run_now(Task("x", tools=[look]))
    assert any("look({}) …" in page for page in seen.pages)


def test_event_loops_that_take_turns_draw_no_more_often() -> None:
    """As where each thread of a pool has its own run: each draws for all, and once in a while."""
    seen = Handle()
    cell, run = Cell(seen), folded(carried("x").events[:3])

    async def turn(loop: asyncio.AbstractEventLoop) -> int:
        cell(run, run.events[-1])
        return len(cast("Any", loop)._scheduled)

    with asyncio.Runner() as one, asyncio.Runner() as other:
        for _ in range(10):
            waiting = {each.run(turn(each.get_loop())) for each in (one, other)}
        begun = time.monotonic()
        one.run(asyncio.sleep(2.5 * PAUSE))
        other.run(asyncio.sleep(2.5 * PAUSE))
        took = time.monotonic() - begun
    assert waiting == {1}, "as many timers as event loops"
    assert len(seen.pages) <= 2 + took / PAUSE


def test_runs_of_several_threads_share_the_display_of_their_cell() -> None:
    """They begin at the same moment, and end so, while a front end takes its time."""
    seen, shown, together = Handle(), list[Handle](), threading.Barrier(8)

    def slow(page: Page) -> Handle:
        time.sleep(0.005)
        shown.append(seen(page))
        return seen

    cell, runs = Cell(slow), [carried(str(i)) for i in range(8)]

    def go(run: Run) -> None:
        for i in (1, run.seq):
            together.wait()
            cell(folded(run.events[:i]), run.events[i - 1])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(go, runs))
    assert len(shown) == 1
    assert seen.pages[-1].count("accepted</b>") == 8


def test_a_front_end_that_is_gone_does_not_hurt_the_run() -> None:
    def gone(page: Page) -> None:
        raise ConnectionError

    assert carried("x", watch=Cell(gone)).outcome == "accepted"


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_that_is_cancelled_says_so(tmp_path: Path, kept: bool) -> None:
    seen = Handle()
    log = tmp_path / "runs.db" if kept else None
    loop = Loop(Speaks(), policies=[Budget(unpriced="allow")], log=log, watch=Cell(seen))

    async def stopped() -> None:
        running = asyncio.ensure_future(loop.run(Task("x")))
        while not seen.pages:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(stopped())
    assert "cancelled</b>" in seen.pages[-1]


def test_shared_ceilings_have_a_bar(tmp_path: Path) -> None:
    seen = Handle()
    policies = [Budget(usd=50, per="day", name="<b>support")]
    loop = Loop(Scripted(["yes"]), policies=policies, log=tmp_path / "r.db", watch=Cell(seen))
    loop.run_now(Task("x"))
    assert "USD of &#x27;&lt;b&gt;support&#x27; a day" in seen.pages[0]


# --------------------------------------------------------------------------------- a real kernel

SETUP = """
import asyncio
from loopwright import Loop, Task
from loopwright.calls import ToolCall
from loopwright.models import Scripted
from loopwright.tools import tool

@tool(effect="read", timeout=100)
async def slow() -> str:
    "Take a minute."
    await asyncio.sleep(60)
    return "done"

loop = Loop(Scripted(lambda *_: ToolCall("1", "slow", {})), log="runs.db", watch=True)
task = Task("Go slow.", tools=[slow])
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any, Path]]:
    home = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("IPYTHONDIR", str(home))
        manager, client = start_new_kernel(cwd=str(home))
        try:
            list(messages(client, client.execute(SETUP)))
            yield manager, client, home
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def messages(client: Any, asked: str) -> Iterator[tuple[str, Any]]:
    """What the kernel says to one request, until it is idle again."""
    while True:
        try:
            said = client.get_iopub_msg(timeout=30)
        except Empty:
            raise AssertionError("the kernel is silent") from None
        if said["parent_header"].get("msg_id") == asked:
            yield said["msg_type"], said["content"]
            if said["content"].get("execution_state") == "idle":
                return


@pytest.mark.parametrize("code", ["await loop.run(task)", "loop.run_now(task)"])
def test_stop_cancels_the_run_at_once(kernel: tuple[Any, Any, Path], code: str) -> None:
    manager, client, home = kernel
    pages: list[str] = []
    displays = set()
    for kind, content in messages(client, client.execute(code)):
        if kind in ("display_data", "update_display_data"):
            displays.add(content["transient"]["display_id"])
            pages.append(content["data"]["text/html"])
            if "slow({}) …" in pages[-1] and len(pages) == 2:
                manager.interrupt_kernel()
    assert len(displays) == 1
    assert "cancelled</b>" in pages[-1]
    log = Log(home / "runs.db")
    (newest, *_) = log.runs()
    assert newest.outcome == "cancelled"
    assert newest.seconds < 30
    assert newest.run in pages[-1]
    log.close()
