"""Checks without a model: `Cites`, `Matches`, `MaxWords`, `NoPlaceholders`."""

import json
from dataclasses import dataclass
from enum import Enum, Flag
from typing import Any, NamedTuple

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from loopwright import BadInput, Loop, Task
from loopwright.calls import Message, Text, ToolCall, ToolResult
from loopwright.events import Setting
from loopwright.models import Scripted
from loopwright.policies.checks import Cites, Matches, MaxWords, NoPlaceholders, text_of
from loopwright.policies.retry import Retry
from loopwright.run import Run
from loopwright.tools import tool
from loopwright.trail import Trail


@frozen
class Letter:
    head: str
    lines: list[str]


@dataclass
class Card:
    head: str
    letter: Letter


class Pair(NamedTuple):
    head: str
    n: int


class Tone(Enum):
    warm = "warm"


class Sign(Flag):
    seal = 1


@frozen
class Toned:
    body: str
    tone: Tone


CARD = Card("Hi", Letter("Dear Ada", ["How are you?", "Bye"]))


@pytest.mark.parametrize(
    ("answer", "field", "text"),
    [
        ("Hi", "", "Hi"),
        (CARD, "", "Hi\nDear Ada\nHow are you?\nBye"),
        (CARD, "letter", "Dear Ada\nHow are you?\nBye"),
        ({"a": 1, "b": ["x", None]}, "", "x"),
        ({"a": 1, "b": ["x", None]}, "b", "x"),
        (Pair("Hi", 1), "head", "Hi"),
        (17, "", ""),
        (Toned("Hi", Tone.warm), "", "Hi\nwarm"),
        (Toned("Hi", Tone.warm), "tone", "warm"),
        ([Sign.seal, "Hi"], "", "Hi"),
    ],
)
def test_the_texts_of_an_answer(answer: Any, field: str, text: str) -> None:
    assert text_of(answer, field) == text


def test_a_field_that_is_not_there() -> None:
    with pytest.raises(BadInput, match="no field 'body': it has head, letter"):
        text_of(CARD, "body")


@given(st.lists(st.text("ab", min_size=1, max_size=3), max_size=8), st.integers(1, 8))
def test_words_are_counted(words: list[str], most: int) -> None:
    problem = MaxWords(most)(" \n".join(words))
    assert (problem is None) == (len(words) <= most)
    if problem:
        assert problem == f"The answer has {len(words)} words: use at most {most}."


@pytest.mark.parametrize(
    ("check", "answer", "problem"),
    [
        (Matches(r"^\d+$"), "42", None),
        (Matches(r"^\d+$"), "so 42", "The answer has to fit the pattern ^\\d+$"),
        (Matches("Ada", "head", why="Name her."), CARD, "Name her."),
        (Matches("Ada", "head", why=" "), CARD, "The field 'head' has to fit the pattern Ada"),
        (Matches("Ada", "letter"), CARD, None),
        (Matches("^Bye$"), CARD, None),
        (MaxWords(1, "head"), CARD, None),
        (MaxWords(3, "letter"), CARD, "The field 'letter' has 6 words: use at most 3."),
    ],
)
def test_matches_and_words(check: Any, answer: Any, problem: str | None) -> None:
    assert check(answer) == problem


@pytest.mark.parametrize(
    "open_", ["[Your name]", "{{city}}", "<insert date>", "TODO", "tbd", "Lorem ipsum", "_____"]
)
def test_what_is_left_open(open_: str) -> None:
    assert NoPlaceholders()(f"Dear {open_}, hello.") == f"Fill in what is left open: {open_}"
    assert NoPlaceholders()({"a": ["fine", open_]})


@pytest.mark.parametrize(
    "whole",
    [
        "See [1] and [the manual](https://a.example).",
        "[Name it](https://a.example) after [the date of birth].",
        "if a < b and c > d: x = {'a': 1}",
        "<b>bold</b> and snake__case",
        "A city, a date, your name.",
    ],
)
def test_what_is_not_left_open(whole: str) -> None:
    assert NoPlaceholders()(whole) is None


def test_placeholders_of_ones_own() -> None:
    assert NoPlaceholders([r"@@\w+@@"])("Dear @@WHO@@") == "Fill in what is left open: @@WHO@@"


@pytest.mark.parametrize(
    ("more", "text", "found"),
    [
        (("(?i)blank",), "Fill the BLANK", "BLANK"),
        (("(foo)", r"([0-9])\1{3}"), "code 7777", "7777"),
        (("(?P<a>x)y", "(?P<a>z)y"), "TODO zy", "TODO, zy"),
    ],
)
def test_each_placeholder_is_looked_for_by_itself(
    more: tuple[str, ...], text: str, found: str
) -> None:
    assert NoPlaceholders(more)(text) == f"Fill in what is left open: {found}"


