"""JSON lines: what is exported is read back as the same events, and no reader stumbles on it."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from test_codec import _values, text

from loopwright import Log, Loop, RunNotFound, Task
from loopwright.calls import ToolCall
from loopwright.errors import LogError
from loopwright.events import EVENTS, Event, Intended
from loopwright.log.jsonl import events, line, lines
from loopwright.models import Scripted


@st.composite
def any_event(draw: Any) -> Event:
    event: Event = draw(_values(EVENTS[draw(st.sampled_from(sorted(EVENTS)))]))
    return event


@given(text, st.integers(1, 2**40), any_event())
def test_every_event_is_read_back_as_it_was(run: str, seq: int, event: Event) -> None:
    assume(getattr(event, "call", None) != "")  # every call has an id
    told = line(run, seq, event)
    assert list(events([told])) == [(run, seq, event)]
    assert told.isascii()
    assert told.isprintable()
    held = json.loads(told, parse_constant=pytest.fail)
    assert list(held) == ["run", "seq", "type", "time", "call", "data"]


def test_deep_data_is_exported() -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    event = Intended(1.0, ToolCall("1", "look", {"at": deep}))
    assert list(events([line("r", 1, event)])) == [("r", 1, event)]


def test_a_log_is_exported_run_by_run(log: Log) -> None:
    loop = Loop(Scripted(["x" * 2000, "Hi.", "Hi."]), log=log)
    ids = sorted(run.run_id for run in loop.map_now(Task("Say {it}."), [{"it": "é" * 600}] * 3))
    there = {run: log.events(run) for run in ids}
    expected = [(run, i, event) for run in ids for i, event in enumerate(there[run], 1)]
    assert list(events(lines(log))) == expected
    assert list(events(lines(log, ids[1]))) == [one for one in expected if one[0] == ids[1]]
    assert "$part" not in "".join(lines(log))
    with pytest.raises(RunNotFound):
        list(lines(log, "nobody"))


def test_a_fork_is_exported_with_what_it_shares(log: Log) -> None:
    task = Task("Say it.")
    loop = Loop(Scripted(["Hi."] * 9), log=log)
    if not hasattr(loop, "fork_now"):
        pytest.skip("there are no forks")
    base = loop.run_now(task)
    fork = loop.fork_now(base.run_id, task, at=0)
    alone = list(events(lines(log, fork.run_id)))
    assert [event for _, _, event in alone] == log.events(fork.run_id)
    assert {run for run, _, _ in alone} == {base.run_id, fork.run_id}
    every = [(run, seq) for run, seq, _ in events(lines(log))]
    assert len(every) == len(set(every))
    assert set(every) >= {(run, seq) for run, seq, _ in alone}


@pytest.mark.parametrize(
    "told",
    ["", "{}", "[]", "no", '{"run":"r","seq":1,"type":"Odd","time":1,"call":null,"data":{}}'],
)
def test_what_is_no_event_is_refused(told: str) -> None:
    with pytest.raises(LogError):
        list(events([told]))
