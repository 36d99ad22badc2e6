"""Questions to people: what is shown is what is answered, and nothing else is."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.clerk import Typed, data

from loopwright import Log, Loop, Task
from loopwright.calls import Request, ToolCall
from loopwright.models import Scripted
from loopwright.policies import Approve
from loopwright.show.markup import escaped
from loopwright.show.terminal import Progress
from loopwright.tools import Relay, ask_person, tool

FULL = {"order": "A-17", "euros": 40.0}


def test_a_question_shows_all_that_would_be_done(typed: Typed, waiting: str) -> None:
    (held,) = data(typed("pending", "--json"))
    assert (held["run"], held["call"]["name"]) == (waiting, "refund")
    assert held["call"]["arguments"] == FULL
    shown = typed("pending").stdout
    for said in ("would call refund", 'order = "A-17"', "euros = 40.0", f"approve {waiting} q"):
        assert said in shown


def test_the_whole_of_a_long_argument_is_shown_on_one_line(typed: Typed, log: Log) -> None:
    """No text can begin a line of its own, and pass for another argument."""

    @tool
    def pay(reason: str) -> str:
        """Pay."""
        return "paid"

    reason = "x" * 900 + "\n    euros = 1.0\n" + "y" * 900
    model = Scripted([ToolCall("1", "pay", {"reason": reason}), "Done."])
    Loop(model, policies=[Approve("pay")], log=log).run_now(Task("x", tools=[pay]))
    (line,) = (line for line in typed("pending").stdout.splitlines() if "reason = " in line)
    assert line.count("x") == line.count("y") == 900
    assert "\\n    euros = 1.0\\n" in line


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda question: "approve", "TypeError: <lambda>() takes 1 positional argument but 2"),
        (lambda question, run: "yes", "BadInput: 'yes' is no answer to"),
    ],
)
def test_why_nobody_was_reached_is_told(typed: Typed, log: Log, ask: Any, why: str) -> None:
    pay = tool(name="pay")(lambda: "paid")
    screen, model = io.StringIO(), Scripted([ToolCall("1", "pay"), "Done."])
    rules, watch = [Approve("pay")], Progress(screen)
    loop = Loop(model, policies=rules, log=log, ask=ask, watch=watch)
    run = loop.run_now(Task("x", tools=[pay]))
    told = f"May pay be called with {{}}? ({why}"
    assert run.why.startswith(told)
    assert f"waiting: {told}" in screen.getvalue()
    shown = typed("show", "last", "--text").stdout
    assert f"\n  {told}" in shown
    assert f"      waiting: {told}" in shown
    assert f"  > {told}" in typed("pending").stdout
    (held,) = data(typed("pending", "--json"))
    assert held["why"].startswith(why)
    assert f'<span class="why">{escaped(told)}' in typed("show", "last", "--save", "-").stdout


def test_nothing_waits(typed: Typed, done: str) -> None:
    assert typed("pending", status=3).stdout == ""
    assert data(typed("pending", "--json", status=3)) == []


@pytest.mark.parametrize(("verb", "choice"), [("approve", "approve"), ("deny", "deny")])
def test_the_named_question_is_answered(
    typed: Typed, log: Log, waiting: str, verb: str, choice: str
) -> None:
    (held,) = data(typed("pending", "--json"))
    words = (verb, waiting, held["question"], "--by", "Ada", "--note", "I called.", "--json")
    said = data(typed(*words))
    assert (said["answer"], said["by"], said["resume"]) == (choice, "Ada", waiting)
    (row,) = log.db.query("select answer, by, note from approvals")
    assert tuple(row.values()) == (choice, "Ada", "I called.")
    typed("pending", status=3)
    typed(*words, status=3)  # it is answered


def test_without_a_question_somebody_has_to_look(typed: Typed, log: Log, waiting: str) -> None:
    assert "say which question" in typed("approve", waiting, status=2).stderr
    assert "say which question" in typed("approve", waiting, "--yes", status=2).stderr
    assert log.questions(waiting)


def test_another_question_is_not_answered(typed: Typed, log: Log, waiting: str) -> None:
    (question,) = log.questions(waiting)
    told = f"no answer to q99, but to {question.id}: `loopwright pending` shows what waits"
    assert told in typed("approve", waiting, "q99", status=3).stderr
    assert log.questions(waiting)


def test_where_nothing_is_asked_nothing_is_answered(typed: Typed, done: str) -> None:
    told = typed("approve", done, status=3).stderr
    assert told.endswith("waits for no answer: `loopwright pending` shows what waits\n")


def test_by_default_the_user_says_so(typed: Typed, log: Log, waiting: str) -> None:
    question = log.questions(waiting)[0].id
    import getpass

    assert data(typed("deny", waiting, question, "--json"))["by"] == getpass.getuser()


def test_who_has_no_name_says_one(
    typed: Typed, log: Log, waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, whose user is but a number."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    question = log.questions(waiting)[0].id
    for words in (("approve", waiting, question), ("cancel", waiting, "--yes")):
        assert "say --by NAME" in typed(*words, status=2).stderr
    assert typed("approve", waiting, question, "--by", "Ada").exit_code == 0


def test_a_question_in_words(typed: Typed, log: Log) -> None:
    def asks(request: Request) -> object:
        first = len(request.messages) == 1
        return ToolCall("1", "ask_person", {"question": "Which one?"}) if first else "Thanks."

    run = Loop(Scripted(asks), policies=[Relay()], log=log).run_now(Task("x", tools=[ask_person()]))
    (held,) = data(typed("pending", "--json"))
    assert "Which one?" in held["text"]
    words = ("answer", run.run_id, "The second.", "--question", held["question"])
    assert "to go on: loopwright resume" in typed(*words).stdout


def test_a_choice_that_there_is_not(typed: Typed, waiting: str) -> None:
    (held,) = data(typed("pending", "--json"))
    words = ("answer", waiting, "perhaps", "--question", held["question"])
    assert "say one of" in typed(*words, status=2).stderr


@pytest.mark.parametrize(("key", "status", "answered"), [("y", 0, True), ("n", 1, False)])
def test_on_a_terminal_one_is_asked(
    waiting: str, log: Log, tmp_path: Path, key: str, status: int, answered: bool
) -> None:
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "loopwright", "approve", waiting]
    process = subprocess.Popen(words, cwd=tmp_path, stdin=theirs, stderr=theirs, stdout=theirs)
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 4096)
    assert b"euros = 40.0" in shown
    os.write(ours, f"{key}\n".encode())
    assert process.wait() == status
    os.close(ours)
    assert (not log.questions(waiting)) == answered
