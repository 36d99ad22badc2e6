"""What people see: a line a step in the terminal, in a notebook a table; nothing is markup."""

import io
import re
from html.parser import HTMLParser

import pytest

from loopwright import Loop, Run, Task
from loopwright.calls import Failure, ToolCall
from loopwright.models import Scripted
from loopwright.policies import Approve, Retry
from loopwright.show.terminal import Progress
from loopwright.show.text import visible
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
