"""front.html in a real browser, offline: no requests, all trials by keyboard, hostile text stays text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rsopt.data.records import Caption, CaptionData, Sample
from search.html_report.content import page_content
from search.html_report.render import render
from search.html_report.write import write_page
from search.results.build_front import build_front
from search.results.front import ExpectedCider
from search.results.ties import mark_ties
from search.results.verdict import verdict
from search.study.settings import Settings
from tests.browser.conftest import Browser
from tests.support.example_study import METADATA, make_settings
from tests.support.fields_dataset import write_fields_dataset
from tests.support.large_history import EVIL, many, write_captions

pytestmark = pytest.mark.browser
TAB, RIGHT, DOWN, HOME = "\ue004", "\ue014", "\ue015", "\ue011"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Pages of 30 and of 500 random trials over blip2-opt-2.7b, with hostile captions, references and names."""
    pages = {}
    for trials in (30, 500):
        folder = tmp_path_factory.mktemp(f"page{trials}")
        images = sorted((write_fields_dataset(folder / "fields", images=12) / "images").iterdir())
        samples = tuple(Sample(f"{EVIL} {n}", "val", (Caption(f"{EVIL} reference"),), path=path) for n, path in enumerate(images))
        study = replace(make_settings(folder), name="drawn", base="Salesforce/blip2-opt-2.7b")
        history, frozen = many(trials)
        write_captions(study.folder, history, [s.image_id for s in samples])
        front = mark_ties(build_front("drawn", METADATA, history), study.folder)
        trials_again = tuple(replace(t, expected_cider=ExpectedCider.of(51.0, 7.0)) for t in front.trials)
        front = replace(front, trials=trials_again, verdict=verdict(front, study.folder))
        content = page_content(study, METADATA, history, frozen, CaptionData(EVIL, "fields", samples), {}, front)
        pages[trials] = folder / "front.html"
        pages[trials].write_text(render(content), "utf-8")
    return pages


def shown(browser: Browser) -> str:
    return browser.run("return document.querySelector('#detail h2').textContent")


def test_the_page_sends_no_requests_and_has_no_errors(browser: Browser, page: dict[int, Path]) -> None:
    browser.open(page[30].as_uri())
    browser.run("document.querySelectorAll('#table tbody button').forEach(b => b.click())")
    browser.run("document.querySelectorAll('button').forEach(b => b.click())")
    requested = [url for url in browser.requests() if not url.startswith("data:")]
    assert requested == [page[30].as_uri()]
    assert browser.complaints() == []
    # The page's policy also refuses requests of scripts.
    refused = "return fetch('https://example.org/').then(() => 'sent', () => 'refused')"
    assert browser.run(refused) == "refused"
    assert any("Content Security Policy" in c for c in browser.complaints())


def test_hostile_text_is_shown_as_text(browser: Browser, page: dict[int, Path]) -> None:
    browser.open(page[30].as_uri())
    browser.run("document.querySelectorAll('#table tbody button')[3].click()")
    said = browser.run("return document.querySelector('.said').textContent")
    assert said.startswith(EVIL)
    assert EVIL in browser.run("return document.querySelector('.refs').textContent")
    assert browser.run("return document.title") == "Front of drawn"
    assert browser.run("return document.scripts.length") == 2
    assert browser.run("return document.querySelectorAll('img[src=x]').length") == 0


def test_every_trial_is_reached_by_keyboard(browser: Browser, page: dict[int, Path]) -> None:
    browser.open(page[30].as_uri())
    browser.run("document.querySelector('.pair').focus()")
    browser.press(HOME)
    seen = {shown(browser)}
    plotted = browser.run("return data.trials.filter(t => data.objectives[1].name in t.values).length")
    for _ in range(plotted - 1):
        browser.press(RIGHT)
        seen.add(shown(browser))
    assert len(seen) == plotted, "a chart's arrows pass all of its points"
    browser.run("document.querySelector('#table tbody button').focus()")
    browser.press("\ue007")
    seen = {shown(browser)}
    for _ in range(29):
        browser.press(DOWN)
        seen.add(shown(browser))
    assert len(seen) == 30, "the table's arrows pass all trials"
    browser.open(page[30].as_uri())
    stops = set()
    for _ in range(60):
        browser.press(TAB)
        stops.add(browser.run("return document.activeElement.getAttribute('aria-label') || ''"))
    assert sum(stop.startswith("trial ") for stop in stops) == 30, "and so does the tab key"
    assert sum("Arrow keys" in stop for stop in stops) == 4


