"""Spans: decoded by the public definitions of OTLP, they are what stands in the log."""

import itertools
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve
from collector import Collector, collecting, facts
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from processes import ended, launched
from tracked import ITEMS, answered, carried, elsewhere, loop_of

from loopwright import Log, LogError, Loop, Outcome, Run, RunNotFound, Task
from loopwright.calls import ToolCall
from loopwright.events import Ended, Event, Intended, Resumed
from loopwright.models import Scripted
from loopwright.otlp import Exported, export, follow
from loopwright.otlp.spans import span_id, trace_id

SCRIPTS = st.lists(st.sampled_from(ITEMS), max_size=5)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def sent(collector: Collector, log: Log, **options: Any) -> dict[str, Span]:
    """What an export sends, by span id; nothing comes twice in it."""
    collector.taken.clear()
    said = export(log, collector.url, **options)
    spans = {span.span_id.hex(): span for span in collector.spans}
    assert said.spans == len(collector.spans) == len(spans)
    return spans


def went_on(log: Log, script: list[Any]) -> Run:
    """A run of that script, to its end."""
    run = carried(log, script)
    while run.outcome is Outcome.waiting:
        run = answered(log, run, [])
    return run


def seconds(nano: int) -> float:
    return float(Decimal(nano) / 10**9)


# ------------------------------------------------------------------------------------------- laws


