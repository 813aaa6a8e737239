"""The report page as people use it: in a browser, from the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.batch.report_page import ReportPage
from tests.report.page_folder import PROMPT, SECONDS, Folder
from tests.waiting import PATIENCE, wait_until

CHROMIUM = Path(os.environ.get("D2M_CHROMIUM", "/usr/bin/chromium"))
OPTIONS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
HOSTILE = "<script>alert(1)</script>"


def missing(reason: str) -> None:
    if os.environ.get("D2M_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    if not CHROMIUM.is_file():
        missing(f"there is no {CHROMIUM} (D2M_CHROMIUM names another)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS, timeout=1000 * PATIENCE)
        yield opened
        opened.close()


class Visit:
    """A page that is open, and all that it asked for and complained of."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **context})
        self.context.set_default_timeout(1000 * PATIENCE)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.troubles: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda told: self.troubles.append(told.text) if told.type == "error" else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: self.troubles.append(dialog.message))
        self.page.add_init_script(
            "window.longTasks = []; new PerformanceObserver((list) => list.getEntries().forEach("
            "(one) => window.longTasks.push(one.duration))).observe({ type: 'longtask', buffered: true });"
        )
        self.page.goto(path.as_uri())

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()

    def ready(self, article: str = "#r1") -> None:
        self.page.evaluate("(one) => document.querySelector(one).scrollIntoView()", article)
        self.page.wait_for_function(
            "(one) => document.querySelector(one + ' video').readyState >= 2 &&"
            " document.querySelector(one + ' .cursor').style.transform",
            arg=article,
        )

    def video(self, what: str, article: str = "#r1") -> Any:
        return self.page.evaluate(f"(one) => document.querySelector(one + ' video').{what}", article)

    def slowly(self, article: str = "#r1") -> None:
        """Let it play so slowly that it is not over before a busy machine comes to the next step."""
        self.page.evaluate("(one) => { document.querySelector(one + ' video').playbackRate = 0.25; }", article)

    def cursor(self, article: str = "#r1") -> float:
        """Seconds that the cursor stands at, by its place on the strip, which shows all of a short clip."""
        return float(self.page.evaluate(CURSOR, article))

    def settled(self) -> None:
        self.page.wait_for_function("() => !document.querySelector('#r1 video').seeking")
        self.page.wait_for_timeout(150)