def test_the_detail_shows_layers_scores_latency_and_ten_captions(browser: Browser, page: dict[int, Path]) -> None:
    browser.open(page[30].as_uri())
    trial: dict[str, Any] = browser.run("const t = trialOf.get(selected); return t")
    assert "knee" in trial["picks"]
    count = lambda css: browser.run(f"return document.querySelectorAll('#detail {css}').length")  # noqa: E731
    assert count(".layers") == 3
    assert count(".layers .kept") == sum(len(kept) for kept in trial["kept"].values())
    assert count(".layers rect") == 39 + 12 + 32
    assert count(".image img") == 10 and count(".refs") == 10
    text = browser.run("return document.querySelector('#detail').textContent")
    for part in ("Where the latency goes", "prefill", "CIDEr", "expected again 51", "95 %", "BLEU-4", "What it says"):
        assert part in text
    words = browser.run("return document.body.textContent")
    for part in ("hand-made study", "Kendall", "trials were stopped at a rung", "fANOVA", "blind_class 75% of images"):
        assert part in words


def test_latencies_have_whiskers_and_marks(browser: Browser, page: dict[int, Path]) -> None:
    browser.open(page[30].as_uri())
    drawn = (
        "return ['measured', 'predicted', 'disturbed'].map(kind => [...document.querySelectorAll(`.pair .whisker.${kind}`)]"
        ".filter(l => l.getAttribute('y1') === l.getAttribute('y2') && l.getAttribute('x1') !== l.getAttribute('x2')).length)"
    )
    kinds = [t["latency"]["kind"] for t in browser.run("return data.trials") if t["pareto"] and t["latency"]]
    # Against CIDEr and against parameters: latency is across in both.
    assert browser.run(drawn) == [2 * kinds.count(kind) for kind in ("measured", "predicted", "disturbed")]
    assert len(set(kinds)) > 1
    cells = browser.run("return [...document.querySelectorAll('#table tbody td')].map(c => c.textContent)")
    assert any(c.startswith("~") and "(" in c for c in cells) and any(c.startswith("!") for c in cells)
    named = browser.run("return [...document.querySelectorAll('.pair text.looks, .pair text.blind')].map(t => t.textContent)")
    assert named and not any("people" in name for name in named), "they would stretch the axis far beyond the trials"
    assert browser.run("return document.querySelector('#verdict').textContent") == browser.run("return data.verdict")


def test_moving_over_a_point_names_its_variant(browser: Browser, page: dict[int, Path]) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    browser.open(page[30].as_uri())
    point = browser.driver.find_element(By.CSS_SELECTOR, ".pair .front")
    ActionChains(browser.driver).move_to_element(point).perform()
    tip = browser.run("return [document.getElementById('tip').hidden, document.getElementById('tip').textContent]")
    assert tip[0] is False and "trial " in tip[1] and " r" in tip[1]


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (390, False), (1400, True), (390, True)])
def test_it_fits_and_can_be_read(browser: Browser, page: dict[int, Path], width: int, dark: bool) -> None:
    browser.open(page[30].as_uri(), width, 900, dark)
    assert browser.run("return document.documentElement.scrollWidth") <= width, "no sideways scrolling"
    # WCAG 2: contrast with the background of at least 4.5 to 1 for text, 3 to 1 for marks.
    contrast = """
      const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => { v /= 255;
        return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const probe = document.body.appendChild(document.createElement('span'));
      const colour = name => { probe.style.color = `var(--${name})`; return light(getComputedStyle(probe).color); };
      const [a, b] = arguments.length && [colour(arguments[0]), colour(arguments[1])];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);"""
    for text in ("ink", "soft", "blind", "looks"):
        assert browser.run(contrast, text, "panel") >= 4.5, text
    for kind in ("front", "complete", "zero_shot", "full_depth", "hand"):
        assert browser.run(contrast, kind, "panel") >= 2.5, kind


def test_500_trials_stay_usable(browser: Browser, page: dict[int, Path]) -> None:
    browser.open(page[500].as_uri())
    loaded = browser.run("return performance.getEntriesByType('navigation')[0].duration")
    moved = browser.run(
        "const begin = performance.now(); for (let i = 0; i < 50; i++) select(data.trials[i * 9].id);"
        "document.body.offsetHeight; return (performance.now() - begin) / 50"
    )
    size = page[500].stat().st_size / 1e6
    print(f"\n500 trials: {size:.1f} MB, loaded in {loaded:.0f} ms, {moved:.1f} ms a selection")
    assert browser.run("return document.querySelectorAll('#table tbody tr').length") == 500
    assert browser.run("return document.querySelectorAll('.pair .mark').length") > 500
    assert browser.complaints() == []


def test_pictures_of_a_real_study(browser: Browser, small_study: Settings, tmp_path: Path) -> None:
    """Screenshots, wide, narrow and dark; `tests.browser.shots` takes those in `docs/`."""
    url = write_page(small_study.folder, tmp_path / "front.html").as_uri()
    for name, width, dark in (("wide", 1400, False), ("narrow", 390, False), ("dark", 1400, True)):
        browser.open(url, width, 1000, dark)
        browser.picture(tmp_path / f"{name}.png", width, 1000)
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
