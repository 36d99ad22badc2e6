"""Endpoints that are slow, gone, full or hostile; what is sent unasked, and what never is."""

import json
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from collector import OK, collecting, facts, partial, respond
from tracked import ITEMS, answered, carried

from loopwright import BadInput, Log, LogError, Loop, Task, otlp
from loopwright.calls import Failure, Reply, Request, Text, ToolCall, Usage
from loopwright.models import Scripted
from loopwright.otlp import ExportFailed, export, follow
from loopwright.otlp.wire import SERVICE
from loopwright.policies import Approve, Retry
from loopwright.tools import tool

ANY = Any
BUSY = (503, {"retry-after": "0"}, b"busy")


@pytest.fixture
def filled(log: Log) -> Log:
    """A log of three runs."""
    for n in range(3):
        carried(log, ["bad", "good"], 1_750_000_000.0 + n)
    return log


def remembered(log: Log) -> dict[tuple[str, str], int]:
    found = log.connection.execute("select endpoint, run, seq from exported").fetchall()
    return {(endpoint, run): seq for endpoint, run, seq in found}


def whole(log: Log, **options: Any) -> dict[bytes, Any]:
    """What an export sends to a collector that takes everything."""
    with collecting() as there:
        export(log, there.url, **options)
        return there.by_id()


# --------------------------------------------------------------------------- answers of endpoints


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_endpoint_is_asked_again(filled: Log, status: int) -> None:
    with collecting((status, {"retry-after": "0"}, b""), BUSY) as there:
        said = export(filled, there.url)
        assert len(there.requests) == 3
        assert said.spans == len(there.spans) == len(there.by_id())
    assert there.by_id() == whole(filled)


@pytest.mark.parametrize(
    "answer", [(500, {}, b"no"), (400, {}, b"no"), (307, {"location": "/x"}, b"")]
)
def test_an_endpoint_that_refuses_is_asked_once(filled: Log, answer: ANY) -> None:
    with collecting(answer) as there:
        with pytest.raises(ExportFailed, match=rf"did not take the spans: {answer[0]}") as caught:
            export(filled, there.url)
        assert len(there.requests) == 1
        assert remembered(filled) == {}
        assert "0 spans of 0 runs were sent" in str(caught.value)
        export(filled, there.url)
    assert there.by_id() == whole(filled)


def test_what_was_taken_before_is_not_sent_again(
    filled: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "MOST", 4)
    for good in range(4):
        filled.connection.execute("delete from exported")
        with collecting(*[OK] * good, (500, {}, b"")) as there:
            with pytest.raises(ExportFailed) as caught:
                export(filled, there.url)
            taken = len(there.spans)
            assert f"Before that, {taken} spans of " in str(caught.value)
            said = export(filled, there.url)
            assert said.spans == len(there.spans) - taken
            assert len(there.spans) == len(there.by_id())
        assert there.by_id() == whole(filled)


def test_an_endpoint_that_is_gone_in_the_middle(
    filled: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "MOST", 4)

    def closes(handler: Any) -> None:
        handler.server.shutdown()
        handler.server.server_close()
        handler.connection.shutdown(socket.SHUT_RDWR)

    with collecting(OK, closes) as there:
        with pytest.raises(ExportFailed, match=r"tried \d+ times. Before that, \d spans"):
            export(filled, there.url, patience=0.1)
        taken = there.by_id()
        assert set(remembered(filled).values()) - {0}
    with collecting() as again:
        filled.connection.execute("update exported set endpoint = ?", (f"{again.url}/v1/traces",))
        export(filled, again.url)
    assert not taken.keys() & again.by_id().keys()
    assert taken | again.by_id() == whole(filled)


@pytest.mark.parametrize("kind", ["json", "protobuf"])
def test_partial_success_is_told_and_not_sent_again(filled: Log, kind: ANY) -> None:
    with collecting((200, {}, partial(2, "too \x1b[31mold", kind))) as there:
        said = export(filled, there.url, encoding=kind)
        assert (said.rejected, said.message) == (2, "too \\x1b[31mold")
        assert export(filled, there.url, encoding=kind).spans == 0
        assert len(there.requests) == 1