@settings(max_examples=8)
@given(SCRIPTS)
def test_the_spans_are_what_the_views_say(collector: Collector, script: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        log = Log(f"{folder}/runs.db", "process")
        went_on(log, script)
        spans = sent(collector, log, again=True)
        assert any(span.name == "chat a" for span in spans.values())
        families(log, spans)
        chats(log, spans)
        tools(log, spans)
        runs(log, spans)
        log.close()


def rows(log: Log, view: str) -> list[dict[str, Any]]:
    log.connection.row_factory = None
    found = log.connection.execute(f"select * from {view}")
    names = [name for name, *_ in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def events(log: Log) -> dict[tuple[str, int], Event]:
    return {(run, n): e for run in log.ids() for n, e in enumerate(log.events(run), 1)}


BEGAN = "select run, min(seq) from events group by run"


def families(log: Log, spans: dict[str, Span]) -> None:
    """A tree is a trace with one root, and every parent is there."""
    roots = defaultdict(list)
    for span in spans.values():
        if span.parent_span_id:
            assert spans[span.parent_span_id.hex()].trace_id == span.trace_id
            assert span.start_time_unix_nano >= spans[
                span.parent_span_id.hex()
            ].start_time_unix_nano or span.name.startswith("invoke_agent")
        else:
            roots[span.trace_id.hex()].append(span.span_id.hex())
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
    wanted = {row["root"] for row in rows(log, "trees")}
    began = dict(log.connection.execute(BEGAN).fetchall())
    assert roots == {trace_id(root): [span_id(root, began[root])] for root in wanted}


def chats(log: Log, spans: dict[str, Span]) -> None:
    there, all_events = rows(log, "model_calls"), events(log)
    assert len(there) == sum(span.name.startswith("chat ") for span in spans.values())
    for row in there:
        span = spans[span_id(row["run"], row["seq"])]
        said = facts(span)
        assert span.name == f"chat {row['model'].partition(':')[2]}"
        assert span.kind == Span.SPAN_KIND_CLIENT
        assert said["gen_ai.operation.name"] == "chat"
        assert f"{said['gen_ai.provider.name']}:{said['gen_ai.request.model']}" == row["model"]
        assert said.get("gen_ai.response.model") == row["served_model"]
        assert said["gen_ai.conversation.id"] == row["run"]
        assert said["loopwright.purpose"] == row["purpose"]
        assert said.get("loopwright.retry.policy") == row["policy"]
        assert said["loopwright.step"] == row["step"]
        went_in = row["input_uncached"] + row["cache_read"] + row["cache_write"]
        assert said.get("gen_ai.usage.input_tokens", 0) == went_in
        assert said.get("gen_ai.usage.cache_read.input_tokens", 0) == row["cache_read"]
        assert said.get("gen_ai.usage.cache_write.input_tokens", 0) == row["cache_write"]
        came_out = row["output_visible"] + row["output_reasoning"]
        assert said.get("gen_ai.usage.output_tokens", 0) == came_out
        reasoned = said.get("gen_ai.usage.reasoning.output_tokens", 0)
        assert reasoned == row["output_reasoning"]
        assert said.get("loopwright.cost.nano_usd", 0) == row["cost_nano"]
        assert said["loopwright.cost.possible.usd"] == row["possibly_billed_usd"]
        assert (said.get("loopwright.seconds") or None) == (row["seconds"] or None)
        assert said.get("error.type") == (row["failure"] or ("in_doubt" if no_end(row) else None))
        assert span.status.code == (2 if "error.type" in said else 0)
        began = all_events[row["run"], row["seq"]].time
        assert seconds(span.start_time_unix_nano) == began


def no_end(row: dict[str, Any]) -> bool:
    return bool(row["state"] == "unknown")


def tools(log: Log, spans: dict[str, Span]) -> None:
    there = rows(log, "tool_calls")
    assert len(there) == sum(span.name.startswith("execute_tool") for span in spans.values())
    for row in there:
        span = spans[span_id(row["run"], row["seq"])]
        said = facts(span)
        assert span.name == f"execute_tool {row['tool']}"
        assert said["gen_ai.tool.call.id"] == row["call"]
        assert said["loopwright.tool.effect"] == row["effect"]
        assert said.get("error.type") == (row["failure"] or ("in_doubt" if no_end(row) else None))
        assert (said.get("loopwright.seconds") or None) == (row["seconds"] or None)


def runs(log: Log, spans: dict[str, Span]) -> None:
    for row in rows(log, "runs"):
        mine = [s for s in spans.values() if facts(s).get("loopwright.run") == row["run"]]
        last = max(mine, key=lambda span: span.end_time_unix_nano)
        said = facts(last)
        assert last.name == f"invoke_agent {row['task']}"
        assert said["loopwright.outcome"] == row["outcome"]
        assert said["gen_ai.agent.name"] == row["task"]
        bad = row["outcome"] in ("rejected", "exhausted", "stopped", "failed")
        assert (last.status.code == 2) == bad
        cost = sum(facts(span)["loopwright.run.cost.usd"] for span in mine)
        models = [m for m in rows(log, "model_calls") if m["run"] == row["run"]]
        assert cost == pytest.approx(sum(m["cost_usd"] for m in models))
        came_out = sum(m["output_visible"] + m["output_reasoning"] for m in models)
        assert sum(facts(s).get("gen_ai.usage.output_tokens", 0) for s in mine) == came_out
        decided = [m for s in mine for m in s.events if m.name == "loopwright.decision"]
        told = [
            (d["moment"], d["policy"], d["decision"])
            for d in rows(log, "decisions")
            if d["run"] == row["run"]
        ]
        kept = [facts(mark) for mark in sorted(decided, key=lambda mark: mark.time_unix_nano)]
        names = ("moment", "policy", "kind")
        assert [tuple(k[f"loopwright.decision.{n}"] for n in names) for k in kept] == told


@settings(max_examples=4)
@given(SCRIPTS)
def test_both_encodings_and_every_export_say_the_same(
    collector: Collector, script: list[Any]
) -> None:
    with TemporaryDirectory() as folder:
        log = Log(f"{folder}/runs.db", "process")
        went_on(log, script)
        first = sent(collector, log, content=True)
        assert sent(collector, log, content=True) == {}
        assert sent(collector, log, content=True, again=True) == first
        there = sent(collector, log, content=True, again=True, encoding="protobuf")
        assert there == first
        assert collector.headers[-1]["Content-Type"] == "application/x-protobuf"
        log.close()


@settings(max_examples=6)
@given(SCRIPTS, st.data())
def test_what_is_exported_while_it_comes_is_what_is_exported_afterwards(
    collector: Collector, script: list[Any], data: Any
) -> None:
    """However the events come in portions: each span once, and the same."""
    with TemporaryDirectory() as folder:
        log, later = Log(f"{folder}/runs.db", "process"), Log(f"{folder}/later.db", "process")
        went_on(log, script)
        whole = sent(collector, log)
        collector.taken.clear()
        written = sorted(events(log).items(), key=in_order)
        cuts = data.draw(st.sets(st.integers(1, len(written)), max_size=6))
        for number, ((run, seq), event) in enumerate(written, 1):
            later.append_now(run, seq - 1, [event])
            if number in cuts:
                export(later, collector.url)
        export(later, collector.url)
        assert len(collector.spans) == len(whole)
        assert {span.span_id.hex(): span for span in collector.spans} == whole
        log.close()
        later.close()


def in_order(written: tuple[tuple[str, int], Event]) -> tuple[float, str, int]:
    """By time, but the events of each run in their order."""
    (run, seq), event = written
    return event.time, run, seq


@settings(max_examples=8)
@given(SCRIPTS, st.data())
def test_a_run_that_was_cut_anywhere_and_went_on_or_was_cancelled(
    collector: Collector, script: list[Any], data: Any
) -> None:
    with TemporaryDirectory() as folder:
        log, cut = Log(f"{folder}/runs.db", "process"), Log(f"{folder}/cut.db", "process")
        run = carried(log, script)
        there = log.events(run.run_id)
        kept = there[: data.draw(st.integers(1, len(there)))]
        cut.append_now(run.run_id, 0, kept)
        first = sent(collector, cut)
        if data.draw(st.booleans()) and not isinstance(kept[-1], Ended):
            over = Ended(kept[-1].time + 1, Outcome.cancelled, "enough")
            cut.append_now(run.run_id, len(kept), [over])
        else:
            finished(cut, run.run_id)
        spans = first | sent(collector, cut)
        assert sent(collector, cut, again=True) == spans
        again = sum(isinstance(event, Resumed) for event in cut.events(run.run_id))
        assert sum(s.name == "invoke_agent say" for s in spans.values()) >= 1 + again
        families(cut, spans)
        chats(cut, spans)
        tools(cut, spans)
        log.close()
        cut.close()


def finished(log: Log, run_id: str) -> None:
    run = answered(log, log.run(run_id), [])
    while run.outcome is Outcome.waiting:
        run = answered(log, run, [])


# -------------------------------------------------------------------------------------- scenarios


def test_parallel_children_stand_below_the_calls_that_began_them(
    collector: Collector, log: Log
) -> None:
    both = [ToolCall("1", "poet", {"topic": "rain"}), ToolCall("2", "poet", {"topic": "sun"})]
    run = went_on(log, [both])
    spans = sent(collector, log)
    poets = [span for span in spans.values() if span.name == "invoke_agent poem"]
    above = [spans[span.parent_span_id.hex()] for span in poets]
    assert [span.name for span in above] == ["execute_tool poet"] * 2
    assert len({span.span_id for span in above}) == 2
    calls = {facts(span)["gen_ai.tool.call.id"] for span in above}
    assert {facts(span)["loopwright.run"] for span in poets} == {f"{run.run_id}.{c}" for c in calls}
    only = sent(collector, log, run=f"{run.run_id}.{min(calls)}", again=True)
    assert {span.name for span in only.values()} == {"invoke_agent poem", "chat b"}
    family = sent(collector, log, run=run.run_id, again=True)
    assert family == spans


def test_checks_and_judges_are_evaluations_of_the_answer(collector: Collector, log: Log) -> None:
    went_on(log, ["bad", "good one", "good two"])
    spans = sent(collector, log, content="reasons")
    marked = [
        [facts(mark) for mark in span.events if mark.name == "gen_ai.evaluation.result"]
        for span in sorted(spans.values(), key=lambda span: span.start_time_unix_nano)
        if facts(span).get("loopwright.purpose") == "answer"
    ]
    name, label = "gen_ai.evaluation.name", "gen_ai.evaluation.score.label"
    assert [[(m[name], m[label]) for m in marks] for marks in marked] == [
        [("is_good", "fail")],
        [("Taste", "fail"), ("is_good", "pass")],
        [("is_good", "pass"), ("Taste", "pass")],
    ]
    first = marked[0][0]
    assert first["gen_ai.evaluation.explanation"] == "Say good, not bad."
    assert first["gen_ai.evaluation.score.value"] == 0.0
    judging = [s for s in spans.values() if facts(s).get("loopwright.purpose") == "Taste"]
    assert len(judging) == 2


def test_people_and_sleeps_are_spans_too(collector: Collector, log: Log) -> None:
    busy = ITEMS[-2]
    run = carried(log, [busy, ToolCall("1", "send", {"to": "Ada"})])
    assert run.outcome is Outcome.waiting
    before = sent(collector, log)
    names = {span.name for span in before.values()}
    assert names == {"invoke_agent say", "chat a", "sleep"}
    (sleep,) = (span for span in before.values() if span.name == "sleep")
    assert facts(sleep)["loopwright.sleep.seconds"] > 0
    answered(log, run, [])
    after = sent(collector, log)
    (asked,) = (span for span in after.values() if span.name == "ask_person approval")
    assert facts(asked)["loopwright.question.answered"] is True
    assert asked.parent_span_id.hex() == span_id(run.run_id, 1)
    waited = seconds(asked.end_time_unix_nano - asked.start_time_unix_nano)
    (there,) = rows(log, "approvals")
    assert waited == pytest.approx(there["waited_seconds"])
    assert not before.keys() & after.keys()


def test_a_waiting_run_that_is_cancelled(collector: Collector, log: Log) -> None:
    run = carried(log, [ToolCall("1", "send", {"to": "Ada"})])
    sent(collector, log)
    log.append_now(run.run_id, run.seq, [Ended(run.time + 5, Outcome.cancelled, "taken back")])
    spans = sorted(sent(collector, log).values(), key=lambda span: span.name)
    assert [span.name for span in spans] == ["ask_person approval", "invoke_agent say"]
    assert facts(spans[0])["loopwright.question.answered"] is False
    assert facts(spans[1])["loopwright.outcome"] == "cancelled"
    assert spans[1].parent_span_id.hex() == span_id(run.run_id, 1)


def test_a_run_that_is_cancelled_while_a_judge_thinks(collector: Collector, log: Log) -> None:
    there = log.events(carried(log, ["good"]).run_id)
    judging = next(
        n for n, e in enumerate(there) if isinstance(e, Intended) and e.call.id.startswith("j")
    )
    kept = [evolve(there[0], run="cut"), *there[1 : judging + 1]]  # type: ignore[type-var]
    log.append_now("cut", 0, [*kept, Ended(kept[-1].time + 1, Outcome.cancelled, "enough")])
    spans = sent(collector, log, run="cut")
    assert sorted(span.name for span in spans.values()) == ["chat a", "chat c", "invoke_agent say"]


def test_a_fork_is_a_trace_of_its_own_that_names_its_base(collector: Collector, log: Log) -> None:
    run = carried(log, ["bad", "good"])
    loop, task = loop_of(log, ["good as well"], run.time + 60)
    fork = loop.fork_now(run.run_id, task, at=1)
    forked = loop.fork_now(fork.run_id, task, at=2)
    spans = sent(collector, log)
    families(log, spans)
    made = [s for s in spans.values() if s.name == "chat a"]
    assert len(made) == sum(row["purpose"] == "answer" for row in rows(log, "model_calls"))
    for one, base in ((fork, run), (forked, fork)):
        (top,) = (s for s in spans.values() if facts(s).get("loopwright.run") == one.run_id)
        assert top.trace_id.hex() == trace_id(one.run_id)
        (link,) = top.links
        assert link.trace_id.hex() == trace_id(base.run_id)
        named = spans[link.span_id.hex()]
        assert facts(named)["loopwright.run"] == base.run_id


def test_money_that_was_reconciled(collector: Collector, log: Log) -> None:
    run = carried(log, [ITEMS[-1], "good"])
    (lost,) = (row for row in rows(log, "model_calls") if row["failure"] == "timeout")
    sent(collector, log)
    log.reconcile(run.run_id, lost["call"], "0.25")
    (span,) = sent(collector, log).values()
    assert (span.name, facts(span)["loopwright.cost.usd"]) == ("reconcile", 0.25)


def test_the_resource_and_the_scope_say_who_it_is(collector: Collector, log: Log) -> None:
    went_on(log, [])
    sent(collector, log, service="shop")
    (resource,) = collector.taken[-1].resource_spans
    assert facts(resource.resource)["service.name"] == "shop"
    assert resource.scope_spans[0].scope.name == "loopwright"
    assert collector.paths[-1] == "/v1/traces"


def test_what_no_text_can_hold_is_sent_all_the_same(collector: Collector, log: Log) -> None:
    odd = "a\ud800b\0\x1b[31m"
    Loop(Scripted([odd]), log=log).run_now(Task("Say {n}."), n=odd)
    assert sent(collector, log, content=True)
    assert sent(collector, log, content=True, again=True, encoding="protobuf")


def test_a_run_that_is_not_there(collector: Collector, log: Log) -> None:
    with pytest.raises(RunNotFound, match="holds no run 'nobody'"):
        export(log, collector.url, run="nobody")


def test_nothing_is_sent_of_a_log_that_may_not_be_written(collector: Collector, log: Log) -> None:
    """How far it came could not be noted down."""
    went_on(log, [])
    collector.taken.clear()
    refused = pytest.raises(LogError, match="was opened to be read only: make it writable")
    with closing(Log(log.path, read_only=True)) as reading, refused:
        export(reading, collector.url)
    assert collector.spans == []


# ------------------------------------------------------------------------------------ while it goes


def test_what_another_process_appends_is_followed(
    collector: Collector, tmp_path: Path, log: Log
) -> None:
    run = carried(log, [ToolCall("1", "send", {"to": "Ada"})])
    collector.taken.clear()
    following = follow(log, collector.url, run=run.run_id, every=0.01)
    assert next(following).spans == 2
    rest: list[Exported] = []
    thread = threading.Thread(target=lambda: rest.extend(following), daemon=True)
    thread.start()
    assert ended(launched(elsewhere, tmp_path / "runs.db", run.run_id)) == 0
    thread.join(30)  # it ends when the run does
    assert not thread.is_alive()
    assert sum(said.spans for said in rest) == len(collector.spans) - 2 > 2
    live = {span.span_id.hex(): span for span in collector.spans}
    assert len(live) == len(collector.spans)
    assert sent(collector, log, again=True) == live


def test_the_ids_are_all_different() -> None:
    places = itertools.product(("r", "r1", 'r",1'), range(1, 30), ("", "1"))
    assert len({span_id(*place) for place in places}) == 3 * 29 * 2
