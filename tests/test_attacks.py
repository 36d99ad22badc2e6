"""Hostile texts come back from everything that stores, shows or sends them as what they are."""

import csv
import io
import json
import sqlite3
from html.parser import HTMLParser

import pytest
from attacks import ATTACKS, KINDS, RUNS
from collector import collecting, facts

from loopwright import BadInput, Log, Loop, RunNotFound, Task
from loopwright.codec import decode, encode
from loopwright.log.search import search
from loopwright.models import Scripted
from loopwright.otlp import export
from loopwright.otlp.wire import clean
from loopwright.show.markup import escaped, markdown
from loopwright.show.table import in_csv
from loopwright.show.text import visible

NAMED = [pytest.param(text, id=f"{i}-{text[:12]!a}") for i, text in enumerate(ATTACKS)]


def test_there_are_attacks_of_every_kind() -> None:
    assert all(len(kind) >= 5 for kind in KINDS.values())
    assert len(ATTACKS) > 80


class Parsed(HTMLParser):
    """What a browser would make of markup: its tags and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(tag)

    def handle_comment(self, data: str) -> None:
        self.tags.append("comment")

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.mark.parametrize("text", NAMED)
def test_what_is_shown_does_nothing(text: str) -> None:
    assert visible(text).isprintable()
    page = Parsed(f'<p title="{escaped(text)}">{escaped(text)}</p>')
    assert page.tags == ["p", "p"]
    lines = "\n".join("\t".join(map(visible, line.split("\t"))) for line in page.said.split("\n"))
    assert lines == page.said
    assert "\n" not in markdown(text)
    assert not set("<>[]|`*$") & set(markdown(text))
    assert not Parsed(markdown(text)).tags


@pytest.mark.parametrize("text", NAMED)
def test_a_spreadsheet_sees_a_text_in_one_cell(text: str) -> None:
    rows = list(csv.reader(io.StringIO(in_csv([{"said": text, "n": 1}]), newline="")))
    assert [len(row) for row in rows] == [2, 2]
    assert not rows[1][0].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_what_is_stored_comes_back(log: Log) -> None:
    assert [decode(encode({text: text})) for text in ATTACKS] == [{text: text} for text in ATTACKS]
    loop, task = Loop(Scripted(ATTACKS), log=log), Task("Say {it}.", name="say")
    runs = [loop.run_now(task, it=text) for text in ATTACKS]
    for text, run in zip(ATTACKS, runs, strict=True):
        there = log.run(run.run_id)
        assert there.inputs == {"it": text}
        assert there.messages[-1].text == text or not text.strip()
    database = sqlite3.connect(log.path)
    assert database.execute("select count(*) from runs").fetchone() == (len(ATTACKS),)
    database.close()


@pytest.mark.parametrize("text", NAMED)
def test_names_of_runs_and_words_to_look_for(log: Log, text: str) -> None:
    if any(map(str.isalnum, text)):
        assert search(log, text) == []
    else:
        with pytest.raises(BadInput, match="at least one word"):
            search(log, text)
    assert not log.has(clean(text))
    with pytest.raises(RunNotFound):
        log.run(clean(text))


def test_what_is_sent_arrives_as_it_is(log: Log) -> None:
    loop, task = Loop(Scripted(ATTACKS), log=log), Task("Say {it}.", name=f"<{RUNS}>")
    for text in ATTACKS:
        loop.run_now(task, it=text)
    with collecting() as there:
        export(log, there.url, content=True)
        export(log, there.url, content=True, again=True, encoding="protobuf")
        once, again = there.spans[: len(there.spans) // 2], there.spans[len(there.spans) // 2 :]
    assert once == again
    said = [
        json.loads(facts(span)["gen_ai.input.messages"])[0]["parts"][0]["content"]
        for span in once
        if span.name.startswith("chat")
    ]
    assert sorted(said) == sorted(f"Say {clean(text)}." for text in ATTACKS)
