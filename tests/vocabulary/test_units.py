import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalstudy.vocabulary.units import BASE_OF_SUFFIX, UNIT_OF_SUFFIX, to_base_unit, unit_of


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("decode_tokens_per_second", "tokens/s"),
        ("requests_per_second", "requests/s"),
        ("scale_events_per_second", "1/s"),
        ("ttft_p99_seconds", "seconds"),
        ("kv_cache_usage_ratio", "ratio"),
        ("gpu_power_watts", "watts"),
        ("inflight_tokens", "tokens"),
        ("something", ""),
        ("separatio", ""),
    ],
)
def test_a_name_ends_in_its_unit(name, unit):
    assert unit_of(name) == unit


@pytest.mark.parametrize(
    ("name", "base", "factor"),
    [
        ("ttft_p99_ms", "ttft_p99_seconds", 0.001),
        ("gpu_utilization_percent", "gpu_utilization_ratio", 0.01),
        ("queue_wait_us", "queue_wait_seconds", 1e-6),
        ("memory_mib", "memory_bytes", 1048576.0),
        ("ttft_p99_seconds", "ttft_p99_seconds", 1.0),
        ("ms", "ms", 1.0),
    ],
)
def test_strangers_units_become_those_of_record(name, base, factor):
    assert to_base_unit(name) == (base, factor)


@given(stem=st.from_regex(r"[a-z]{1,8}", fullmatch=True), suffix=st.sampled_from([*BASE_OF_SUFFIX]))
def test_a_converted_name_ends_in_a_unit_of_record_and_needs_no_further_one(stem, suffix):
    base, factor = to_base_unit(f"{stem}_{suffix}")
    assert unit_of(base) in UNIT_OF_SUFFIX.values()
    assert factor > 0
    assert to_base_unit(base) == (base, 1.0)
