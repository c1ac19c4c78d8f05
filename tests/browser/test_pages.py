"""The report in a real Chromium, opened from the disk."""

from __future__ import annotations

import os
import shutil

import pytest

from signalstudy.report import write
from signalstudy.report.write import write_report

pytestmark = pytest.mark.browser
HOSTILE = '"><script>alert(1)</script>'
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = (1280, 400)


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sentence = "No Chromium on this machine: install it to test the report's pages."
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    opened = playwright.chromium.launch(executable_path=program, args=list(QUIET))
    yield opened
    opened.close()
    playwright.stop()


@pytest.fixture(scope="module")
def folder(studies, tmp_path_factory):
    """Write a study of a usual, a hostile and an unanswerable service."""
    target = tmp_path_factory.mktemp("report")
    study = studies.make_study(
        studies.make_service(),
        studies.make_service(HOSTILE, "hostile"),
        studies.make_bare_service(policy=studies.make_service().policy),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "policy_yaml", lambda policy: f"name: {policy.name}\n" * 5)
        write_report(study, target)
    return target


class Visit:
    """One page opened at one width, with all that it said and asked for."""

    def __init__(self, browser, path, width: int, *, script: bool = True) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=script
        )
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_load_state("load")

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report-hostile", "report-sweep", "report"])
def test_a_page_opens_silently_offline_draws_every_figure_and_fits_its_width(
    browser, folder, name, width
):
    with Visit(browser, folder / f"{name}.html", width) as visit:
        wanted = visit.page.locator("[data-figure]").count()
        visit.page.wait_for_function(
            "wanted => document.querySelectorAll('.js-plotly-plot').length === wanted", arg=wanted
        )
        drawn = visit.page.evaluate(
            "[...document.querySelectorAll('[data-figure]')]"
            ".filter(plot => plot.querySelector('.main-svg')).length"
        )
        assert drawn == wanted
        assert wanted > 10 or name in ("report-sweep", "report")
        assert visit.complaints == []
        assert all(url.startswith(("file:", "data:", "blob:")) for url in visit.asked)
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_hostile_name_is_shown_as_text_and_no_script_of_it_runs(browser, folder):
    with Visit(browser, folder / "report-hostile.html", 1280) as visit:
        assert visit.page.locator("h1").inner_text() == HOSTILE
        scripts = visit.page.evaluate(
            "[...document.scripts].filter(script => script.textContent === 'alert(1)').length"
        )
        assert scripts == 0
        assert visit.complaints == []
    with Visit(browser, folder / "report.html", 1280) as visit:
        assert HOSTILE in visit.page.locator("body").inner_text()
        assert visit.complaints == []


def test_the_policy_is_a_script_that_a_foreign_page_could_not_add(browser, folder):
    with Visit(browser, folder / "report-sweep.html", 1280) as visit:
        visit.page.evaluate(
            "document.body.appendChild(Object.assign(document.createElement('script'),"
            " { textContent: 'window.stranger = true' }))"
        )
        assert visit.page.evaluate("window.stranger") is None
        assert any("Content Security Policy" in said for said in visit.complaints)


def test_the_copy_button_answers(browser, folder):
    with Visit(browser, folder / "report-sweep.html", 1280) as visit:
        button = visit.page.locator("[data-copy]")
        assert button.is_visible()
        button.click()
        visit.page.wait_for_function(
            "['Copied', 'Selected'].includes(document.querySelector('[data-copy]').textContent)"
        )


def test_without_scripts_the_words_and_tables_are_there(browser, folder):
    with Visit(browser, folder / "report-chat.html", 1280, script=False) as visit:
        text = visit.page.locator("body").inner_text()
        assert "Follow decode_tokens_per_second of the decode pool" in text
        assert "The figure needs JavaScript" in text
        assert not visit.page.locator("[data-copy]").is_visible()


def test_a_heading_is_reached_from_the_section_links(browser, folder):
    with Visit(browser, folder / "report-chat.html", 1280, script=False) as visit:
        found = visit.page.evaluate(
            "[...document.querySelectorAll('nav a')]"
            ".map(link => document.querySelectorAll(link.hash).length)"
        )
        assert found == [1] * 10
