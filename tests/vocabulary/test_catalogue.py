"""The catalogue against the exposition texts and the list of names beside the project."""

import re
from pathlib import Path

import pytest

from signalstudy.vocabulary.signals import find_source, metric_type, source_metrics

pytestmark = pytest.mark.recordings

SHARED = Path(__file__).resolve().parents[3] / "shared"
DUMPS = SHARED / "data" / "metrics_dumps"
NAMES = SHARED / "metrics" / "metric_names.json"


def families(path):
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, flags=re.MULTILINE))


def dumps():
    found = sorted(DUMPS.glob("*/**/*.prom"))
    if not found:
        pytest.skip("the exposition texts of shared/data/metrics_dumps are not here")
    return found


def test_every_family_of_the_dumps_that_we_know_has_its_type():
    for path in dumps():
        for name, type_ in families(path).items():
            if known := metric_type(name):
                assert known == type_, f"{path.name}: {name}"


GAUGES = {"running_requests", "waiting_requests", "kv_cache_usage_ratio"}
EVERY_ENGINE = GAUGES | {"prefill_tokens", "decode_tokens"}
LATENCIES = {"ttft", "tbt", "queue_wait"}
LENGTHS = {f"{kind}_tokens_per_request" for kind in ("prompt", "uncached_prompt", "output")}
COUNTS = {"finished_requests", "aborted_requests", "preemptions"}
VLLM_V1 = (
    EVERY_ENGINE
    | {"prefill_uncached_tokens", "prompt_tokens_cached"}
    | {"prefix_cache_queries", "prefix_cache_hits", "e2e"}
    | COUNTS
    | LATENCIES
    | LENGTHS
)
VLLM_EARLY = EVERY_ENGINE | COUNTS | {"prefix_cache_hit_ratio"}
SGLANG_PARTLY = EVERY_ENGINE | LATENCIES | {"prefix_cache_hit_ratio", "decode_tokens_per_second"}
SGLANG = (
    SGLANG_PARTLY | COUNTS | LENGTHS | {"prefill_uncached_tokens", "prompt_tokens_cached", "e2e"}
)


@pytest.mark.parametrize(
    ("dump", "expected"),
    [
        ("captured/vllm_v1_qwen3-30b_real.prom", VLLM_V1),
        ("captured/vllm_0.7-v1_qwen2.5-coder_excerpt_aibrix_doc.prom", VLLM_EARLY),
        ("captured/sglang_0.5.10_datadog_fixture.prom", SGLANG_PARTLY),
        ("definitional/vllm_0.33.0_zero_valued.prom", VLLM_V1),
        ("definitional/sglang_0.5.23_zero_valued.prom", SGLANG),
    ],
)
def test_a_dump_yields_what_its_engine_tells(dump, expected):
    dumps()
    told = {source.yields for name in families(DUMPS / dump) for source in find_source(name)}
    assert told == expected


def test_the_catalogue_and_the_list_of_names_agree_on_types():
    if not NAMES.exists():
        pytest.skip("shared/metrics/metric_names.json is not here")
    rows = re.findall(
        r'"metric": "([^"]+)", "type": "(gauge|counter|histogram)"',
        NAMES.read_text(encoding="utf-8"),
    )
    assert len(rows) > 400
    for name, type_ in rows:
        if known := metric_type(name):
            assert known == type_, name


def test_every_prefixed_name_of_the_catalogue_is_one_that_its_project_has():
    if not NAMES.exists():
        pytest.skip("shared/metrics/metric_names.json is not here")
    text = NAMES.read_text(encoding="utf-8")
    listed = set(re.findall(r'"metric": "([^"]+)"', text))
    # in the notes or the signal map of the list only, or of projects that it does not cover
    elsewhere = re.compile(
        r"kube_.*|wva_.*|dynamo_(frontend|component)_.*|vllm:avg_.*|llm_d_epp_(inflight|flow_control)_.*"
    )
    for source in source_metrics():
        assert source.name in listed or elsewhere.fullmatch(source.name), source.name
