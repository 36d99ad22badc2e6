"""What the SDKs would do by themselves, and what their streams leave open: one try, one failure.

On both wires, through the real SDKs, and in the log.
"""

import json

import httpx2
import pytest
from attrs import evolve

from loopwright import Loop, Task
from loopwright.calls import Request, Usage
from loopwright.events import Failed
from loopwright.models import anthropic_reply, openai_reply
from loopwright.models.rehearsal import CallTool, Rehearsal, Say
from loopwright.models.script import Played, Response
from loopwright.models.wire import answered, events, sse
from loopwright.tools import tool

ASSEMBLIES = {"anthropic": anthropic_reply.Assembly, "openai": openai_reply.Assembly}
CALL = CallTool("weather", {"city": "Ulm"})


def stream(block, stop, deltas=()) -> bytes:
    message = {"id": "m", "model": "", "usage": {"input_tokens": 5, "output_tokens": 1}}
    told = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]
    return b"".join(map(sse, told))


# ------------------------------------------------------------------------------ without a stream


@pytest.mark.parametrize("finish", ["stop", "length", "paused"])
def test_an_answer_that_comes_at_once_is_the_same_reply(wire, finish):
    answer, found = Played(Response([Say("Hi", finish, "hm"), CALL]), "m", Usage(100)), []
    for feed in (fed_whole, fed_stream):
        told = {"text": "", "thinking": "", "tool_call": ""}

        def tell(kind, text, told=told):
            told[kind] += text

        assembly = ASSEMBLIES[wire](Request("m", [], tell=tell))
        feed(assembly, wire, answer)
        reply = assembly.answer({})
        told["tool_call"] = told["tool_call"].replace(" ", "")
        found.append((evolve(reply, usage=None), reply.usage.tokens, told))
    assert told["tool_call"] == 'weather{"city":"Ulm"}'
    assert found[0] == found[1]


def fed_whole(assembly, wire, answer):
    assembly.whole(answered(wire, answer))


def fed_stream(assembly, wire, answer):
    for event in events(wire, answer, {}):
        assembly.take(event)


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"type": "message"},
        {"type": "message", "content": [7]},
        {"type": "message", "content": ["text"]},
        {"status": "queued", "output": []},
        {"status": "in_progress", "output": []},
        {"status": "completed"},
        {"status": "completed", "output": [{"type": "message", "content": 7}]},
    ],
)
def test_what_is_no_answer_is_none_at_once_either(wire, server, odd):
    said = server(json.dumps(odd).encode(), content_type="application/json")
    assert said.reply(wire).kind == "malformed"


# ------------------------------------------- what the SDKs would do by themselves, and we do not

ATTEMPTS = [
    (408, {}, "timeout", None, True),
    (409, {}, "server_error", None, True),
    (429, {"retry_after": "300"}, "rate_limited", 300.0, True),
    (429, {"retry_after": "3600"}, "rate_limited", 3600.0, True),
    (429, {"retry_after": "0"}, "rate_limited", None, True),
    (429, {"retry_after_ms": "1500"}, "rate_limited", 1.5, True),
    (400, {"x_should_retry": "true"}, "bad_request", None, True),
    (429, {"x_should_retry": "false"}, "rate_limited", None, False),
    (402, {}, "quota_exhausted", None, False),
    (413, {}, "too_large", None, False),
    (500, {}, "server_error", None, True),
    (503, {}, "server_error", None, True),
    (529, {}, "overloaded", None, True),
]


@pytest.mark.parametrize(("status", "headers", "kind", "wait", "again"), ATTEMPTS)
def test_a_failed_call_is_one_attempt(wire, server, log, status, headers, kind, wait, again):
    """No second request, no sleep, no unknown cost; the log has it as it was."""
    said = server(
        b'{"error": {"message": "no"}}', status=status, content_type="application/json", **headers
    )
    run = run_of(said, wire, log)
    assert len(said.seen) == 1
    (failed,) = (e for e in log.events(run.run_id) if isinstance(e, Failed))
    failure = failed.failure
    assert (failure.kind, failure.retry_after, failure.may_resend) == (kind, wait, again)
    assert (failure.status, failure.usage) == (status, None)
    assert (run.outcome.name, run.spent.settled, run.spent.presumed) == ("failed", 0, 0)


