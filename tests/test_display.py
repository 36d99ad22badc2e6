"""What people see: a line a step in the terminal, in a notebook a table; nothing is markup."""

import fcntl
import io
import json
import os
import pty
import re
import struct
import sys
import termios
import time
from html.parser import HTMLParser
from typing import TextIO

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loopwright import Log, Loop, Outcome, Run, Task
from loopwright.calls import Delta, DeltaKind, Failure, ToolCall
from loopwright.codec import shown
from loopwright.models import Scripted
from loopwright.policies import Approve, Retry
from loopwright.show import figures, terminal
from loopwright.show.lines import lines
from loopwright.show.spoken import Spoken
from loopwright.show.terminal import Progress
from loopwright.show.text import visible, width
from loopwright.tools import tool


class Screen(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


EVIL = "\x1b]0;owned\x07\x1b[31m\u202e<script>alert(1)</script><img src=x onerror=alert(1)>\r\n"


@tool(effect="read")
def look(at: str) -> str:
    """Look."""
    return EVIL


def carried(watch: Progress | None = None) -> Run:
    model = Scripted(
        [
            Failure("rate_limited", EVIL, 0.01, True, 429),
            [ToolCall("1", "look", {"at": EVIL}), ToolCall("1", EVIL)],
            EVIL,
            "yes",
        ]
    )
    task = Task(
        "Say yes.",
        name=EVIL,
        tools=[look],
        checks=[lambda answer: None if answer == "yes" else f"Not {EVIL}"],
    )
    return Loop(model, policies=[Retry()], watch=watch).run_now(task)


def test_one_line_a_step_where_it_is_no_terminal() -> None:
    screen = Screen(terminal=False)
    run = carried(Progress(screen))
    lines = screen.getvalue().splitlines()
    assert [line[:3].strip() for line in lines] == ["1", "2", "3", "4", "5", "6", ""]
    assert run.step == 6
    assert "Retry: TryAgain, rate_limited, try 2 in 0.01 s as the provider asked" in lines[0]
    assert "sleep 0.01 s" in lines[1]
    assert re.search(r"\d+ tokens 0\.0000 USD  \[\d\.\d/600 s, 0\.0000/1 USD\]", lines[2])
    assert lines[-1].strip().startswith("accepted, verified: all checks agree")


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_that_steers_a_terminal_gets_through(terminal: bool) -> None:
    screen = Screen(terminal)
    carried(Progress(screen))
    ours = screen.getvalue().replace("\r\x1b[K", "").replace("\n", "")
    assert ours.isprintable()


def test_in_a_terminal_the_call_under_way_is_shown_and_wiped() -> None:
    screen = Screen(terminal=True)
    carried(Progress(screen))
    assert "\r\x1b[K  1  scripted:scripted …\r\x1b[K  1  scripted:scripted" in screen.getvalue()


def test_a_run_that_waits_says_what_for() -> None:
    screen = Screen(terminal=False)
    model = Scripted([ToolCall("1", "look", {"at": "x"})])
    loop = Loop(model, policies=[Approve("look")], watch=Progress(screen))
    loop.run_now(Task("x", tools=[look]))
    assert 'waiting: May look be called with {"at":"x"}?' in screen.getvalue()


def test_arguments_are_shown_as_they_were_written_but_what_would_not_show() -> None:
    screen = Screen(terminal=False)
    model = Scripted([ToolCall("1", "look", {"at": "上海 é\u202e\x1b\U000e0041"})])
    loop = Loop(model, policies=[Approve("look")], watch=Progress(screen))
    run = loop.run_now(Task("x", tools=[look]))
    said = '{"at":"上海 é\\u202e\\u001b\\udb40\\udc41"}'
    assert run.why == f"May look be called with {said}?"
    assert f"waiting: May look be called with {said}?" in screen.getvalue()
    looked = Loop(Scripted([ToolCall("1", "look", {"at": "上海"}), "yes"]))
    assert looked.run_now(Task("x", tools=[look])).steps[1].what == 'look({"at":"上海"})'


# ------------------------------------------------------------------------ whatever the stream is


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_a_stream_has_no_letter_for_is_escaped(encoding: str) -> None:
    file = io.BytesIO()
    stream = io.TextIOWrapper(file, encoding)
    model = Scripted([ToolCall("1", "look", {"at": "上海"}), "yes"])
    run = Loop(model, watch=Progress(stream)).run_now(Task("x", tools=[look]))
    assert run.outcome == "accepted"
    assert b"\\u4e0a\\u6d77" in file.getvalue()


def test_without_a_stream_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Screen(terminal=True)
    closed.close()
    streams: list[io.StringIO | None] = [closed, None]
    for stream in streams:
        monkeypatch.setattr(sys, "stderr", stream)  # there is none under pythonw, and with 2>&-
        assert carried(Progress()).outcome == "accepted"


def test_a_stream_of_an_encoding_that_nobody_knows_hurts_no_run() -> None:
    class Odd(io.StringIO):
        encoding = "nobody's"

    assert carried(Progress(Odd())).outcome == "accepted"


@pytest.mark.parametrize("terminal", [True, False])
def test_several_runs_are_told_apart_to_the_last(terminal: bool) -> None:
    screen = Screen(terminal)
    loop = Loop(Scripted(lambda *_: "yes", latency=0.02), watch=Progress(screen))
    marks = sorted(
        run.run_id[-4:] for run in loop.map_now(Task("{x}"), [{"x": "a"}, {"x": "b"}, {"x": "c"}])
    )
    lines = [line.split("\x1b[K")[-1] for line in screen.getvalue().split("\n")[:-1]]
    assert sorted(line[:5] for line in lines) == sorted(2 * [f"{mark} " for mark in marks])
    loop.run_now(Task("{x}"), x="alone")
    assert screen.getvalue().splitlines()[-1].split("\x1b[K")[-1].startswith("     accepted")


def test_a_watch_that_joins_numbers_as_the_log_does(log: Log) -> None:
    """Two calls were under way when the process died."""

    @tool
    def dies(at: str) -> str:
        raise KeyboardInterrupt

    both = [ToolCall("1", "dies", {"at": "a"}), ToolCall("2", "dies", {"at": "b"})]
    task, screen = Task("x", tools=[dies]), Screen(terminal=False)
    with pytest.raises(KeyboardInterrupt):
        Loop(Scripted([both]), log=log).run_now(task)
    loop = Loop(Scripted(["yes"]), log=log, watch=Progress(screen))
    run = loop.resume_now(log.ids()[0], task)
    assert run.outcome is Outcome.waiting
    assert set(numbers(screen)) == {line.step for line in lines(run.events)} - {1} == {2, 3}


def test_what_a_fork_answers_has_the_number_of_its_log(log: Log) -> None:
    one = ToolCall("1", "look", {"at": "a"})
    task, screen, rules = Task("x", tools=[look]), Screen(terminal=False), [Approve("look")]
    base = Loop(Scripted([one]), policies=rules, log=log).run_now(task)
    loop = Loop(Scripted(["yes"]), policies=rules, log=log, watch=Progress(screen))
    fork = loop.fork_now(base.run_id, task, at=2, answer="approve")
    assert set(numbers(screen)) == {line.step for line in lines(fork.events)} - {1}


def test_the_steps_of_a_fork_are_numbered_as_in_its_log(log: Log) -> None:
    calls = [ToolCall("1", "look", {"at": at}) for at in "ab"]
    task, screen = Task("x", tools=[look]), Screen(terminal=False)
    base = Loop(Scripted([*calls, "yes"]), log=log).run_now(task)
    loop = Loop(Scripted([calls[1], "yes"]), log=log, watch=Progress(screen))
    fork = loop.fork_now(base.run_id, task, at=2)
    assert numbers(screen) == [line.step for line in lines(fork.events)][2:] == [3, 4, 5]


def test_what_a_fork_asks_again_has_the_number_of_the_step_that_asked(log: Log) -> None:
    task, screen, rules = Task("x", tools=[look]), Screen(terminal=False), [Approve("look")]
    model = Scripted([ToolCall("1", "look", {"at": "a"})])
    base = Loop(model, policies=rules, log=log).run_now(task)
    loop = Loop(Scripted(["yes"]), policies=rules, log=log, watch=Progress(screen))
    fork = loop.fork_now(base.run_id, task, at=2)
    assert numbers(screen) == [2]
    loop.answer(fork.run_id, "approve")
    fork = loop.resume_now(fork.run_id, task)
    assert numbers(screen) == [2, 2, 3, 4]
    assert [line.step for line in lines(fork.events)] == [1, 2, 3, 4]


def numbers(screen: Screen) -> list[int]:
    """Of the steps that are shown."""
    return [int(line[:3]) for line in screen.getvalue().splitlines() if line[:3].strip()]


@pytest.mark.parametrize("columns", [20, 40, 200])
def test_what_passes_fits_on_a_line_of_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "PAUSE", 0)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        watch, run = going(stream)
        for word in ("上海的雨下个不停。" * 9, " The rain in Shanghai does not end." * 3):
            watch(run, Delta("1", "text", word))
        shown = b""
        print(file=stream, flush=True)
        while not shown.endswith(b"\n"):
            shown += os.read(ours, 10_000)
    os.close(ours)
    _, *lines = shown.decode().rstrip().split("\r\x1b[K")
    assert all(width(line) < columns for line in lines)
    assert max(map(width, lines)) >= min(columns, 60) - 2, "no shorter than needed"
    assert [line[-1] for line in lines] == ["。", "."], "the last words"
    assert all(line[3:].startswith("  text: …") for line in lines)


