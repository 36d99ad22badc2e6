"""A collector of OTLP over HTTP on loopback: what tests send their spans to.

It reads both encodings by the public definitions of OTLP, as others do, and not by our own code.
"""

import gzip
import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Answer = tuple[int, Mapping[str, str], bytes]
OK: Answer = (200, {}, b"")


class Collector:
    """`answers` are given one after the other, and then it takes everything.

    `requests` are those that came, `bodies` what they had in them. Spans count from a request that
    was answered with a 2xx. An answer may be a function, which does what it likes with the socket.
    """

    def __init__(self, answers: Sequence[Answer | Callable[[Any], None]] = ()) -> None:
        self.answers = list(answers)
        self.requests: list[ExportTraceServiceRequest] = []
        self.paths: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.bodies: list[bytes] = []
        self.taken: list[ExportTraceServiceRequest] = []
        self.url = ""

    @property
    def spans(self) -> list[Span]:
        """All spans of the requests that were taken, in the order in which they came."""
        return [
            span
            for request in self.taken
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def by_id(self) -> dict[bytes, Span]:
        """The spans by their ids: what came twice is there once."""
        return {span.span_id: span for span in self.spans}

    def answer(self, handler: Any) -> None:
        length = int(handler.headers["content-length"])
        body = gzip.decompress(handler.rfile.read(length))
        assert handler.headers["content-encoding"] == "gzip"
        request = read(handler.headers["content-type"], body)
        self.paths.append(handler.path)
        self.headers.append(dict(handler.headers))
        self.bodies.append(body)
        self.requests.append(request)
        given = self.answers.pop(0) if self.answers else OK
        if callable(given):
            given(handler)
            return
        status, headers, said = given
        if status == 200:
            self.taken.append(request)
        respond(handler, status, {"content-type": handler.headers["content-type"]} | headers, said)


def respond(handler: Any, status: int, headers: Mapping[str, str], said: bytes) -> None:
    """Answer a request."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(said)))
    handler.end_headers()
    handler.wfile.write(said)


def partial(rejected: int, message: str, kind: str) -> bytes:
    """The answer that says that so many spans were rejected."""
    if kind == "json":
        part = {"rejectedSpans": str(rejected), "errorMessage": message}
        return json.dumps({"partialSuccess": part}).encode()
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = message
    return bytes(response.SerializeToString())


def read(kind: str, body: bytes) -> ExportTraceServiceRequest:
    """A request by the public definitions; the ids of OTLP's JSON are hexadecimal."""
    if kind == "application/x-protobuf":
        return ExportTraceServiceRequest.FromString(body)
    assert kind == "application/json"
    message = ExportTraceServiceRequest()
    Parse(json.dumps(json.loads(body, object_hook=_in_base64)), message)
    return message


def _in_base64(data: dict[str, Any]) -> dict[str, Any]:
    ids = {"traceId", "spanId", "parentSpanId"} & data.keys()
    return data | {name: b64encode(bytes.fromhex(data[name])).decode() for name in ids}


@contextmanager
def collecting(*answers: Answer | Callable[[Any], None]) -> Iterator[Collector]:
    """A collector that runs."""
    collector = Collector(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            collector.answer(self)

        def log_message(self, *args: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def facts(thing: Any) -> dict[str, Any]:
    """The attributes of a span, an event or a resource, as plain values."""
    found = {pair.key: value(pair.value) for pair in thing.attributes}
    assert len(found) == len(thing.attributes)
    return found


def value(held: Any) -> Any:
    """A value of an attribute."""
    kind = held.WhichOneof("value")
    inner = getattr(held, kind)
    return [value(one) for one in inner.values] if kind == "array_value" else inner