@pytest.mark.parametrize("kind", ["json", "protobuf"])
@pytest.mark.parametrize(
    "said", [b"", b"{", b"[]", b'{"partialSuccess": 3}', b"\xff\xff", b"[" * 9_999]
)
def test_an_answer_that_makes_no_sense_but_says_yes(filled: Log, kind: ANY, said: bytes) -> None:
    with collecting((200, {}, said)) as there:
        export(filled, there.url, encoding=kind)
        assert export(filled, there.url, encoding=kind).spans == 0


def test_an_answer_cut_off_is_none(filled: Log) -> None:
    """Nobody knows whether the spans were taken: they are sent again, as the same."""

    def cut(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "100")
        handler.end_headers()
        handler.wfile.write(b'{"part')
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    with collecting(cut) as there:
        export(filled, there.url)
        first, second = there.requests
        assert first == second


@pytest.mark.parametrize("when", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_an_endpoint_that_wants_too_much_patience(filled: Log, when: str) -> None:
    says = "429 Too Many Requests: later; tried 1 times"
    with collecting((429, {"retry-after": when}, b'{"message": "later"}')) as there:
        with pytest.raises(ExportFailed, match=says):
            export(filled, there.url)
        assert len(there.requests) == 1


def test_an_endpoint_that_may_be_asked_again_since_long_ago(filled: Log) -> None:
    with collecting((503, {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, b"")) as there:
        assert export(filled, there.url).spans


def test_each_endpoint_has_a_memory_of_its_own(filled: Log) -> None:
    with collecting() as one, collecting() as other:
        export(filled, one.url)
        export(filled, f"{other.url}/v1/traces")
        assert one.by_id() == other.by_id()
        assert export(filled, f"{one.url}/").spans == 0
        assert {place for place, _ in remembered(filled)} == {
            f"{one.url}/v1/traces",
            f"{other.url}/v1/traces",
        }


# -------------------------------------------------------------------------------------- secrets

SECRET = "s3cr3t-f0r-the-collector"


def echo(handler: Any) -> None:
    respond(handler, 400, {"content-type": "text/plain"}, str(handler.headers).encode())


def hang_up(handler: Any) -> None:
    handler.wfile.write(f"{SECRET}\r\n\r\n".encode())
    handler.connection.shutdown(socket.SHUT_RDWR)


def outcome(log: Log, url: str, headers: ANY) -> str:
    """All that anybody can read of an export."""
    try:
        return str(export(log, url, headers=headers, patience=0.01))
    except ExportFailed as error:
        return repr(error) + "".join(traceback.format_exception(error))


@pytest.mark.parametrize("answer", [echo, hang_up, (200, {}, partial(1, SECRET, "json"))])
@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {SECRET}"}, f"authorization=Bearer%20{SECRET},x=1"]
)
def test_headers_are_sent_and_told_to_nobody_else(
    filled: Log, answer: Callable[[Any], None], headers: Mapping[str, str] | str
) -> None:
    with collecting(answer) as there:
        told = outcome(filled, there.url, headers)
        assert "did not take" in told or "1 were rejected" in told
        assert SECRET not in told
        sent = {name.lower(): value for name, value in there.headers[0].items()}
        assert sent["authorization"] == f"Bearer {SECRET}"
    for file in Path(filled.path).parent.glob("runs.db*"):
        assert SECRET.encode() not in file.read_bytes()


@pytest.mark.parametrize(
    ("endpoint", "headers", "says"),
    [
        ("localhost:4318", None, "write it like 'http://localhost:4318'"),
        ("", None, "write it like"),
        ("ftp://a", None, "write it like"),
        ("http://[", None, "write it like"),
        ("http://a:b", None, "write it like"),
        (f"http://me:{SECRET}@a", None, "give what it needs in headers"),
        (f"http://a/?key={SECRET}", None, "give what it needs in headers"),
        ("http://a", {"x": f"{SECRET}\n"}, "the header x has a value"),
        ("http://a", {"x": f"{SECRET}é"}, "the header x has a value"),
        ("http://a", {f"{SECRET} x": "1"}, "a header has a name"),
        ("http://a", SECRET, "write them like 'name=value,name=value'"),
    ],
)
def test_bad_addresses_and_headers(log: Log, endpoint: str, headers: ANY, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        export(log, endpoint, headers=headers)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_other_bad_input(log: Log, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="say 'json' or 'protobuf'"):
        export(log, "http://a", encoding="xml")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="say False, 'reasons' or True"):
        export(log, "http://a", content="all")  # type: ignore[arg-type]
    with pytest.raises(LogError, match="there is no log"):
        export(tmp_path / "none.db", "http://a")
    with pytest.raises(BadInput, match="write it like"):
        next(follow(log, "a"))


def test_protobuf_without_the_extra(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, SERVICE, None)
    with pytest.raises(BadInput, match=r"pip install 'loopwright\[otlp\]'"):
        export(log, "http://a", encoding="protobuf")


# -------------------------------------------------------------------------------------- content

SAID = "xyzzy"


def spoken(log: Log) -> None:
    """Runs with the marker in all that anybody says."""

    @tool
    def shout(words: str) -> str:
        """Shout."""
        if words.endswith("!"):
            raise OSError(f"{SAID} error")
        return f"{SAID} result"

    script = [
        Failure("overloaded", f"{SAID} busy", 0.0, True, 529),
        ToolCall("1", "shout", {"words": f"{SAID} argument"}),
        ToolCall("2", "shout", {"words": f"{SAID}!"}),
        ToolCall("3", f"no_{SAID}_tool", {SAID: 1}),
        Reply((Text(f"{SAID} answer"),), "stop", Usage(1, 1)),
        Failure("server_error", f"{SAID} the end", None, False, 500),
    ]
    task = Task(
        "Say {words}.",
        name="say",
        system=f"{SAID} system",
        tools=[shout],
        checks=[lambda answer: f"{SAID} problem with {answer}"],
    )

    def policy(run: Any) -> None:
        """Says nothing."""

    loop = Loop(
        Scripted(script),
        policies=[policy, Approve("shout"), Retry(times=9, backoff=0)],
        log=log,
    )
    run = loop.run_now(task, words=f"{SAID} input")
    for _ in range(2):
        for question in log.questions(run.run_id):
            log.answer(run.run_id, "approve", question=question.id, by=f"{SAID} Ada", note=SAID)
        run = loop.resume_now(run.run_id, task)
    assert run.outcome == "failed"


def test_nothing_that_was_said_is_sent_unasked(log: Log) -> None:
    spoken(log)
    with collecting() as there:
        export(log, there.url)
        assert there.spans
        assert not [body for body in there.bodies if SAID.encode() in body]
        export(log, there.url, again=True, encoding="protobuf")
        assert not [body for body in there.bodies if SAID.encode() in body]


@pytest.mark.parametrize("prompt", [f"{SAID} {{it}}.", f"{SAID}.", f"{SAID} {{{{it}}}}" + "x" * 99])
def test_a_task_without_a_name_is_not_called_by_its_prompt(log: Log, prompt: str) -> None:
    given = {"it": "1"} if "{it}." in prompt else {}
    run = Loop(Scripted(["Yes."]), log=log).run_now(Task(prompt), **given)
    with collecting() as there:
        export(log, there.url, content="reasons")
        assert SAID.encode() not in b"".join(there.bodies)
        assert {span.name for span in there.spans} == {
            f"invoke_agent {run.version}",
            "chat scripted",
        }
        export(log, there.url, content=True, again=True)
        assert f"invoke_agent {run.title}" in {span.name for span in there.spans}


def test_reasons_are_sent_when_they_are_asked_for(log: Log) -> None:
    spoken(log)
    with collecting() as there:
        export(log, there.url, content="reasons")
        text = b"".join(there.bodies).decode()
        decided = [facts(m) for s in there.spans for m in s.events if "decision" in m.name]
    assert any(SAID in facts["loopwright.decision.reason"] for facts in decided)
    assert {f"{SAID} {word}" for word in ("problem", "busy", "the end")} == {
        f"{SAID} {word}"
        for word in ("input", "system", "result", "problem", "busy", "the end")
        if f"{SAID} {word}" in text
    }


def test_all_is_sent_when_it_is_asked_for(log: Log) -> None:
    spoken(log)
    with collecting() as there:
        export(log, there.url, content=True)
        text = b"".join(there.bodies).decode()
        chats = [facts(span) for span in there.spans if span.name.startswith("chat")]
        tools = [facts(span) for span in there.spans if span.name.startswith("execute_tool")]
        people = [facts(span) for span in there.spans if span.name.startswith("ask_person")]
    for word in ("input", "system", "argument", "result", "answer", "error", "problem", "Ada"):
        assert f"{SAID} {word}" in text, word
    shapes(chats)
    assert tools[0]["gen_ai.tool.call.arguments"] == f'{{"words":"{SAID} argument"}}'
    assert tools[0]["gen_ai.tool.call.result"] == f"{SAID} result"
    assert people[0]["loopwright.question.by"] == f"{SAID} Ada"


def shapes(chats: list[dict[str, Any]]) -> None:
    """The JSON shapes of the conventions."""
    first, *_, last = chats
    assert json.loads(first["gen_ai.system_instructions"]) == [
        {"type": "text", "content": f"{SAID} system"}
    ]
    prompt = {"role": "user", "parts": [{"type": "text", "content": f"Say {SAID} input."}]}
    assert json.loads(first["gen_ai.input.messages"]) == [prompt]
    _, call, result, *_ = json.loads(last["gen_ai.input.messages"])
    (asked,) = call["parts"]
    assert (call["role"], asked["type"], asked["name"]) == ("assistant", "tool_call", "shout")
    assert asked["arguments"] == {"words": f"{SAID} argument"}
    response = {"type": "tool_call_response", "id": asked["id"], "response": f"{SAID} result"}
    assert result == {"role": "tool", "parts": [response]}
    said = [chat["gen_ai.output.messages"] for chat in chats if "gen_ai.output.messages" in chat]
    answer = {"role": "assistant", "parts": [{"type": "text", "content": f"{SAID} answer"}]}
    assert [answer] in map(json.loads, said)


# ---------------------------------------------------------------------------------- nothing else


def test_a_run_never_sends_anything_by_itself(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as there:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there.url)
        run = carried(log, [ITEMS[-2]])
        answered(log, run, [])
        assert there.requests == []


def test_what_a_collector_sees_of_a_request(log: Log) -> None:
    def model(request: Request) -> Reply:
        return Reply(
            (Text("Hello."),), "stop", Usage(10, 20, 1, 2, 30, 4), "served", "", "req_1", 0.2
        )

    Loop(Scripted(model), log=log).run_now(Task("Greet.", name="greet", output=str))
    (chat,) = (span for span in whole(log).values() if span.name == "chat scripted")
    said = facts(chat)
    assert {name: said[name] for name in sorted(said) if name.startswith("gen_ai.")} == {
        "gen_ai.conversation.id": log.ids()[0],
        "gen_ai.operation.name": "chat",
        "gen_ai.output.type": "json" if log.run(log.ids()[0]).setting.output else "text",
        "gen_ai.prompt.name": "greet",
        "gen_ai.prompt.version": log.run(log.ids()[0]).version,
        "gen_ai.provider.name": "scripted",
        "gen_ai.request.max_tokens": 4096,
        "gen_ai.request.model": "scripted",
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.model": "served",
        "gen_ai.response.time_to_first_chunk": 0.2,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.cache_write.input_tokens": 3,
        "gen_ai.usage.input_tokens": 33,
        "gen_ai.usage.output_tokens": 34,
        "gen_ai.usage.reasoning.output_tokens": 4,
    }
