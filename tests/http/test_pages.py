"""The dashboard in a browser, at the width of a phone and of a desk."""

from __future__ import annotations

import json

import pytest

import bebr
from bebr.serve.keys import KeyFile, Role
from benchmarks.browser import find_chromium, opened
from tests.http_client import Http

CHROMIUM = find_chromium()
HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"
FITS = "document.documentElement.scrollWidth <= window.innerWidth"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install chromium")


@pytest.fixture(scope="module")
def page():
    with opened(CHROMIUM) as one:
        yield one


@pytest.fixture(scope="module")
def shown(start, tmp_path_factory, vectors):
    """A server with a collection of two hundred rows that keeps vectors and one that has codes alone."""
    with start(tmp_path_factory.mktemp("shown"), http=True) as server:
        http = Http(server.http)
        docs = http.create_collection("docs", dim=64, text="title", retrain=False)
        ids = [*range(198), (1 << 62) + 1, "a text"]
        payloads = [{"title": f"row {i}", "n": i} for i in range(200)]
        payloads[1] = {"title": HOSTILE, HOSTILE: [HOSTILE], "long": "x" * 500}
        docs.upsert(ids, vectors[:200], payloads)
        bare = http.create_collection("codes", bebr.untrained(64, 18))
        bare.upsert(range(50), vectors[:50])
        yield server


def ask(page, by: str, text: str, **fields: str) -> None:
    """Fills the form in, sends it, and waits for what it says."""
    values = {"asked": text, "filter": "", "k": "5", **fields}
    page.run(f"document.querySelector('input[name=by][value={by}]').click()")
    for name, value in values.items():
        page.run(f"document.getElementById({json.dumps(name)}).value = {json.dumps(value)}; 0")
    page.run("document.getElementById('told').textContent = ''; document.querySelector('#query button').click()")
    page.wait("!['', 'Searching …'].includes(document.getElementById('told').textContent)")


def choose(page, name: str) -> None:
    page.wait(f"document.querySelector('.card[data-name={name}]') !== null")
    page.run(f"document.querySelector('.card[data-name={name}]').click()")


def text(page, selector: str) -> str:
    return page.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")


@pytest.mark.parametrize("width", [390, 1280])
def test_it_shows_collections_and_answers_questions(page, shown, vectors, width):
    page.errors.clear()
    page.show(shown.http, width)
    choose(page, "docs")
    card = text(page, ".card[data-name=docs]")
    assert "200" in card and "bits a dimension" in card and "tail 200" in card and "64, cosine" in card
    assert text(page, "#about").startswith(bebr.__version__)
    assert page.run(FITS)
    ask(page, "id", "0")
    assert (
        text(page, "#told").startswith("5 hits in") and "row " in text(page, "#hits") and "title" in text(page, "#hits")
    )
    ask(page, "vector", ", ".join(map(str, vectors[7].tolist())))
    assert text(page, "#hits li b") == "7" and "row 7" in text(page, "#hits li")
    ask(page, "words", "row 42", filter='{"n": {"lt": 100}}')
    assert text(page, "#hits li b") == "42"
    ask(page, "id", "nobody")
    assert "nobody" in text(page, "#told") and text(page, "#hits") == ""
    assert page.run(FITS)
    assert [error for error in page.errors if "Failed to load resource" not in error] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_payloads_stay_text(page, shown, vectors, width):
    page.show(shown.http, width)
    choose(page, "docs")
    ask(page, "vector", " ".join(map(str, vectors[1].tolist())))
    hit = text(page, "#hits li")
    assert HOSTILE in hit and hit.count("<script>") >= 3
    assert page.run("document.querySelectorAll('#hits img, #hits script').length") == 0
    assert page.run("window.hacked ?? 0") == 0
    assert page.run(FITS)


def test_what_was_put_into_the_page_would_not_run(page, shown):
    """The policy is the second line of defence."""
    page.show(shown.http, 1280)
    page.run("document.body.insertAdjacentHTML('beforeend', \"<img src=/none onerror='window.hacked=1'>\"); 0")
    page.run("new Promise((done) => setTimeout(done, 300))")
    assert page.run("window.hacked ?? 0") == 0


def test_ids_are_shown_and_asked_for_whole(page, shown, vectors):
    page.show(shown.http, 1280)
    choose(page, "docs")
    ask(page, "vector", " ".join(map(str, vectors[198].tolist())))
    assert text(page, "#hits li b") == str((1 << 62) + 1)  # above 2^53
    page.run("document.querySelector('#hits li button').click()")
    page.wait("document.getElementById('asked').value === '4611686018427387905'")
    page.wait("document.querySelector('#hits li b') !== null")
    assert text(page, "#told").startswith("5 hits")
    ask(page, "id", "a text")
    assert text(page, "#told").startswith("5 hits")


def test_recall_is_measured_where_vectors_are_kept(page, shown):
    page.show(shown.http, 390)
    choose(page, "docs")
    page.run("document.getElementById('measure').click()")
    page.wait("document.querySelector('#recall svg') !== null")
    assert "of the 10 best rows are found, between" in text(page, "#recall-told")
    choose(page, "codes")
    assert "keeps no vectors" in text(page, "#recall-told")
    assert page.run("document.getElementById('measure').disabled")
    assert page.run("document.querySelector('input[value=words]').disabled")


def test_latency_is_drawn(page, shown, vectors):
    Http(shown.http).collection("docs").search(vectors[:3])
    page.show(shown.http, 1280, dark=True)
    page.wait("document.querySelector('#latency polyline.p99') !== null")
    assert "p50" in text(page, "#latency") and "calls/s" in text(page, "#latency")


def test_the_api_can_be_read(page, shown):
    page.show(f"{shown.http}docs", 390)
    page.wait("document.querySelectorAll('.operation').length > 30")
    page.run("for (const one of document.querySelectorAll('details')) one.open = true; 0")
    assert "with_payloads" in text(page, "main") and page.run(FITS)


def test_it_asks_for_a_key(page, start, tmp_path, vectors):
    with bebr.open(tmp_path) as db:
        db.create_collection("docs", bebr.untrained(64, 18)).upsert(range(5), vectors[:5])
    key = KeyFile(tmp_path).create("reader", Role.READ)
    with start(tmp_path, http=True) as server:
        page.show(server.http, 390)
        page.wait("!document.getElementById('key-form').hidden")
        page.run(f"document.getElementById('key').value = {json.dumps(key)}; 0")
        page.run("document.querySelector('#key-form button').click()")
        page.wait("document.querySelector('.card') !== null && document.getElementById('key-form').hidden")
        assert "docs" in text(page, ".card") and page.run("document.cookie") == ""
