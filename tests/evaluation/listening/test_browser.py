"""What the page of a listening test decides, without a browser and in one."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from d2m_cli.evaluation.listening.opinions import OpinionScores, score_answers
from d2m_cli.evaluation.listening.page import ListeningTest
from tests.evaluation.listening.material import DANCES, SYSTEMS, document, key_items, write

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the page's script")


def means(scores: OpinionScores, scale: str) -> dict[str, float | None]:
    return {one.system: one.mean for one in scores.opinions if one.scale == scale}


def run_logic(page: Path, code: str) -> Any:
    found = re.search(r'<script id="logic">(.*?)</script>', page.read_text(), re.S)
    assert found
    text = f"{found[1]}\nconst test = {json.dumps(document(page))};\nconsole.log(JSON.stringify((() => {{{code}}})()));"
    done = subprocess.run(["node", "-"], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_each_person_gets_an_order_of_their_own(made: ListeningTest) -> None:
    people = [f"p{number}" for number in range(300)]
    code = f"return {json.dumps(people)}.map((one) => orderFor(test, one));"
    orders = run_logic(made.page, code)
    assert run_logic(made.page, code) == orders
    items = key_items(made.key)
    starts, firsts, seconds = [], [], []
    for order in orders:
        shown = [items[screen["item"]] for screen in order]
        assert sorted(shown[:-1]) == sorted(items.values())
        assert [screen["repeat"] for screen in order] == [False] * 9 + [True]
        assert order[-1]["item"] in [screen["item"] for screen in order[:4]]
        dances = [dance for dance, _ in shown[:-1]]
        assert [len(list(same)) for _, same in itertools.groupby(dances)] == [3, 3, 3]
        starts.append(shown[0])
        firsts.append(tuple(system for _, system in shown[:3]))
        seconds.append(shown[-1])
    # 300 draws: 33 +- 5.4 for each of nine, 50 +- 6.5 for each of six.
    assert all(12 <= starts.count(item) <= 55 for item in items.values())
    assert all(24 <= firsts.count(order) <= 76 for order in itertools.permutations(SYSTEMS))
    assert len(set(seconds)) == 9


@needs_node
def test_what_keeps_a_person_on_a_screen(made: ListeningTest) -> None:
    found = run_logic(
        made.page,
        """
        const answer = { coherence: null, quality: null, plays: 0, problem: null };
        return [
          lacking(answer), lacking({ ...answer, plays: 1 }), lacking({ ...answer, coherence: 3, quality: 1 }),
          lacking({ ...answer, plays: 2, coherence: 1, quality: 5 }), lacking({ ...answer, problem: "no" }),
          covers([[0, 4], [4, 10]], 10), covers([[8, 10]], 10), covers([], 10), covers([[0, 9.7]], 10),
          fileNameOf(test, "Zoë / 7"), testLevel(-17.4), testLevel(-37.4),
        ];
        """,
    )
    play, dance, music = "play the clip to its end", "rate music and dance", "rate the quality of the music"
    assert found[:5] == [[play, dance, music], [dance, music], [play], [], []]
    assert found[5:9] == [True, False, False, True]
    assert found[9] == f"ratings-{made.test[:6]}-Zo_7.json"
    assert found[10:] == pytest.approx([1.0, 0.1])


@needs_node
def test_the_page_makes_what_is_read(made: ListeningTest, tmp_path: Path) -> None:
    """Ratings that follow from the item come out under its system; one item could not be played."""
    items = key_items(made.key)
    ratings = {item: [1 + SYSTEMS.index(system), 5 - SYSTEMS.index(system)] for item, (_, system) in items.items()}
    lost = next(item for item, pair in items.items() if pair == (DANCES[0], SYSTEMS[2]))
    code = f"""
        const ratings = {json.dumps(ratings)};
        const state = newState(test, "anna", "2026-05-01T10:00:00.000Z");
        for (const answer of state.answers) {{
          [answer.coherence, answer.quality] = ratings[answer.item];
          answer.plays = 1;
          if (answer.item === "{lost}") answer.problem = "it did not load";
        }}
        const half = stateFrom(test, JSON.stringify(state));
        half.finished = "2026-05-01T10:20:00.000Z";
        const foreign = stateFrom({{ ...test, test: "x" }}, JSON.stringify(state));
        return [resultOf(test, half), doneCount(half), stateFrom(test, "{{"), foreign];
    """
    result, count, rubbish, other = run_logic(made.page, code)
    assert (count, rubbish, other) == (10, None, None)
    assert result["scale"]["best"] == 5
    scores = score_answers([write(tmp_path / "anna.json", result)], made.key)
    assert scores.test == made.test
    assert means(scores, "coherence") == {"zebrafish": 1.0, "wolverine": 2.0, "tarantula": 3.0}
    assert means(scores, "quality") == {"zebrafish": 5.0, "wolverine": 4.0, "tarantula": 3.0}
    assert [one.ratings for one in scores.opinions if one.scale == "quality"] == [3, 3, 2]
    assert [(one.clip, one.system) for one in scores.unplayed] == [(DANCES[0], SYSTEMS[2])]


# The page in a browser

chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")


class Browser:
    """As much of the WebDriver protocol as a participant needs."""

    def __init__(self, driver: str, folder: Path) -> None:
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
            "--disable-component-update --disable-sync --mute-audio"
        )
        options = {
            "binary": chromium,
            "args": [*flags.split(), f"--user-data-dir={folder / 'profile'}"],
            "prefs": {"download.default_directory": str(folder / "downloads")},
        }
        self.address = driver
        content = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        self.address += f"/session/{self.ask('/session', content)['sessionId']}"

    def ask(self, path: str, content: dict[str, Any] | None = None, method: str = "POST") -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def open(self, page: Path) -> None:
        self.ask("/url", {"url": page.as_uri()})

    def js(self, code: str) -> Any:
        return self.ask("/execute/sync", {"script": code, "args": []})

    def click(self, selector: str) -> None:
        found = self.ask("/element", {"using": "css selector", "value": selector})
        self.ask(f"/element/{next(iter(found.values()))}/click", {})

    def wait(self, condition: str) -> None:
        end = time.monotonic() + 60.0
        while not self.js(f"return {condition}"):
            assert time.monotonic() < end, condition
            time.sleep(0.05)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if chromium is None or chromedriver is None:
        pytest.skip("no chromium and chromedriver (Debian: chromium, chromium-driver)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "downloads").mkdir()
    driver = subprocess.Popen([chromedriver, f"--port={port}", "--silent"], env={**os.environ, "HOME": str(tmp_path)})
    try:
        for _ in range(200):
            with socket.socket() as probe_socket:
                if probe_socket.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        one = Browser(f"http://127.0.0.1:{port}", tmp_path)
        yield one
        one.ask("", method="DELETE")
    finally:
        driver.terminate()
        driver.wait(20)


def begin(browser: Browser, page: Path, participant: str) -> None:
    browser.open(page)
    browser.js(f"document.getElementById('participant').value = '{participant}'")
    browser.click("#consent")
    browser.click("#begin button")
    browser.click("#sound-next")
    assert browser.js("return document.getElementById('item').hidden")
    browser.click("#sound-play")
    browser.click("#sound-heard")
    browser.click("#sound-next")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["made", "beside"])
def test_a_person_goes_through_the_whole_page(
    kind: str, request: pytest.FixtureRequest, browser: Browser, tmp_path: Path
) -> None:
    test: ListeningTest = request.getfixturevalue(kind)
    items = key_items(test.key)
    begin(browser, test.page, "anna")
    for position in range(10):
        browser.wait("!document.getElementById('play').disabled")
        assert browser.js("return state.position") == position
        browser.click("#next")
        assert browser.js("return state.position") == position
        number = SYSTEMS.index(items[browser.js("return answer().item")][1])
        browser.click(f"input[name=coherence][value='{5 - number}']")
        browser.click(f"input[name=quality][value='{1 + number}']")
        browser.click("#next")
        assert browser.js("return state.position") == position
        if position == 0:
            # A jump to the end is not listening.
            browser.js("video.currentTime = video.duration - 0.1")
            browser.click("#play")
            browser.wait("video.ended")
            assert browser.js("return answer().plays") == 0
        browser.click("#play")
        browser.wait("answer().plays > 0")
        if position == 3:
            browser.click("#back")
            assert browser.js("return document.querySelector('input[name=quality]:checked').value") is not None
            browser.click("#next")
            browser.open(test.page)
            browser.click("#resume-go")
        browser.click("#next")
    downloads = tmp_path / "downloads"
    name = f"ratings-{test.test[:6]}-anna.json"
    end = time.monotonic() + 20.0
    while not (downloads / name).exists():
        assert time.monotonic() < end, list(downloads.iterdir())
        time.sleep(0.1)
    assert (downloads / name).read_text() == browser.js("return document.getElementById('result').value")
    scores = score_answers([downloads / name], test.key)
    assert means(scores, "coherence") == {"zebrafish": 5.0, "wolverine": 4.0, "tarantula": 3.0}
    assert means(scores, "quality") == {"zebrafish": 1.0, "wolverine": 2.0, "tarantula": 3.0}
    assert [(one.coherence, one.quality) for one in scores.repeats] == [(0, 0)]
    assert not scores.unplayed


@pytest.mark.slow
def test_a_clip_that_can_not_be_played_is_said_and_skipped(
    made: ListeningTest, browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "index.html"
    rubbish = base64.b64encode(b"no video" * 100).decode()
    page.write_text(re.sub(r'(<script type="text/plain"[^>]*>)[^<]*', rf"\g<1>{rubbish}", made.page.read_text()))
    begin(browser, page, "bob")
    for _ in range(10):
        browser.wait("!document.getElementById('trouble').hidden")
        assert "does not know its format" in browser.js("return document.getElementById('trouble-text').textContent")
        assert browser.js("return document.getElementById('play').disabled")
        browser.click("#skip")
    result = json.loads(browser.js("return document.getElementById('result').value"))
    assert all(line["problem"] and line["coherence"] is None for line in result["ratings"])
    scores = score_answers([write(tmp_path / "bob.json", result)], made.key)
    assert len(scores.unplayed) == 9
