from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from signalstudy.report import write
from signalstudy.report.write import write_report

HOSTILE = '"><script>alert(1)</script>\n<!--'
MOST_BYTES = 2_000_000
LOADING = {"src", "href", "action", "data", "poster", "srcset"}


class Page(HTMLParser):
    """Tags, links and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.scripts: list[dict[str, str | None]] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [value for name, value in found.items() if name in LOADING]
        if tag == "script":
            self.scripts.append(found)
        if tag not in ("meta", "link", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if self._open and self._open[-1] in ("h1", "h2"):
            self.headings.append(data)
        if not self._open or self._open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """What a reader sees, without figures."""
        return " ".join(" ".join(self.words).split())


@pytest.fixture(autouse=True)
def _plain_policy(monkeypatch):
    monkeypatch.setattr(write, "policy_yaml", lambda policy: f"name: {policy.name} # <b>&\n")


def written(studies, folder, *services):
    """Write and parse report.html."""
    return Page(write_report(studies.make_study(*services), folder).read_text("utf-8"))


def test_one_service_is_its_own_page(studies, tmp_path):
    page = written(studies, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plotly.min.js", "report.html"]
    assert page.headings == [
        "chat",
        "Signals, best first",
        "Demand and signals over time",
        "Signals against demand",
        "What one replica bears",
        "Prefill replicas per decode replica",
        "The policy",
        "The policy, replayed",
        "Data quality",
        "Provenance",
    ]


def test_several_services_get_an_index_and_a_page_each(studies, tmp_path):
    index = written(
        studies, tmp_path, studies.make_service(), studies.make_bare_service(HOSTILE, "odd-3f")
    )
    assert {"report-chat.html", "report-odd-3f.html"} <= set(index.links)
    page = Page((tmp_path / "report-odd-3f.html").read_text("utf-8"))
    assert "report.html" in page.links


def test_the_verdict_comes_first_and_every_reason_is_told(studies, tmp_path):
    page = written(studies, tmp_path)
    service = studies.make_service()
    assert page.text.index(service.ranking.summary) < page.text.index("Signals, best first")
    for signal in service.ranking.signals:
        assert signal.reason in page.text


def test_every_number_stands_with_interval_n_days_method_and_status(studies, tmp_path):
    text = written(studies, tmp_path).text
    assert "0.98 [0.9702, 0.9898] ok 413 1 Spearman, lag-aligned" in text
    assert "– – unidentified – – not tested: replicas never changed." in text


def test_what_cannot_be_told_is_said_where_the_figure_would_be(studies, tmp_path):
    text = written(studies, tmp_path, studies.make_bare_service()).text
    assert "This does not apply here No objective is stated in study.toml" in text
    assert "There is no policy to follow No objective is stated" in text
    assert "This does not apply here The service is not disaggregated." in text


def test_no_page_links_to_the_network_and_every_script_carries_the_nonce(studies, tmp_path):
    page = written(studies, tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert not [link for link in page.links if "//" in link or link.startswith("data:")]
    nonce = re.search(r"script-src 'nonce-([0-9a-f]+)'", text).group(1)
    code = [script for script in page.scripts if script.get("type") != "application/json"]
    assert [script["nonce"] for script in code] == [nonce, nonce]


def test_a_page_of_a_day_at_ten_seconds_stays_within_its_bytes(studies, tmp_path):
    timeline = studies.make_timeline(steps=8640, step_seconds=10.0)
    written(studies, tmp_path, studies.make_service(timeline=timeline))
    assert (tmp_path / "report.html").stat().st_size < MOST_BYTES


def test_hostile_labels_are_text_everywhere(studies, tmp_path):
    service = studies.make_service(HOSTILE, "odd")
    signals = service.timeline.pools["decode"].signals
    evil = "x</script><script>alert(2)</script>"
    signals[evil] = type(signals["sm_activity_ratio"])(
        evil, "total", signals["waiting_requests"].values
    )
    ranked = service.ranking.signals[0]
    entry = type(ranked)("decode", evil, 1, False, "guard", HOSTILE, ranked.measures)
    ranking = type(service.ranking)(HOSTILE, (entry,), HOSTILE)
    page = written(studies, tmp_path, studies.make_service(HOSTILE, "odd", ranking=ranking))
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<script>alert" not in text
    assert "<!--" not in text
    assert '"><script>alert(1)</script>' in page.text


def test_where_the_policy_file_is_written_the_page_shows_and_links_that(studies, tmp_path):
    page = written(studies, tmp_path)
    assert "name: chat # <b>&" in page.text
    assert "policy/chat.yaml" not in page.links
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "chat.yaml").write_text("kept: from an earlier study\n")
    page = written(studies, tmp_path)
    assert "kept: from an earlier study" in page.text
    assert "policy/chat.yaml" in page.links


def test_the_same_study_gives_the_same_bytes(studies, tmp_path):
    first = write_report(studies.make_study(), tmp_path / "a").read_bytes()
    assert write_report(studies.make_study(), tmp_path / "b").read_bytes() == first


def test_a_failed_write_leaves_the_old_page_and_no_half_written_one(studies, tmp_path, monkeypatch):
    write_report(studies.make_study(), tmp_path)
    before = (tmp_path / "report.html").read_bytes()

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_report(studies.make_study(name="another"), tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plotly.min.js", "report.html"]