def test_a_terminal_that_wipes_nothing_is_shown_whole_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen(terminal=True)
    carried(Progress(screen))
    assert screen.getvalue().replace("\n", "").isprintable()
    assert len(screen.getvalue().splitlines()) == 7


def going(screen: TextIO) -> tuple[Progress, Run]:
    """What shows a run that goes on."""
    watch, run = Progress(screen), carried()
    watch(run, run.events[0])
    return watch, run


LONG = "aB3" * 130
BODY = "\n".join([LONG[:64]] * 25)
SECRETS = {
    "a token": f"eyJhbGciOiJIUzI1NiJ9.eyJ{LONG}.{LONG[:80]}",
    "a key": f"sk-ant-api03-{LONG[:90]}",
    "a private key": f"-----BEGIN PRIVATE KEY-----\n{BODY}\naB3aB3==\n-----END PRIVATE KEY-----",
    "an encrypted one": "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
    f"DEK-Info: AES\n\n{BODY}\n-----END RSA PRIVATE KEY-----",
    "a header": f"Authorization: Bearer {LONG[:60]}",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("size", [1, 7, 50])
def test_no_piece_of_a_secret_is_shown_while_models_say_it(
    secret: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two calls at once, of which each says it between the words of the other."""
    monkeypatch.setattr(terminal, "PAUSE", 0)
    screen = Screen(terminal=True)
    watch, run = going(screen)
    said = f"Here it is: {secret} and no more."
    for i in range(0, len(said), size):
        for call in ("1", "2"):
            watch(run, Delta(call, "text", said[i : i + size]))
    assert "aB3aB3aB3" not in screen.getvalue()
    assert "Here it" in screen.getvalue()
    assert "[redacted] and no more." in screen.getvalue()


@pytest.mark.parametrize("size", [1, 7, 50])
@pytest.mark.parametrize("secret", ["correct horse battery staple!", "Пароль, что длинный"])
def test_no_piece_of_a_known_secret_is_shown_that_has_spaces_or_letters(
    secret: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", secret)
    monkeypatch.setattr(terminal, "PAUSE", 0)
    screen = Screen(terminal=True)
    watch, run = going(screen)
    said = f"It is {secret} and no more."
    for i in range(0, len(said), size):
        watch(run, Delta("1", "text", said[i : i + size]))
    assert secret[:8] not in screen.getvalue()
    assert screen.getvalue().endswith("It is [redacted] and no more.")


@pytest.mark.parametrize("size", [1, 7, 50])
@pytest.mark.parametrize("ascii", [True, False])
@pytest.mark.parametrize("secret", ['correct "horse" battery staple!', "Zoë wohnt in der Straße 7"])
def test_no_piece_of_a_known_secret_is_shown_that_is_written_as_json(
    secret: str, ascii: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", secret)
    spoken, written = Spoken(), json.dumps({"q": secret}, ensure_ascii=ascii) + "\n"
    shown = []
    for i in range(0, len(written), size):
        spoken.add(Delta("1", "tool_call", written[i : i + size]))
        shown.append(spoken.words())
    assert not [words for words in shown if json.dumps(secret, ensure_ascii=ascii)[1:9] in words]
    assert shown[-1] == '{"q": "[redacted]"}\n'


BETWEEN = {"thinking": ["thinking"], "a call": ["tool_call"], "nothing": []}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_secret_at_the_beginning_of_a_second_block_is_not_shown(
    secret: str, between: list[DeltaKind]
) -> None:
    """Of two blocks of text in a row nobody tells where the second begins."""
    spoken, shown = Spoken(), []
    said = [Delta("1", "text", "Let me see"), *(Delta("1", kind, "x") for kind in between)]
    for delta in (*said, *(Delta("1", "text", char) for char in f"{secret} is the key")):
        spoken.add(delta)
        shown.append(spoken.words())
    assert not [words for words in shown if "aB3aB3aB3" in words]
    assert shown[-1].startswith("Let me ")
    assert shown[-1].endswith("[redacted] is the key")


def test_pieces_of_two_kinds_that_come_in_turns_are_not_torn() -> None:
    """Some tell of a thought, maybe an empty one, beside each piece of the text."""
    spoken, secret = Spoken(), "sk-ant-api03-aB3aB3aB3aB3aB3aB3aB3aB3"
    for i in range(0, len(said := f"Hello world, the key is {secret} and more."), 3):
        spoken.add(Delta("1", "thinking", ""))
        spoken.add(Delta("1", "text", said[i : i + 3]))
    assert spoken.words() == "Hello world, the key is [redacted] and more."


@pytest.mark.parametrize("said", ["The standard- bearer of it", "Visual- Basic 6", "x-api-key: a"])
def test_words_before_which_a_secret_could_begin_stay(said: str) -> None:
    spoken = Spoken()
    spoken.add(Delta("1", "text", f"{said}, "))
    assert spoken.words() == f"{said}, "


@given(st.lists(st.sampled_from(["src/the_api_token", "the-key-of-x", "https://x.example/a?b=c"])))
def test_long_words_are_shown_that_look_like_no_key(words: list[str]) -> None:
    spoken, said = Spoken(), " ".join([*words, "x-api-key: is no secret."])
    spoken.add(Delta("1", "text", said))
    assert spoken.words() == said


def test_what_is_held_back_has_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PAUSE", 0)
    screen = Screen(terminal=True)
    watch, run = going(screen)
    shown = {
        "Files begin with -----BEGIN CERTIFICATE----- and go on.": "----- and go on.",
        " An endless-wo": "go on. An …",
        "rd, and -----BEGIN PRIVATE KEY-----\nMII": "An endless-word, and …",
    }
    for word, end in shown.items():
        watch(run, Delta("1", "text", word))
        assert screen.getvalue().endswith(end)


def test_what_cannot_pass_is_not_gathered() -> None:
    for screen in (Screen(terminal=False), Screen(terminal=True)):
        watch, run = going(screen)
        watch(run, Delta("1", "text", "It rains "))
        assert len(watch.speaking) == screen.terminal
        watch(run, run.events[-1])
        watch(run, Delta("1", "text", "in Shanghai."))
        assert not watch.speaking
        assert "Shanghai" not in screen.getvalue()


def test_words_pass_no_faster_than_one_can_see() -> None:
    screen = Screen(terminal=True)
    watch, run = going(screen)
    begun = time.monotonic()
    for _ in range(1_000):
        watch(run, Delta("1", "text", "word "))
    assert screen.getvalue().count("text:") <= 1 + (time.monotonic() - begun) / terminal.PAUSE


OURS = {(tag,) for tag in ("style", "bdi", "table", "thead", "tbody", "tr", "th", "td", "div")}
OURS |= {(tag,) for tag in ("summary", "pre", "span", "del", "ins", "wbr", "g", "title")}
OURS |= {(tag, "class") for tag in ("div", "b", "th", "td", "details", "pre", "span")}
OURS |= {("details", "class", "open"), ("i", "style"), ("td", "colspan")}
OURS |= {("svg", "role", "aria-label", "viewbox", "width"), ("line", "x1", "x2", "y1", "y2")}
OURS |= {("text", "x", "y", "text-anchor"), ("rect", "class", "x", "y", "width", "height")}
"""Every element that a notebook is shown, with its attributes."""


class Elements(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[str, ...]] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add((tag, *(name for name, _ in attrs)))


def test_in_a_notebook_a_run_is_a_table_and_nothing_in_it_is_markup() -> None:
    page = Elements()
    page.feed(carried()._repr_html_())
    assert page.seen <= OURS
    assert page.seen >= {("table",), ("details", "class"), ("del",), ("ins",)}


def test_what_would_not_show_is_escaped() -> None:
    assert visible("a\u202eb\x1bc\ud800\n") == "a\\u202eb\\x1bc\\ud800\\n"
    assert visible("Grüße, 上海 🎉") == "Grüße, 上海 🎉"


BLANKS = "\u034f\u115f\u1160\u17b4\u180b\u180f\u2800\u3164\uffa0\ufe00\ufe0f\U000e0100\U000e01ef"
BLANKS += "\U0001d159"


@pytest.mark.parametrize("blank", BLANKS)
def test_a_letter_that_no_screen_shows_is_escaped(blank: str) -> None:
    """Some are printable to Python, and whole sentences can be hidden in them."""
    for said in (visible(f"a{blank}b"), shown({"to": f"a{blank}b"}), figures.shown(f"a{blank}\n")):
        assert said.isascii()
    model = Scripted([ToolCall("1", "look", {"at": f"Ada{blank * 9}"})])
    assert Loop(model, policies=[Approve("look")]).run_now(Task("x", tools=[look])).why.isascii()


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn", "Z", "Mn"])))
def test_what_shows_is_shown_as_it_is(text: str) -> None:
    assume(not set(text) & set(BLANKS))
    said = f"{text}❤\ufe0f 1\ufe0f\u20e3 ↔\ufe0f \u2139\ufe0f\u203c\ufe0f\u2049\ufe0f\u3030\ufe0f"
    assert visible(said) == said
    assert visible(f"{said}1\ufe0f❤\ufe0f\ufe0f") == f"{said}1\\ufe0f❤\ufe0f\\ufe0f"
