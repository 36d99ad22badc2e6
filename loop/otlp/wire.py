"""The wire: spans as OTLP says them, in JSON or in protobuf.

https://opentelemetry.io/docs/specs/otlp/: JSON has ids in hexadecimal digits, 64-bit numbers
as texts and enums as numbers.
"""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib import import_module
from typing import Any, Literal

from loopwright.calls import NANO
from loopwright.codec import encode
from loopwright.errors import BadInput
from loopwright.otlp.spans import Mark, Span

Encoding = Literal["json", "protobuf"]

SERVICE = "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
"""The module of the requests and their answers."""

INTERNAL, CLIENT = 1, 3
"""SPAN_KIND_INTERNAL and SPAN_KIND_CLIENT."""

ERROR = 2
"""STATUS_CODE_ERROR. What went well stays unset, as it has to for libraries."""


def body(spans: Sequence[Span], service: str, encoding: Encoding) -> bytes:
    """The request that exports these spans."""
    if encoding == "json":
        return _json(_request(list(map(_span, spans)), service)).encode()
    request = _request([_with_bytes(_span(span)) for span in spans], service)
    message = protobuf(SERVICE).ExportTraceServiceRequest()
    protobuf("google.protobuf.json_format").ParseDict(request, message)
    return bytes(message.SerializeToString())


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def protobuf(name: str) -> Any:
    """A module of the extra. Raises `BadInput` where that is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise BadInput(
            "encoding='protobuf' needs opentelemetry-proto: pip install 'loopwright[otlp]', "
            "or say encoding='json', which every OTLP endpoint over HTTP takes as well"
        ) from None


def _request(spans: list[dict[str, Any]], service: str) -> dict[str, Any]:
    from loopwright import __version__

    resource = {
        "service.name": service,
        "telemetry.sdk.name": "loopwright",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": __version__,
    }
    scope = {"name": "loopwright", "version": __version__}
    held = {"resource": {"attributes": _pairs(resource)}}
    return {"resourceSpans": [{**held, "scopeSpans": [{"scope": scope, "spans": spans}]}]}


def _span(span: Span) -> dict[str, Any]:
    status = {"code": ERROR, "message": clean(span.message)} if span.error else {}
    links = [{"traceId": trace, "spanId": linked} for trace, linked in span.links]
    return {
        "traceId": span.trace,
        "spanId": span.id,
        "parentSpanId": span.parent,
        "name": clean(span.name),
        "kind": CLIENT if span.client else INTERNAL,
        "startTimeUnixNano": _nano(span.start),
        "endTimeUnixNano": _nano(span.end),
        "attributes": _pairs(span.attributes),
        "events": list(map(_mark, span.marks)),
        "links": links,
        "status": status,
    }


def _mark(mark: Mark) -> dict[str, Any]:
    facts = _pairs(mark.attributes)
    return {"timeUnixNano": _nano(mark.time), "name": mark.name, "attributes": facts}


def _with_bytes(span: dict[str, Any]) -> dict[str, Any]:
    """With ids in base 64, as all of protobuf's JSON but OTLP's has them."""
    ids = {name: _base64(span[name]) for name in ("traceId", "spanId", "parentSpanId")}
    links = [{name: _base64(linked) for name, linked in link.items()} for link in span["links"]]
    return {**span, **ids, "links": links}


def _base64(digits: str) -> str:
    return b64encode(bytes.fromhex(digits)).decode()


def _nano(seconds: float) -> str:
    """Seconds since 1970 in nanoseconds, by their shortest decimal: times are written so."""
    return str(int(Decimal(repr(max(0.0, seconds))) * NANO))


def _pairs(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": clean(name), "value": _value(fact)} for name, fact in facts.items()]


def _value(fact: Any) -> dict[str, Any]:
    match fact:
        case bool():
            return {"boolValue": fact}
        case int() if -(2**63) <= fact < 2**63:
            return {"intValue": str(fact)}
        case float():
            return {"doubleValue": fact if abs(fact) < float("inf") else str(fact)}
        case str():
            return {"stringValue": clean(fact)}
        case tuple() | list():
            return {"arrayValue": {"values": list(map(_value, fact))}}
    return {"stringValue": clean(encode(fact))}


def clean(text: str) -> str:
    """The text with a question mark for what no UTF-8 can hold.

    >>> clean("a\\ud800b")
    'a?b'
    """
    return text.encode(errors="replace").decode()