def run_that_read(prompt: str, *results: ToolResult) -> Run:
    messages = [
        Message("user", [Text(prompt)]),
        Message("assistant", [Text("https://made-up.example"), ToolCall("1", "read")]),
        Message("user", results),
    ]
    return Run("r", Setting("m:m")).but(messages=Trail(messages))


SOURCE = run_that_read(
    "Read https://a.example/1",
    ToolResult("1", "In the beginning\n  there was a loop, and nothing else."),
    ToolResult("2", "https://broken.example", error=True),
    ToolResult("3", "https://a.example/docs/10, https://a.example/docs/11#top"),
    ToolResult("4", "2,https://a.example/2,Two\n3,https://b.example/,Three"),
)

CITED: dict[str, tuple[Cites, str, str | None]] = {
    "an address": (Cites(), "See https://a.example/1.", None),
    "an address in Markdown": (Cites(), "See [this](https://a.example/1).", None),
    "a quotation": (Cites(), 'It says "in the beginning" and “there was a loop, and”.', None),
    "made up": (
        Cites(),
        'It says "there never was any loop at all".',
        "These citations stand in no source that you were given: there never was any loop at all",
    ),
    "said by the model itself": (
        Cites(),
        "See https://made-up.example",
        "These citations stand in no source that you were given: https://made-up.example",
    ),
    "from an error": (
        Cites(),
        "See https://broken.example",
        "These citations stand in no source that you were given: https://broken.example",
    ),
    "none": (Cites(), "So it is.", "Cite your sources word for word: at least 1, here are 0."),
    "none is needed": (Cites(0), "So it is.", None),
    "an address in backticks": (Cites(), "See `https://a.example/1`.", None),
    "an address in bold": (Cites(), "See **https://a.example/1**.", None),
    "an address with a slash at its end": (Cites(), "See https://a.example/1/.", None),
    "the beginning of an address": (
        Cites(),
        "See https://a.example/docs/1.",
        "These citations stand in no source that you were given: https://a.example/docs/1",
    ),
    "an address without its fragment": (Cites(), "See https://a.example/docs/11.", None),
    "an address among others": (Cites(), "See https://a.example/2, and https://b.example.", None),
    "of ones own": (Cites(pattern=r"\[(.+?)\]"), "It is so [there was a loop].", None),
}


@pytest.mark.parametrize("case", CITED)
def test_citations(case: str) -> None:
    check, answer, problem = CITED[case]
    assert check(answer, SOURCE) == problem


TEXT = 'The bridge\nwill be closed in March, and "nobody" was asked.'


@pytest.mark.parametrize(
    "content", [TEXT, json.dumps(TEXT), json.dumps({"outcome": "accepted", "output": [TEXT]})]
)
@pytest.mark.parametrize(
    "quoted", ["The bridge will be closed", 'in March, and "nobody" was asked']
)
def test_what_stands_in_json_is_read_without_its_escapes(content: str, quoted: str) -> None:
    run = run_that_read("Read.", ToolResult("1", content))
    assert Cites()(f"It says “{quoted}”.", run) is None
    assert Cites()(f"It says “{quoted} twice”.", run)


def test_json_that_is_nested_too_deeply_is_read_as_it_is() -> None:
    content = "[" * 900 + '"so it has always been said"' + "]" * 900
    run = run_that_read("Read.", ToolResult("1", content))
    assert Cites()("It says “so it has always been said”.", run) is None


@given(st.integers(0, 20), st.integers(20, 40))
def test_whatever_was_read_can_be_cited(start: int, length: int) -> None:
    text = "In the beginning there was a loop, and nothing else, and it was good enough."
    quoted = text[start : start + length].strip()
    run = run_that_read(text)
    if len(quoted) >= 20:
        assert Cites()(f'They say "{quoted}".', run) is None
        assert Cites()(f'They say "{quoted}x".', run)


def test_in_a_run_the_model_is_told() -> None:
    @tool(effect="read")
    def read() -> str:
        """Read."""
        return "The answer to everything is 42, they say."

    task = Task("Tell.", tools=[read], checks=[Cites(), MaxWords(12), NoPlaceholders()])
    good = 'They say "the answer to everything is" 42.'.replace("the answer", "The answer")
    model = Scripted([ToolCall("1", "read"), "It is [insert number].", good])
    run = Loop(model, policies=[Retry()]).run_now(task)
    assert (run.output, run.verified) == (good, True)
    told = model.requests[-1].messages[-1].text
    assert "- Cite your sources" in told
    assert "- Fill in what is left open: [insert number]" in told


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Matches("("),
        lambda: MaxWords(0),
        lambda: NoPlaceholders(["("]),
        lambda: Cites(-1),
        lambda: Cites(pattern="("),
    ],
)
def test_what_cannot_be(wrong: Any) -> None:
    with pytest.raises(BadInput, match="give a"):
        wrong()