def test_an_exhausted_quota_is_one_attempt(server, log):
    error = b'{"error": {"message": "no", "type": "x", "code": "insufficient_quota"}}'
    said = server(error, status=429, content_type="application/json", x_should_retry="true")
    run_of(said, "openai", log)
    assert len(said.seen) == 1
    assert said.reply("openai").kind == "quota_exhausted"
    assert not said.reply("openai").may_resend


def test_a_long_answer_may_be_asked_for(wire, server, request_of):
    """The SDK refuses 21,334 tokens without a stream, unless it is given a timeout."""
    said = server()
    said.reply(wire, request_of(max_tokens=64_000))
    assert len(said.seen) == 1


CURRENT = {"anthropic": "claude-opus-5-5", "openai": "gpt-6-sol"}


def run_of(said, wire, log, **task):
    loop = Loop(f"{wire}:{CURRENT[wire]}", log=log, providers=[said.provider(wire)])
    return loop.run_now(Task("Go", **task))


def test_an_error_in_midstream_costs_what_is_known(server, log):
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "sorry"}}
    whole = stream({"type": "text", "text": "x"}, "end_turn")
    begun = whole[: whole.index(b"event: content_block_stop")]
    run = run_of(server(begun + sse(error)), "anthropic", log)
    (failed,) = (e for e in log.events(run.run_id) if isinstance(e, Failed))
    assert (failed.failure.kind, failed.failure.status) == ("overloaded", 200)
    assert failed.failure.usage.input_uncached == 5
    # It may have been billed, so the books presume the most.
    assert run.spent.presumed > 0


@pytest.mark.parametrize("error", ["ReadError", "RemoteProtocolError", "ReadTimeout"])
def test_an_error_of_the_transport_is_a_failure(wire, server, log, error):
    """These leak from the SDKs as they are."""
    said = server()

    async def broken():
        yield b"event: ping\n"
        raise getattr(httpx2, error)("gone")

    said._body = broken
    run = run_of(said, wire, log)
    kind = "timeout" if error == "ReadTimeout" else "cut_stream"
    (failed,) = (e for e in log.events(run.run_id) if isinstance(e, Failed))
    assert (failed.failure.kind, failed.failure.may_resend) == (kind, True)
    assert run.spent.presumed > 0


@pytest.mark.parametrize("finish", ["length", "refusal", "filter", "brand_new"])
def test_no_tool_runs_after_a_reply_that_is_not_whole(wire, server, log, finish):
    ran = []

    @tool(effect="read")
    def look(path: str) -> str:
        """Look."""
        ran.append(path)
        return "x"

    said = server(UNFINISHED[wire](finish))
    run = run_of(said, wire, log, tools=[look])
    assert (ran, len(said.seen)) == ([], 1)
    assert run.outcome.name == "rejected"
    assert run.spent.settled > 0


def unfinished_message(finish):
    call = {"type": "tool_use", "id": "a", "name": "look", "input": {}}
    stop = {"length": "max_tokens", "filter": "refusal"}.get(finish, finish)
    return stream(
        call, stop=stop, deltas=[{"type": "input_json_delta", "partial_json": '{"path": "/a", "x'}]
    )


def unfinished_response(finish):
    call = {"type": "function_call", "call_id": "a", "name": "look", "arguments": '{"path": "/a"}'}
    refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
    status = "completed" if finish == "refusal" else "incomplete"
    reasons = {"length": "max_output_tokens", "filter": "content_filter"}
    end = {"status": status, "output": [call, *([refusal] if finish == "refusal" else [])]}
    end["incomplete_details"] = {"reason": reasons.get(finish, finish)}
    end["usage"] = {"input_tokens": 9, "output_tokens": 2}
    return sse({"type": f"response.{status}", "response": end})


UNFINISHED = {"anthropic": unfinished_message, "openai": unfinished_response}


@pytest.mark.parametrize("finish", ["length", "refusal"])
def test_a_typed_answer_that_is_cut_or_refused_is_no_exception(wire, log, finish):
    """`parse()` of the SDKs would raise, and lose what was used."""
    with Rehearsal([Say('{"name": "Ul', finish)]) as rehearsal:
        loop = Loop(f"{wire}:{CURRENT[wire]}", log=log, providers=[getattr(rehearsal, wire)()])
        run = loop.run_now(Task("Where?", output=dict[str, str]))
    assert run.outcome.name == "rejected"
    assert run.problems[0].check == finish
    assert run.spent.settled > 0
