"""What others wrote is shown and does nothing: in no command, by no text, in no place."""

import asyncio
import json
import re
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click import unstyle
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright import Log, Loop, Run, Task
from loopwright.calls import Failure, ToolCall
from loopwright.cli.group import cli
from loopwright.decisions import Ask
from loopwright.models import Scripted
from loopwright.policies import Retry
from loopwright.tools import tool

ATTACKS = [
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1b]52;c;cm0gLXJmIC8=\x07",
    "\x9b31m\x90q\x9c",
    "all is well\b\b\b\b\b\b\b\bbroken",
    "first\rsecond",
    "\u202eexe.tset\u202c\u2066\u2069",
    "zero\u200bwidth\ufeff",
    "line\nError: forged\n01abcdef q9  forged\n  would call nothing",
    "\u2028\u2029\x85",
    "\ud800 alone",
    "nul\0",
    "=cmd|' /C calc'!A0",
    '"},{"run":"forged"}',
    "-rf",
    "--json",
    "last",
    "x" * 100_000,
]


OURS = re.compile(r"\x1b\[(?:0|1|2|3[1236])m")
"""The colours that we use ourselves."""


def asks(text: str) -> Any:
    def policy(run: Run) -> Any:
        tools = isinstance(run.call, ToolCall) and run.moment == "call"
        return Ask(text or "?", text, choices=("yes", text)) if tools else None

    return policy


def written(folder: str, text: str) -> list[str]:
    """A log in which `text` stands in every place that it can stand in; the ids of its runs."""

    @tool(effect="read")
    def look(at: str) -> str:
        """Look."""
        return text

    replies = [
        Failure("overloaded", text, 0, True, 503),
        [ToolCall("1", "look", {"at": text}), ToolCall("2", text or "none", {text or "none": 1})],
        text,
        "ok",
    ]
    check = lambda answer: None if answer == "ok" else f"Not {text}"  # noqa: E731
    task = Task("{x}", name=text or "none", tools=[look], checks=[check], label=text)
    with closing(Log(f"{folder}/runs.db", "process")) as log:
        safe = Loop(Scripted(replies), policies=[Retry()], log=log)
        asyncio.run(safe.run_as("one", task, {"x": text}))
        waits = Loop(Scripted(replies[1:]), policies=[asks(text), Retry()], log=log)
        named = text.encode(errors="replace").decode().replace("\0", "")[:200] or "none"
        asyncio.run(waits.run_as(f"two{named}", task, {"x": text}))
        return log.ids()


LOOKS = [
    ["runs"],
    ["show", "one", "--text"],
    ["tail", "one"],
    ["spend", "--by", "task"],
    ["spend", "--by", "root"],
    ["pending"],
    ["search", "ok"],
    ["export"],
    ["check"],
    ["cancel", "one", "--dry-run"],
    ["diff", "one", "two"],
    ["show", "--", "two"],
    ["tail", "--", "two"],
]


def typed(folder: str, ids: list[str], words: list[str]) -> Result:
    """A command about the log in this folder; `two` is the run with the hostile id."""
    meant = [next(i for i in ids if i != "one") if word == "two" else word for word in words]
    at = meant.index("--") if "--" in meant else len(meant)
    meant[at:at] = ["--log", f"{folder}/runs.db"]
    return CliRunner().invoke(cli, meant, color=True)


def harmless(result: Result) -> None:
    assert result.exit_code in (0, 1, 2, 3)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    for said in (result.stdout, result.stderr):
        assert OURS.sub("", said).replace("\n", "").isprintable()


@pytest.mark.parametrize("text", ATTACKS)
def test_nothing_that_others_wrote_steers_a_terminal(text: str, tmp_path: Path) -> None:
    everywhere(str(tmp_path), text)


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(), max_size=30))
def test_no_text_steers_a_terminal(text: str) -> None:
    with TemporaryDirectory() as folder:
        everywhere(folder, text)


def everywhere(folder: str, text: str) -> None:
    ids = written(folder, text)
    assert len(ids) == 2
    for words in LOOKS:
        if words[0] == "diff" and find_spec("loopwright.diff") is None:
            continue
        result = typed(folder, ids, words)
        harmless(result)
        if words == ["export"]:
            lines = [json.loads(line) for line in result.stdout.splitlines()]
            assert {line["run"] for line in lines} == set(ids)
        elif words[0] != "tail":
            held = typed(folder, ids, [words[0], "--json", *words[1:]])
            harmless(held)
            assert held.exit_code == 2 or json.loads(held.stdout) is not None


def test_a_question_cannot_be_mistaken_for_another(tmp_path: Path) -> None:
    """A text of many lines stays behind its mark: nothing in it looks like what we say."""
    text = 'ok?\n01abcdef q9  forged\n    order = "other"\n  say one of: nothing'
    written(str(tmp_path), text)
    shown = unstyle(typed(str(tmp_path), ["one", "two"], ["pending"]).stdout).splitlines()
    ours = [line for line in shown if not line.startswith("  > ")]
    assert not [line for line in ours if line.lstrip().startswith(("01abcdef", "order ="))]
    assert sum(line.startswith("  say one of: ") for line in shown) == 1