CURSOR = f"""(one) => {{
  const box = document.querySelector(one + " .timeline").getBoundingClientRect();
  const cursor = document.querySelector(one + " .cursor").getBoundingClientRect();
  const left = box.width >= 640 ? 112 : 8;
  return (cursor.left + 1 - box.left - left) / (box.width - left - 8) * {SECONDS};
}}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Folder(tmp_path_factory.mktemp("page") / "out")
    made.add(HOSTILE, prompt=PROMPT)
    takes = [{"number": 1, "file": "kept.take-1.wav"}, {"number": 2, "file": "kept.take-2.wav"}]
    made.add("kept", takes=takes)
    # Its input lies beside the folder; that of the other is gone.
    (made.out.parent / "a-sound.mp4").write_bytes((made.out.parent / "film.mp4").read_bytes())
    made.add("a-sound", mp4=False)
    made.add("x-gone", mp4=False)
    made.add("plain", drawn=False, bpm=98.0, genre="HO")
    made.fail("torn", "../torn.mp4: is not a video")
    assert ReportPage().write(made.ledger) == made.out / "report.html"
    return made.out


def number_of(visit: Visit, name: str) -> str:
    found: str = visit.page.evaluate(
        "(name) => [...document.querySelectorAll('h3')].find((one) => one.textContent === name).closest('article').id",
        name,
    )
    return f"#{found}"


def test_plays_and_seeks_with_the_cursor_in_step(browser: Any, folder: Path) -> None:
    with Visit(browser, folder / "report.html") as visit:
        one = number_of(visit, HOSTILE)
        visit.ready(one)
        visit.page.click(f"{one} .play")
        visit.page.wait_for_function("(one) => document.querySelector(one + ' video').currentTime > 0.3", arg=one)
        apart = visit.page.evaluate(
            """([one, cursor]) => new Promise((done) => {
              const at = eval(cursor), video = document.querySelector(one + " video"), apart = [];
              const look = () => {
                if (video.ended || (video.currentTime > 1.5 && apart.length > 10)) {
                  document.querySelector(one + " .play").click();
                  return done(apart);
                }
                apart.push(Math.abs(at(one) - video.currentTime));
                requestAnimationFrame(look);
              };
              requestAnimationFrame(look);
            })""",
            [one, CURSOR],
        )
        assert len(apart) > 10
        # The clock of the video goes on where the browser has to wait between looking at it twice.
        assert np.quantile(apart, 0.9) < 0.05
        assert visit.video("paused", one)
        box = visit.page.locator(f"{one} .timeline").bounding_box()
        visit.page.mouse.click(box["x"] + 112 + (box["width"] - 120) * 0.75, box["y"] + 60)
        assert visit.video("currentTime", one) == pytest.approx(0.75 * SECONDS, abs=0.02)
        assert visit.cursor(one) == pytest.approx(0.75 * SECONDS, abs=0.02)
        # The picture itself says what time it is.
        wait_until(lambda: bar(visit, one) == pytest.approx(visit.cursor(one), abs=0.05), "the picture")
        assert visit.page.evaluate("window.harmed") is None
        assert visit.troubles == []
        assert all(url.startswith("file://") for url in visit.asked)


def bar(visit: Visit, article: str) -> float:
    """Seconds at which the film has its bright bar where a screenshot shows it."""
    import io

    from PIL import Image

    visit.page.evaluate("(one) => { document.querySelector(one + ' video').controls = false; }", article)
    picture = np.array(Image.open(io.BytesIO(visit.page.locator(f"{article} video").screenshot())).convert("L"))
    columns = np.flatnonzero(picture[picture.shape[0] // 2] > 130)
    left = columns[0] / picture.shape[1] * 192 if len(columns) else np.nan
    # The frame that begins at this time is shown until the next one; half of that on average.
    return float(left / 180 * SECONDS + 0.02)


def test_the_keyboard_does_it_all(browser: Any, folder: Path) -> None:
    with Visit(browser, folder / "report.html") as visit:
        one, page = number_of(visit, "kept"), visit.page
        visit.ready(one)
        page.focus(f"{one} .play")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "overlay"
        page.keyboard.press("Space")
        page.wait_for_timeout(100)
        assert page.evaluate("(one) => document.querySelector(one + ' .skeleton').hidden", one) is False
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name").endswith("-take")
        page.focus(f"{one} .timeline")
        for key, expected in (("ArrowRight", 0.5), ("PageUp", SECONDS), ("Home", 0.0), ("ArrowRight", 0.5)):
            page.keyboard.press(key)
            page.wait_for_timeout(150)
            assert float(page.get_attribute(f"{one} .timeline", "aria-valuenow")) == pytest.approx(expected, abs=0.05)
        assert page.get_attribute(f"{one} .timeline", "aria-valuetext") == "0.5 of 3.0 seconds"
        visit.slowly(one)
        page.keyboard.press("Space")
        page.wait_for_function("(one) => document.querySelector(one + ' video').currentTime > 0.6", arg=one)
        page.keyboard.press("Space")
        assert visit.video("paused", one)
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        assert visit.troubles == []


def test_takes_are_switched_while_it_plays(browser: Any, folder: Path) -> None:
    with Visit(browser, folder / "report.html") as visit:
        one, page = number_of(visit, "kept"), visit.page
        page.evaluate(
            """() => {
              window.sounds = [];
              const play = Audio.prototype.play;
              HTMLAudioElement.prototype.play = function () { window.sounds.push(this); return play.call(this); };
            }"""
        )
        visit.ready(one)
        visit.slowly(one)
        page.click(f"{one} .play")
        page.wait_for_function("(one) => document.querySelector(one + ' video').currentTime > 0.2", arg=one)
        assert not visit.video("muted", one)
        lines = f"document.querySelector('{one} .lines').toDataURL()"
        told, before = page.inner_text(f"{one} .told"), page.evaluate(lines)
        page.check(f"{one} input[value='2']")
        page.wait_for_function(
            """(one) => window.sounds.some((sound) => !sound.paused && sound.currentTime > 0.6 &&
              Math.abs(sound.currentTime - document.querySelector(one + " video").currentTime) < 0.1)""",
            arg=one,
        )
        playing = page.evaluate("window.sounds.filter((sound) => !sound.paused).map((sound) => sound.src)")
        assert visit.video("muted", one)
        assert {source.rsplit("/", 1)[1] for source in playing} == {"kept.take-2.wav"}
        # The strip and the words below it are of the take that is heard.
        assert page.inner_text(f"{one} .told") == page.get_attribute(f"{one} input[value='2']", "data-told") != told
        assert page.evaluate(lines) != before
        page.check(f"{one} input[value='0']")
        page.wait_for_timeout(50)
        assert page.inner_text(f"{one} .told") == told
        assert page.evaluate(lines) == before
        assert not visit.video("muted", one)
        assert page.evaluate("window.sounds.every((one) => one.paused)")
        assert visit.troubles == []


def test_without_a_video_of_its_own_the_music_plays_with_the_input_or_alone(browser: Any, folder: Path) -> None:
    with Visit(browser, folder / "report.html") as visit:
        one, page = number_of(visit, "a-sound"), visit.page
        visit.ready(one)
        visit.slowly(one)
        page.click(f"{one} .play")
        page.wait_for_function("(one) => document.querySelector(one + ' video').currentTime > 0.4", arg=one)
        assert visit.video("muted", one)
        assert any(url.endswith("/a-sound.wav") for url in visit.asked)
        assert visit.troubles == []
        gone = number_of(visit, "x-gone")
        page.evaluate("(one) => document.querySelector(one).scrollIntoView()", gone)
        page.wait_for_selector(f"{gone} .trouble:not([hidden])")
        assert "The music plays alone" in page.inner_text(f"{gone} .trouble")
        page.click(f"{gone} .play")
        wait_until(lambda: visit.cursor(gone) > 0.1, "the cursor")
        assert visit.video("paused", one)


def test_where_the_film_can_not_be_shown_its_music_plays_alone(browser: Any, tmp_path: Path) -> None:
    made = Folder(tmp_path / "out")
    made.add("one")
    page_file = ReportPage().write(made.ledger)
    (made.out / "one.mp4").write_bytes(b"of a kind that no browser knows")
    with Visit(browser, page_file) as visit:
        page = visit.page
        page.wait_for_selector("#r1 .trouble:not([hidden])")
        assert page.inner_text("#r1 .trouble").endswith("The music plays alone.")
        before = visit.cursor()
        page.click("#r1 .play")
        page.wait_for_function(
            "(x) => document.querySelector('#r1 .cursor').getBoundingClientRect().x > x + 20", arg=before
        )
        assert any(url.endswith("/one.wav") for url in visit.asked)


def test_sorts_and_filters(browser: Any, folder: Path) -> None:
    def names(visit: Visit) -> list[str]:
        return visit.page.eval_on_selector_all(
            "#table tbody tr:not([hidden]) th", "all => all.map((one) => one.textContent)"
        )

    with Visit(browser, folder / "report.html") as visit:
        page = visit.page
        assert names(visit) == ["torn", HOSTILE, "a-sound", "kept", "plain", "x-gone"]
        page.click("#table button:text('Result')")
        assert names(visit) == [HOSTILE, "a-sound", "kept", "plain", "torn", "x-gone"]
        page.click("#table button:text('Tempo')")
        page.click("#table button:text('Tempo')")
        assert page.get_attribute("#table th:nth-child(4)", "aria-sort") == "ascending"
        # What has no tempo comes last, whichever way.
        assert (names(visit)[0], names(visit)[-1]) == ("plain", "torn")
        page.fill("#find", "HOUSE pla")
        assert names(visit) == ["plain"]
        assert page.inner_text("#count") == "1 of 6 shown"
        assert page.eval_on_selector_all("article:not([hidden])", "all => all.length") == 1
        page.fill("#find", "not a video")
        assert names(visit) == ["torn"]
        page.fill("#find", "")
        page.select_option("#state", "not")
        assert names(visit) == ["torn"]
        assert visit.troubles == []


def test_fits_a_phone_in_the_dark(browser: Any, folder: Path) -> None:
    with Visit(browser, folder / "report.html") as light:
        bright = light.page.evaluate("getComputedStyle(document.body).backgroundColor")
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True, "is_mobile": True}
    with Visit(browser, folder / "report.html", **phone) as visit:
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") != bright
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        one = number_of(visit, "kept")
        visit.ready(one)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert visit.troubles == []


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Folder(tmp_path_factory.mktemp("many") / "out")
    for number in range(300):
        made.add(f"clip-{number:03}", prompt=f"prompt number {number}", seed=number)
    ReportPage().write(made.ledger)
    return made.out


def longest_task_of_a_scroll(visit: Visit) -> float:
    """Milliseconds."""
    visit.page.evaluate("scrollTo(0, 0)")
    visit.page.wait_for_timeout(300)
    visit.page.evaluate("window.longTasks.length = 0")
    visit.page.evaluate(
        """() => new Promise((done) => {
          let at = 0;
          const step = () => {
            scrollTo(0, (at += at < 6000 ? 150 : 1500));
            if (at < 90000) setTimeout(step, 30);
            else done();
          };
          step();
        })"""
    )
    visit.page.wait_for_timeout(300)
    return float(max(visit.page.evaluate("window.longTasks"), default=0.0))


@pytest.mark.slow
def test_three_hundred_videos_load_when_they_are_seen_and_block_nothing(browser: Any, many: Path) -> None:
    with Visit(browser, many / "report.html") as visit:
        page = visit.page
        page.wait_for_timeout(500)
        seen = page.eval_on_selector_all(
            "article", "all => all.filter((one) => one.getBoundingClientRect().top < innerHeight).length"
        )
        loaded = page.eval_on_selector_all("video", "all => all.filter((one) => one.src).length")
        assert loaded <= seen < 5
        assert not any("clip-010" in url for url in visit.asked)
        # Other work on the machine makes tasks longer, and none shorter.
        assert any(longest_task_of_a_scroll(visit) < 100 for _ in range(25))
        page.evaluate("document.querySelector('#r300').scrollIntoView()")
        page.wait_for_function("() => document.querySelector('#r300 video').readyState >= 1")
        assert page.eval_on_selector_all("video", "all => all.filter((one) => one.src).length") < 8
        page.click("#table button:text('Seed')")
        page.fill("#find", "number 29")
        # 29, 129, 229 and 290 to 299.
        assert page.inner_text("#count") == "13 of 300 shown"
        assert visit.troubles == []
