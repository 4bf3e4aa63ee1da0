"""The page in a browser, at the width of a phone and of a desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bebr.tradeoff import write_html
from benchmarks.browser import Page, find_chromium, opened
from tests.tradeoff.points import ours, theirs

CHROMIUM = find_chromium()
HOSTILE = "evil <img src=x onerror='window.hacked=1'>"
ROWS = [
    *(ours(size, recall) for size, recall in ((24, 0.65), (52, 0.82), (100, 0.92))),
    *(ours(size, recall, 1500, query="code") for size, recall in ((24, 0.6), (52, 0.77))),
    *(theirs(f"faiss PQ{size}x8", size, recall, 300) for size, recall in ((48, 0.7), (96, 0.69), (128, 0.8))),
    theirs(HOSTILE, 60, 0.72, 200),
]
SERIES = 4

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    assert CHROMIUM is not None
    with opened(CHROMIUM) as page:
        yield page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    write_html(path, ROWS, vectors=HOSTILE, n=1_000_000, d=64, queries=100)
    return path.as_uri()


def count(page: Page, selector: str) -> int:
    return page.run(f"document.querySelectorAll({selector!r}).length")


def text(page: Page, selector: str) -> str:
    return page.run(f"document.querySelector({selector!r}).innerText")


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_curves_are_drawn_switched_and_pointed_at(browser: Page, report: str, width: int, dark: bool) -> None:
    browser.errors.clear()
    browser.show(report, width, dark=dark)
    assert count(browser, "#charts svg[viewBox]") == 3
    assert count(browser, "[data-chart=bytes] .point") == len(ROWS)
    assert count(browser, "[data-chart=speed] .peer") == 0 and count(browser, ".ring") == 3
    # of the peer's three points, the line leaves out the one that a smaller code beats
    joined = browser.run("document.querySelector('[data-chart=bytes] .curve.peer').points.numberOfItems")
    assert joined == 2
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")

    browser.run("document.querySelector('input[data-series=\"0\"]').click()")
    assert count(browser, "[data-chart=bytes] .point") == len(ROWS) - 3 and count(browser, ".ring") == 0
    browser.run("document.querySelector('[data-show=none]').click()")
    assert count(browser, "[data-chart=memory] .point") == 0
    browser.run("document.querySelector('[data-show=bebr]').click()")
    assert count(browser, "[data-chart=memory] .point") == 5
    browser.run("document.querySelector('[data-show=all]').click()")
    assert count(browser, "#legend input:checked") == SERIES

    box = "document.querySelector('[data-chart=bytes] .ring').getBoundingClientRect()"
    browser.run("document.querySelector('[data-chart=bytes]').scrollIntoView({ block: 'center' })")
    x, y = browser.run(f"[{box}.x + 9, {box}.y + 9]")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    told = text(browser, "[data-chart=bytes] .tip")
    assert "bebr ragged, ADC" in told and "0.920 ± 0.004" in told and "16+8" in told and "100 MB" in told
    assert count(browser, "tr.hot") == 1 and count(browser, ".point.hot") == 3
    assert browser.errors == []


def test_memory_follows_the_number_of_rows(browser: Page, report: str) -> None:
    browser.show(report, 1280)
    assert text(browser, "#cost") == "1,000,000 rows take 100 MB, where float32 takes 256 MB."

    def typed(words: str) -> None:
        browser.run(f"rows.value = {words!r}; rows.dispatchEvent(new Event('input'))")

    typed("2.5M")
    assert text(browser, "tr.chosen .memory") == "250 MB" and text(browser, "#cost").startswith("2,500,000 rows take")
    assert "memory of 2,500,000 rows" in browser.run("document.querySelector('[data-chart=memory] svg').textContent")
    typed("many")
    assert browser.run("rows.ariaInvalid") == "true" and text(browser, "tr.chosen .memory") == "250 MB"
    typed("1e10")
    assert browser.run("rows.ariaInvalid") == "false" and text(browser, "tr.chosen .memory") == "1 TB"


def test_arrow_keys_lead_from_mark_to_mark(browser: Page, report: str) -> None:
    browser.show(report, 390)
    browser.run("document.querySelector('[data-chart=bytes] svg').focus()")
    for _ in range(2):
        browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight")
    assert "bebr ragged, SDC" in text(browser, "[data-chart=bytes] .tip")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Escape")
    assert browser.run("document.querySelector('[data-chart=bytes] .tip').hidden")


def test_nothing_leaves_and_names_stay_text(browser: Page, report: str) -> None:
    browser.requests.clear()
    browser.show(report, 1280)
    browser.run("new Promise((done) => setTimeout(done, 100))")
    assert [address for address in browser.requests if not address.startswith("data:")] == [report]
    assert HOSTILE in browser.run("document.body.innerText")
    assert browser.run("window.hacked ?? 0") == 0 and count(browser, "img") == 0
    # the policy is the second line of defence
    browser.run("document.body.insertAdjacentHTML('beforeend', \"<img src=x onerror='window.hacked=1'>\"); 0")
    browser.run("new Promise((done) => setTimeout(done, 100))")
    assert browser.run("window.hacked ?? 0") == 0
