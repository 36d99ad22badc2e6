"""The page and the board in a real browser: found, filtered, linked, pressed, read and attacked."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from attrs import evolve
from playwright.sync_api import Page, expect
from show.conftest import Opened
from show.staged import ATTACKS, evil_run, long_run, started

from loopwright import Log
from loopwright.show.board import board
from loopwright.show.page import page

STEP = "details.step:visible"


@pytest.fixture(scope="module")
def rejected(shop: Log) -> str:
    """A run with retries, an escalation, and an end that is not good."""
    (run,) = (run for run in shop.ids() if shop.run(run).outcome == "rejected")
    return page(shop, run)


@pytest.fixture(scope="module")
def campaign(shop: Log) -> str:
    """A run with two children side by side."""
    (run,) = (run for run in shop.ids() if shop.run(run).title == "campaign")
    return page(shop, run)


def focused(shown: Page) -> str:
    return str(shown.evaluate("document.activeElement.closest('details')?.id ?? ''"))


def unfold(shown: Page) -> None:
    """Open all that opens, and wait until it is there."""
    shown.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    steps = shown.locator("details.step")
    expect(steps.locator("> .body")).to_have_count(steps.count())


def test_a_step_opens_and_shows_what_was_said(opened: Opened, rejected: str) -> None:
    shown = opened(rejected)
    assert shown.locator(".entry").count() == 0
    shown.click("#step-2 > summary")
    assert shown.locator("#step-2 .entry h4").first.inner_text().startswith("weather returned")
    assert '"city": "Lima"' in shown.locator("#step-2 .text").first.inner_text()
    shown.click("#step-3 > summary")
    for told in ("names_the_city", "Retry: TryAgain", "after an answer", '"times": 1'):
        expect(shown.locator("#step-3")).to_contain_text(told)
    shown.click("#step-2 > summary")
    assert shown.locator("#step-2 .entry").first.is_hidden()


def test_filters_and_search_leave_what_fits(opened: Opened, campaign: str) -> None:
    shown = opened(campaign)
    everything = shown.locator(STEP).count()
    assert shown.locator("#status").inner_text() == f"{everything} steps"
    shown.check("input[value=problem]", force=True)
    assert shown.locator(STEP).count() == 1
    shown.check("input[value=tool]", force=True)  # either of them
    assert shown.locator(STEP).count() == 4
    shown.uncheck("input[value=tool]", force=True)
    shown.uncheck("input[value=problem]", force=True)
    shown.check("#failed", force=True)
    assert "overloaded" in shown.locator(STEP).inner_text()
    shown.uncheck("#failed", force=True)
    shown.select_option("#policy", "Retry")
    assert shown.locator(STEP).count() == 2
    shown.select_option("#policy", "")
    shown.fill("#find", "rain BERGEN")  # both words, in whatever case
    expect(shown.locator("#status")).to_have_text(re.compile("^2 of"))
    ids = shown.locator(STEP).evaluate_all("rows => rows.map(row => row.id)")
    assert ids == ["step-2", "run-2-step-2"]
    shown.fill("#find", "nowhere to be found")
    expect(shown.locator("#status")).to_have_text(re.compile("^0 of"))
    shown.keyboard.press("Escape")
    assert shown.locator(STEP).count() == everything


@pytest.mark.parametrize(
    ("to", "row"),
    [("#step-4", "step-4"), ("#seq-17", "step-5"), ("#seq-22", "step-6"), ("#seq-1", "step-0")],
)
def test_a_link_leads_to_a_step_or_an_event(
    opened: Opened, rejected: str, to: str, row: str
) -> None:
    shown = opened(rejected, to, viewport={"width": 900, "height": 500})
    assert shown.locator("details.step[open]").evaluate_all("r => r.map(x => x.id)") == [row]
    expect(shown.locator(f"#{row} > summary")).to_be_focused()
    assert shown.locator(to).evaluate(IN_VIEW)


IN_VIEW = "e => { const r = e.getBoundingClientRect(); return r.top >= 0 && r.top < innerHeight }"


def test_a_link_leads_into_a_child(opened: Opened, campaign: str) -> None:
    shown = opened(campaign, "#run-2-seq-9")
    (row,) = shown.locator("details.step[open]").evaluate_all("r => r.map(x => x.id)")
    assert row.startswith("run-2-step-")
    shown.evaluate("location.hash = '#step-2'")
    shown.locator("#step-2 .led").first.click()
    shown.wait_for_url("**#run-1")
    assert shown.locator("#run-1").evaluate(IN_VIEW)


def test_the_back_button_leads_back(opened: Opened, rejected: str) -> None:
    shown = opened(rejected)
    shown.click(".attempts a >> nth=0")
    shown.wait_for_url("**#step-3")
    shown.click(".attempts a >> nth=2")
    expect(shown.locator("#step-5 > summary")).to_be_focused()
    shown.go_back()
    expect(shown.locator("#step-3 > summary")).to_be_focused()
    shown.check("input[value=tool]", force=True)
    assert shown.locator(STEP).count() == 1
    shown.go_back()
    expect(shown.locator(STEP)).to_have_count(7)


def test_the_keyboard_is_enough(opened: Opened, rejected: str) -> None:
    shown = opened(rejected)
    press = shown.keyboard.press
    for key, row in (("j", "step-0"), ("j", "step-1"), ("ArrowDown", "step-2"), ("k", "step-1")):
        press(key)
        assert focused(shown) == row
    assert shown.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press("Enter")
    expect(shown.locator("#step-1[open] .entry")).to_have_count(1)
    press("/")
    assert shown.evaluate("document.activeElement.id") == "find"
    shown.keyboard.type("jk?")  # letters in a search are letters
    assert shown.input_value("#find") == "jk?"
    press("Escape")
    assert shown.input_value("#find") == ""
    press("?")
    assert shown.locator("#help").get_attribute("open") is not None
    press("Escape")
    assert shown.locator("#help").get_attribute("open") is None
    press("k")
    assert focused(shown) == "step-0"


def test_a_bar_of_the_timeline_leads_to_its_call(opened: Opened, campaign: str) -> None:
    shown = opened(campaign)
    shown.locator("rect[data-to^='run-1-']").nth(2).click()
    shown.wait_for_url("**#run-1-seq-*")
    assert focused(shown).startswith("run-1-step-")


def test_a_long_text_is_shortened_until_one_asks(opened: Opened, log: Log) -> None:
    log.append_now("long", 0, [started("long", system="word " * 10_000)])
    shown = opened(page(log, "long"))
    shown.click("#step-0 > summary")
    text = shown.locator("#step-0 .text pre").first
    assert len(text.inner_text()) < 4_000
    shown.click("button.more")
    assert len(text.inner_text()) > 45_000


def test_ids_can_be_copied(opened: Opened, rejected: str, shop: Log) -> None:
    shown = opened(rejected, permissions=["clipboard-read", "clipboard-write"])
    shown.click("header button.copy >> nth=0")
    expect(shown.locator("header button.copy").first).to_have_text("copied")
    assert shown.evaluate("navigator.clipboard.readText()") in shop.ids()


# ---------------------------------------------------------------------------------------- 5,000


def test_five_thousand_steps(opened: Opened, log: Log) -> None:
    """What is not looked at is not made: a step costs a line, and nothing of what is in it."""
    log.append_now("long", 0, long_run(5_000))
    shown = opened(page(log, "long"))
    ready = shown.evaluate("performance.getEntriesByName('ready')[0].startTime")
    print(f"5,000 steps: interactive after {ready:.0f} ms")
    assert shown.locator("details.step").count() == 5_001
    nodes = shown.evaluate("document.querySelectorAll('*').length")
    assert nodes < 5_000 * 10
    assert shown.locator(".entry").count() == 0
    shown.fill("#find", "place 4321")
    expect(shown.locator("#status")).to_have_text("2 of 5,001 steps")
    shown.evaluate("location.hash = '#seq-9001'")
    shown.wait_for_selector("details[open] #seq-9001", state="attached")
    assert shown.locator("#seq-9001").evaluate(IN_VIEW)
    assert shown.locator(".timeline rect").count() < 2_000


# ------------------------------------------------------------------------------------- everybody

CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (color, ground) => {
    canvas.fillStyle = ground; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (c) => c.map((v) => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    const held = [];
    for (; e; e = e.parentElement) held.unshift(getComputedStyle(e).backgroundColor);
    return held.reduce((ground, color) => `rgb(${rgb(color, ground)})`, "rgb(255,255,255)");
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), bad = [];
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility()) continue;
    if (e.closest("noscript, .hidden, option")) continue;
    const svg = e.closest("svg"), style = getComputedStyle(e), ground = behind(svg ?? e);
    const [a, b] = [light(rgb(svg ? style.fill : style.color, ground)), light(rgb(ground, ground))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push([walker.currentNode.data.slice(0, 30), ratio.toFixed(2)]);
  }
  return bad;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_can_be_read_in_both_themes(
    opened: Opened, rejected: str, campaign: str, shop: Log, scheme: Any
) -> None:
    grounds = set()
    for document in (rejected, campaign, board(shop)):
        shown = opened(document, color_scheme=scheme)
        unfold(shown)
        assert shown.evaluate(CONTRAST) == []
        grounds.add(shown.evaluate("getComputedStyle(document.body).backgroundColor"))
    (ground,) = grounds
    assert (min(map(int, re.findall(r"\d+", ground))) > 200) == (scheme == "light")


def test_everything_has_a_role_and_a_name(opened: Opened, campaign: str, shop: Log) -> None:
    for document in (campaign, board(shop)):
        shown = opened(document)
        assert shown.locator("html").get_attribute("lang") == "en"
        for landmark in ("main", "header"):
            assert shown.locator(landmark).count() == 1
        levels = shown.locator("h1, h2, h3, h4").evaluate_all("h => h.map(x => +x.tagName[1])")
        assert levels[0] == 1
        assert all(b <= a + 1 for a, b in pairwise(levels))
        assert shown.evaluate(NAMELESS) == []
    told = opened(campaign).locator("body").aria_snapshot()
    for line in (
        'searchbox "Search all messages',
        'heading "campaign" [level=1]',
        'img "Timeline of',
    ):
        assert line in told


NAMELESS = """
() => [...document.querySelectorAll("button, input, select, svg[role=img], a[href], [tabindex]")]
  .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() ||
    e.labels?.[0]?.textContent.trim()))
  .map((e) => e.outerHTML.slice(0, 80))
