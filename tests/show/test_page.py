"""The page of a run: every event has its place, and nothing in it is taken as markup."""

import base64
import hashlib
import json
import re
from collections import Counter
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from show.staged import ATTACKS, evil_run, started

from loopwright import Log, Loop, RunNotFound, Task
from loopwright.models import Scripted
from loopwright.policies import Retry
from loopwright.show.axis import axis
from loopwright.show.figures import money, shown
from loopwright.show.frame import page as framed
from loopwright.show.page import page

VOID = {"meta", "input", "link", "br", "img"}


class Parsed(HTMLParser):
    """A document: its elements, their ids and links, and what stands in its scripts."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._script = ""
        self.feed(document)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.seen[tag] += 1
        self.attributes |= set(held)
        self.ids += [held["id"] or ""] if "id" in held else []
        self.links += [held["href"] or ""] if "href" in held else []
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self._script = held.get("id") or "code"
            self.scripts[self._script] = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen[tag] += 1
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[self._script] += data
        else:
            self.text += data

    @property
    def index(self) -> list[list[Any]]:
        """What the page says of each row."""
        rows: list[list[Any]] = json.loads(self.scripts["index"])["rows"]
        return rows

    @property
    def entries(self) -> list[list[dict[str, Any]]]:
        """What stands in each row."""
        chunks = [name for name in self.scripts if name.startswith("data-")]
        return [row for name in chunks for row in json.loads(self.scripts[name])]


def test_every_event_of_every_run_has_its_place_once(shop: Log) -> None:
    for run_id in shop.ids():
        found = Parsed(page(shop, run_id))
        places: dict[int, list[int]] = {}
        for (number, first, last, *_), row in zip(found.index, found.entries, strict=True):
            places.setdefault(number, []).extend(range(first, last + 1))
            assert row
        runs = [run_id, *(one for one in shop.ids() if one.startswith(f"{run_id}."))]
        assert len(runs) == len(places)
        seqs: dict[int, set[int]] = {}
        for (number, *_), row in zip(found.index, found.entries, strict=True):
            seqs.setdefault(number, set()).update(seq for one in row for seq in one["seqs"])
        for number, run in enumerate(runs):
            events = list(range(1, len(shop.events(run)) + 1))
            assert places[number] == events
            assert seqs[number] == set(events)


def test_its_steps_are_those_of_the_views(shop: Log) -> None:
    query = "select step, first_seq, last_seq from steps where run = ? order by step"
    for run_id in shop.ids():
        found = Parsed(page(shop, run_id))
        rows = [(first, last) for number, first, last, *_ in found.index if number == 0]
        steps = [tuple(row.values()) for row in shop.db.query(query, (run_id,))]
        assert list(enumerate(rows))[1:] == [(step, (a, b)) for step, a, b in steps]
        assert [f"step-{n}" for n in range(len(rows))] == [
            one for one in found.ids if one.startswith("step-")
        ]


def test_no_two_places_have_one_name_and_every_link_leads_somewhere(shop: Log) -> None:
    for run_id in shop.ids():
        found = Parsed(page(shop, run_id))
        assert not [name for name, count in Counter(found.ids).items() if count > 1]
        assert {link[1:] for link in found.links} <= set(found.ids)


def test_it_says_how_the_run_ended_and_what_it_cost(shop: Log) -> None:
    for run_id in shop.ids():
        run, text = shop.run(run_id), Parsed(page(shop, run_id)).text
        assert run.title in text
        assert (run.outcome or "open") in text
        assert run.why in text
        assert f"{money(run.spent.settled)} USD" in text


def test_without_a_script_every_step_can_still_be_read(shop: Log) -> None:
    """The beginning of each text stands in the document itself."""
    document = page(shop, shop.ids()[0])
    unscripted = "".join(re.findall("<noscript>(.*?)</noscript>", document, re.DOTALL))
    said = Parsed(f"<div>{unscripted}</div>").text
    for row in Parsed(document).entries:
        for entry in row:
            assert all(text[:500] in said for _, text, _ in entry["texts"])
            assert entry["head"] in said


def test_parallel_calls_stand_on_rows_of_their_own_and_children_below(shop: Log) -> None:
    (campaign,) = (run for run in shop.ids() if shop.run(run).title == "campaign")
    document = page(shop, campaign)
    drawn = re.findall(
        r'<rect class="(\w+)[^"]*" data-to="(run-\d)?[^"]*" x="[^"]*" y="(\d+)"', document
    )
    rows = {child: {y for kind, run, y in drawn if run == child} for _, child, _ in drawn}
    assert len({y for kind, run, y in drawn if kind == "tool" and not run}) == 2
    assert set(rows) == {"", "run-1", "run-2"}
    assert not rows["run-1"] & rows["run-2"]


def test_a_run_that_has_only_begun(log: Log) -> None:
    log.append_now("new", 0, [started("new")])
    found = Parsed(page(log, "new"))
    assert "open" in found.text
    assert len(found.index) == 1


def test_a_fork_shows_what_it_shares_and_pays_only_for_its_own(log: Log) -> None:
    task = Task("Say good.", checks=[lambda answer: None if answer == "good" else "Say good."])
    base = Loop(Scripted(["bad", "worse", "worst"]), policies=[Retry(times=2)], log=log)
    first = base.run_now(task)
    other = Loop(Scripted(["good"], name="other"), policies=[Retry()], log=log)
    fork = other.fork_now(first.run_id, task, at=2, model="other:other")
    document = page(log, fork.run_id)
    found = Parsed(document)
    assert f"forked from {first.run_id}" in " ".join(found.text.split())
    shared = re.findall('class="step[^"]*shared" id="step-(\\d+)"', document)
    assert shared == ["0", "1"]
    assert len(found.index) == 4
    assert found.index[-1][2] == len(log.events(fork.run_id))
    assert f"{fork.spent.tokens:,}" in found.text


def test_a_run_that_is_not_there(log: Log) -> None:
    with pytest.raises(RunNotFound):
        page(log, "nowhere")


def test_the_answers_stand_side_by_side_with_what_changed(shop: Log) -> None:
    (run_id,) = (run for run in shop.ids() if shop.run(run).outcome == "rejected")
    document = page(shop, run_id)
    assert document.count("<article>") == 4
    assert "<del>is coming" in document


# ------------------------------------------------------------------------------- what others wrote


@pytest.mark.parametrize("evil", ATTACKS)
def test_nothing_that_others_wrote_is_markup(log: Log, evil: str) -> None:
    log.append_now("evil", 0, evil_run(evil))
    log.append_now("good", 0, evil_run("good"))
    bad, good = Parsed(page(log, "evil")), Parsed(page(log, "good"))
    tags = {tag: n for tag, n in bad.seen.items() if tag not in ("ins", "del", "rect", "p")}
    assert tags == {tag: n for tag, n in good.seen.items() if tag in tags}
    assert bad.attributes == good.attributes
    assert all(link.startswith("#") for link in bad.links)


@given(st.text(st.characters(codec=None)))
def test_data_comes_out_as_it_was_put_in(text: str) -> None:
    document = framed(text, "<p>x</p>", [("held", {"a": [text]})], "board.js")
    found = Parsed(document)
    assert json.loads(found.scripts["held"]) == {"a": [text]}
    assert found.seen == Parsed(framed("x", "<p>x</p>", [("held", 1)], "board.js")).seen
    document.encode()


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_has_nothing_that_would_not_show(text: str) -> None:
    assert all(line.isprintable() for line in re.split("[\n\t]", shown(text)))


def test_only_its_own_script_and_style_are_allowed(shop: Log) -> None:
    document = page(shop, shop.ids()[0])
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', document)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (style,) = re.findall("<style>(.*?)</style>", document, re.DOTALL)
    code = Parsed(document).scripts["code"]
    assert rules == {
        "default-src": "'none'",
        "script-src": digest(code),
        "style-src": digest(style),
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_secrets_of_others_stay_where_they_are(log: Log) -> None:
    """A page holds the run that was asked for, those below it, and no other."""
    loop = Loop(Scripted(["one", "two"]), log=log)
    first, second = (loop.run_now(Task(f"Say {word}.")) for word in ("this", "that"))
    assert "Say that." not in page(log, first.run_id)
    assert second.run_id not in page(log, first.run_id)


# ---------------------------------------------------------------------------------------- figures


@given(st.integers(-(10**18), 10**18), st.integers(0, 9))
def test_money_is_exact(nano: int, places: int) -> None:
    assert Decimal(money(nano, places)) * 10**9 == nano


TIMES = st.integers(0, 10**6).map(float)


@given(st.lists(st.tuples(TIMES, TIMES).map(sorted).map(tuple)), TIMES, TIMES, st.lists(TIMES))
def test_time_goes_one_way_in_a_drawing(busy: Any, a: float, b: float, times: list[float]) -> None:
    first, last = min(a, b), max(a, b)
    inside = [(max(x, first), min(y, last)) for x, y in busy if x < last and y > first]
    drawn = axis(inside, first, last)
    places = [drawn.at(time) for time in sorted(times)]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    assert (drawn.at(first), drawn.at(max(last, first + 0.001))) == (0, 1)
    assert all(drawn.at(y) > drawn.at(x) for x, y in inside if y - x > 1)
