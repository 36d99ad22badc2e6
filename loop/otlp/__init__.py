"""OpenTelemetry: the runs of a log as traces, sent to an OTLP endpoint over HTTP.

Nothing is sent unless `export` or `follow` is called. Ids follow from runs and events, so that what
is sent twice is the same span twice; how far each run was sent to each endpoint stands in the log.

::

    export("runs.db", "http://localhost:4318")                         # all that is new
    for sent in follow("runs.db", "http://localhost:4318"): print(sent)   # while runs go on
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from loopwright.errors import BadInput, ExportFailed, RunNotFound
from loopwright.log.migrations import transaction
from loopwright.log.store import Log
from loopwright.otlp.content import Content
from loopwright.otlp.http import Accepted, Endpoint, endpoint_of, send
from loopwright.otlp.spans import Place, Span, Tracer, span_id, trace_id
from loopwright.otlp.wire import Encoding, body
from loopwright.report import opened

__all__ = ["ExportFailed", "Exported", "export", "follow"]

MOST = 512
"""Spans of a request: the default of OTEL_BSP_MAX_EXPORT_BATCH_SIZE."""

LARGEST = 4_000_000
"""Characters of a request after which the next one begins: a fifth of what a collector takes, since
characters can be several bytes (`max_request_body_size` of its confighttp is 20 MiB)."""


@frozen
class Exported:
    """What was sent: how many `spans` of how many `runs`, and how many of them were `rejected`.

    An endpoint says in `message` why it rejected some, or warns of something.

    >>> print(Exported(12, 3))
    12 spans of 3 runs were sent
    """

    spans: int = 0
    runs: int = 0
    rejected: int = 0
    message: str = ""

    def __str__(self) -> str:
        rejected = f", of which {self.rejected} were rejected" if self.rejected else ""
        message = f": {self.message}" if self.message else ""
        return f"{self.spans} spans of {self.runs} runs were sent{rejected}{message}"


def export(
    log: "Log | str | os.PathLike[str]",
    endpoint: str,
    *,
    run: str | None = None,
    headers: Mapping[str, str] | str | None = None,
    content: Content = False,
    encoding: Encoding = "json",
    service: str = "loopwright",
    again: bool = False,
    timeout: float = 10.0,
    patience: float = 60.0,
) -> Exported:
    """Send the spans of a log that `endpoint` has not had so far: each at least once.

    `endpoint` is the base of an OTLP/HTTP endpoint, such as ``"http://localhost:4318"``; `headers`
    are a mapping or a text such as ``"api-key=..."``. With `run` only that run and those that its
    tools began are sent. A span is sent when it is complete, that of a run when it ends or waits.
    ``content=True`` sends what was said, too, and ``content="reasons"`` the reasons of policies and
    the problems that checks found, which may quote it; without either no words are sent but names
    (give tasks one: else the version of the prompt stands for it).
    `encoding` is ``"json"``, or ``"protobuf"`` with the extra ``loopwright[otlp]``. `service` is
    the resource's ``service.name``. With `again` all is sent anew, as the same spans.

    A request may take `timeout` seconds (10 is the default of OTEL_EXPORTER_OTLP_TIMEOUT). An
    endpoint that is busy or not there is tried again for `patience` seconds, as it asks for. Raises
    `ExportFailed` after that, or if it refuses; `BadInput` and `RunNotFound`; `LogError` for a log
    that may not be written, in which could not be noted down what was sent.

    >>> export("runs.db", "localhost:4318")
    Traceback (most recent call last):
    loopwright.errors.BadInput: the endpoint is no address: write it like 'http://localhost:4318'
    """
    to = endpoint_of(endpoint, headers, encoding, timeout, patience)
    if content not in (False, True, "reasons"):
        raise BadInput(f"content={content!r}: say False, 'reasons' or True")
    source = opened(log)
    with source.writing():  # what may not note down how far it came would send all each time
        pass
    with _client(to) as client:
        return _exported(source, _Work(client, to, content, service), run, again)


def follow(
    log: "Log | str | os.PathLike[str]",
    endpoint: str,
    *,
    run: str | None = None,
    every: float = 0.5,
    **options: Any,
) -> Iterator[Exported]:
    """Export what there is, and then what any process appends, until `run` ends, or for ever.

    Looks `every` so many seconds whether there is something new, and gives what was sent each time
    that something was. `options` are those of `export`.
    """
    source, seen = opened(log), None
    while True:
        version = _version(source)
        if version != seen:
            over = run is not None and _over(source, run)
            sent = export(source, endpoint, run=run, **options)
            seen, options = version, {**options, "again": False}
            if sent.spans:
                yield sent
            if over:
                return
        time.sleep(every)


# ----------------------------------------------------------------------------- what there is


@frozen
class _Work:
    """Who sends, where to, and what."""

    client: Any
    to: Endpoint
    content: Content
    service: str


@frozen
class _Group:
    """The spans that are complete with event `seq` of a run."""

    run: str
    seq: int
    spans: tuple[Span, ...] = ()


@frozen
class _Family:
    """Which run belongs to which: by run the first event of its own, its parent and its base."""

    log: Log
    begun: Mapping[str, tuple[int, str, str]]
    calls: dict[str, dict[str, int]] = field(factory=dict)

    def place(self, run: str) -> Place:
        """Where the spans of `run` stand."""
        seq, parent, base = self.begun[run]
        links = ((trace_id(self.root(base)), self._first(base)),) if base else ()
        above = self._above(run, parent) if parent else ""
        return Place(trace_id(self.root(run)), above, links, seq - 1)

    def root(self, run: str) -> str:
        """The run at the top, which nobody delegated."""
        seen = {run}
        while (parent := self.begun.get(run, (1, "", ""))[1]) and parent not in seen:
            seen.add(parent)
            run = parent
        return run

    def below(self, run: str) -> set[str]:
        """The run and all that it began. Raises `RunNotFound`."""
        if run not in self.begun:
            raise RunNotFound(f"{self.log.path} holds no run {run!r}")
        return {one for one in self.begun if run in self._line(one)}

    def _line(self, run: str) -> Iterator[str]:
        seen: set[str] = set()
        while run and run not in seen:
            yield run
            seen.add(run)
            run = self.begun.get(run, (1, "", ""))[1]

    def _first(self, run: str) -> str:
        return span_id(run, self.begun.get(run, (1, "", ""))[0])

    def _above(self, run: str, parent: str) -> str:
        """The span of the tool call that began the run; of the run itself where that is unknown."""
        if parent not in self.calls:
            query = (
                "select call, min(seq) from events where run = ? and type = 'Intended' group by 1"
            )
            self.calls[parent] = dict(_rows(self.log, query, parent))
        seq = self.calls[parent].get(run.removeprefix(f"{parent}."))
        return span_id(parent, seq) if seq else self._first(parent)


def _family(log: Log) -> _Family:
    query = (
        "select run, seq, coalesce(json_extract(data, '$.parent'), ''),"
        " coalesce(json_extract(data, '$.base'), '') from events where type = 'Started'"
    )
    return _Family(log, {run: tuple(rest) for run, *rest in _rows(log, query)})


def _rows(log: Log, query: str, *values: Any) -> list[Any]:
    with log.reading() as connection:
        return connection.execute(query, values).fetchall()


def _version(log: Log) -> tuple[int, int]:
    """Another one when this process or another has written to the file."""
    ((version,),) = _rows(log, "pragma data_version")
    return version, log.connection.total_changes


def _over(log: Log, run: str) -> bool:
    query = (
        "select type from events where run = ? and type <> 'Reconciled' order by seq desc limit 1"
    )
    return _rows(log, query, run) == [("Ended",)]


# ------------------------------------------------------------------------------ what is sent


def _exported(log: Log, work: _Work, run: str | None, again: bool) -> Exported:
    sent, runs = Exported(), set[str]()
    for batch in _batches(_new(log, work, run, again)):
        spans = [span for group in batch for span in group.spans]
        said = _sent(work, spans, sent) if spans else Accepted()
        _remember(log, work.to, batch)
        runs |= {group.run for group in batch if group.spans}
        sent = Exported(
            sent.spans + len(spans),
            len(runs),
            sent.rejected + said.rejected,
            said.message or sent.message,
        )
    return sent


def _sent(work: _Work, spans: Sequence[Span], before: Exported) -> Accepted:
    try:
        return send(work.client, work.to, body(spans, work.service, work.to.encoding))
    except ExportFailed as error:
        raise ExportFailed(f"{error}. Before that, {before}") from None


def _new(log: Log, work: _Work, run: str | None, again: bool) -> Iterator[_Group]:
    """What is complete and was not sent, run by run; and how far each was looked through."""
    family = _family(log)
    wanted = family.begun.keys() if run is None else family.below(run)
    query = (
        "select s.run, coalesce(x.seq, 0), (select max(seq) from events e where e.run = s.run)"
        " from events s left join exported x on x.endpoint = ? and x.run = s.run"
        " where s.type = 'Started' order by s.run"
    )
    for one, done, last in _rows(log, query, work.to.url):
        if one in wanted and (again or done < last):
            yield from _groups(log, one, family.place(one), 0 if again else done, work.content)


def _groups(log: Log, run: str, place: Place, done: int, content: Content) -> Iterator[_Group]:
    tracer = Tracer(run, place, content)
    for event in log.events(run):
        spans = tracer.add(event)
        if spans and tracer.seq > done:
            yield _Group(run, tracer.seq, tuple(spans))
    yield _Group(run, tracer.seq)


def _batches(groups: Iterable[_Group]) -> Iterator[list[_Group]]:
    """Requests of a fitting size."""
    batch: list[_Group] = []
    spans = size = 0
    for group in groups:
        batch.append(group)
        spans, size = spans + len(group.spans), size + sum(map(_size, group.spans))
        if spans >= MOST or size >= LARGEST:
            yield batch
            batch, spans, size = [], 0, 0
    if batch:
        yield batch


def _size(span: Span) -> int:
    facts = [span.attributes, *(mark.attributes for mark in span.marks)]
    return sum(len(fact) for held in facts for fact in held.values() if isinstance(fact, str))


def _remember(log: Log, to: Endpoint, batch: Sequence[_Group]) -> None:
    """How far each run was sent, now that the endpoint has accepted it."""
    rows = [(to.url, group.run, group.seq) for group in batch]
    with log.writing() as connection, transaction(connection):
        connection.executemany(
            "insert into exported values (?, ?, ?)"
            " on conflict (endpoint, run) do update set seq = max(seq, excluded.seq)",
            rows,
        )


def _client(to: Endpoint) -> Any:
    """Redirections are not followed: the headers are for this endpoint alone."""
    import httpx

    return httpx.Client(timeout=to.timeout, follow_redirects=False)