"""

SCREENS = [
    {"width": 1280, "height": 800},
    {"width": 640, "height": 400},
    {"width": 320, "height": 600},
]
"""A desk, the same at a zoom of 200 %, and at 400 % (WCAG 1.4.10), which is the narrowest phone."""

TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"


def test_it_fits_on_every_screen(opened: Opened, campaign: str, rejected: str, shop: Log) -> None:
    for document in (campaign, rejected, board(shop)):
        shown = opened(document)
        unfold(shown)
        for screen in SCREENS:
            shown.set_viewport_size(screen)
            assert not shown.evaluate(TOO_WIDE), screen


def test_nothing_moves(rejected: str) -> None:
    """Nobody has to ask for less motion, since there is none."""
    (style,) = re.findall("<style>(.*?)</style>", rejected, re.DOTALL)
    assert not re.search("transition|animation|smooth", style)


def test_on_paper_there_is_nothing_to_press(opened: Opened, rejected: str) -> None:
    shown = opened(rejected)
    unfold(shown)
    shown.emulate_media(media="print")
    assert shown.locator("button:visible, input:visible").count() == 0
    assert shown.locator("#step-3 .entry:visible").count() > 0


def test_without_scripts_every_step_can_be_opened(opened: Opened, rejected: str) -> None:
    path = opened.folder / "plain.html"
    path.write_text(rejected)
    shown = opened.browser.new_context(java_script_enabled=False).new_page()
    shown.goto(f"file://{path}")
    assert shown.locator(".tools").is_hidden()
    shown.click("#step-3 > summary")
    assert "Name the city." in shown.locator("#step-3").inner_text()
    assert "names_the_city" in shown.locator("#step-3").inner_text()
    shown.context.close()


# --------------------------------------------------------------------------------------- attacks


def test_nothing_that_others_wrote_runs_or_breaks_the_page(opened: Opened, log: Log) -> None:
    log.append_now("top", 0, [started("top")])
    for i, evil in enumerate(ATTACKS):
        begun, *others = evil_run(evil)
        log.append_now(f"evil{i}", 0, [evolve(begun, parent="top"), *others])
    shown = opened(page(log, "top"))
    assert shown.locator("section.child").count() == len(ATTACKS)
    unfold(shown)
    assert shown.locator(STEP).count() == 1 + 6 * len(ATTACKS)
    assert shown.locator("iframe, base, img, link, form, #steps style").count() == 0
    for more in shown.locator("button.more").all()[:3]:
        more.click()
    for screen in SCREENS:
        shown.set_viewport_size(screen)
        assert not shown.evaluate(TOO_WIDE), screen
    shown.fill("#find", "javascript:window.owned")
    expect(shown.locator("#status")).to_have_text(re.compile("^12 of"))


def test_nor_on_the_board(opened: Opened, log: Log) -> None:
    for i, evil in enumerate(ATTACKS):
        name = f"{i}{evil}".encode(errors="ignore").decode()
        log.append_now(name, 0, evil_run(evil))
    shown = opened(board(log))
    assert shown.locator("h2").count() == 11
    shown.evaluate("document.querySelectorAll('th button').forEach((head) => head.click())")
    for screen in SCREENS:
        shown.set_viewport_size(screen)
        assert not shown.evaluate(TOO_WIDE), screen


# ------------------------------------------------------------------------------------- the board


def test_a_table_sorts_by_each_of_its_columns(opened: Opened, shop: Log) -> None:
    shown = opened(board(shop))
    table = shown.locator("section", has_text="Dearest runs").last.locator("table")

    def column(n: int) -> list[str]:
        return table.locator(f"tbody tr td:nth-child({n})").all_inner_texts()

    costs = [float(cost) for cost in column(6)]
    assert costs == sorted(costs, reverse=True)
    table.locator("th button", has_text="USD").focus()
    for down in (True, False):
        shown.keyboard.press("Enter")
        costs = [float(cost) for cost in column(6)]
        assert costs == sorted(costs, reverse=down)
        said = table.locator("th").last.get_attribute("aria-sort")
        assert said == ("descending" if down else "ascending")
    table.locator("th button", has_text="task").click()
    assert column(2) == sorted(column(2))


def test_the_command_that_shows_a_run_can_be_copied(opened: Opened, shop: Log) -> None:
    shown = opened(board(shop), permissions=["clipboard-read", "clipboard-write"])
    shown.locator("button.copy").first.click()
    expect(shown.locator("button.copy").first).to_have_text("copied")
    *words, run = shown.evaluate("navigator.clipboard.readText()").split()
    assert words == ["loopwright", "show"]
    assert run in shop.ids()


def test_the_data_of_a_page_is_not_read_before_it_is_needed(opened: Opened, log: Log) -> None:
    """What is in the steps is parsed for those that are opened, and for a search."""
    log.append_now("long", 0, long_run(300))
    document = page(log, "long")
    broken = document.replace('id="data-5">[', 'id="data-5">[[[')
    assert broken != document
    shown = opened(broken)
    shown.click("#step-1 > summary")
    expect(shown.locator(".entry")).to_have_count(1)
    assert json.loads(shown.locator("#data-0").text_content() or "")[1][0]["seqs"] == [2, 3]
