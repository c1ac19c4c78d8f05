"""Twin of timeline/hardware.py: a pool of two GPU types whose knees are planted, end to end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import yaml
from scipy.special import expit

from signalstudy.study.run import run_study
from signalstudy.study.summary import summarise
from signalstudy.study.write import write_study

KNEES = {"H100": 2000.0, "L20": 800.0}
REPLICAS = {"a-0": "H100", "a-1": "H100", "b-0": "L20", "b-1": "L20", "b-2": "L20"}
STEP_SECONDS, STEPS = 30, 24 * 120
START = datetime(2026, 1, 5, tzinfo=UTC)
STUDY = """
[study]
name = "mixed"
[[sources]]
kind = "table"
path = "*.parquet"
[[objectives]]
signal = "tbt"
quantile = 0.95
at_most_seconds = 0.05
"""


def rows_of(name, metric, values, *, le=None):
    return pl.DataFrame({
        "timestamp": [START + timedelta(seconds=STEP_SECONDS * i) for i in range(values.size)],
        "service": "mixed", "pool": "unified", "replica": name, "hardware": REPLICAS[name],
        "metric": metric, "le": le, "value": values,
    }, schema_overrides={"le": pl.String})  # fmt: skip


def write_mixed(folder, *, hardware=True):
    """Give every replica work in proportion to its knee, up to 1.3 times the knee at noon."""
    rng = np.random.default_rng(3)
    day = 0.7 - 0.6 * np.cos(2 * np.pi * np.arange(STEPS) / STEPS)
    frames, offered = [], np.zeros(STEPS)
    for name, kind in REPLICAS.items():
        share = day * np.exp(0.04 * rng.standard_normal(STEPS))
        tokens = share * KNEES[kind] * STEP_SECONDS
        requests = rng.poisson(tokens / 100.0)
        late = rng.binomial(requests, expit(np.log(0.05 / 0.95) + 25.0 * (share - 1.0)))
        offered += tokens / STEP_SECONDS * np.exp(0.03 * rng.standard_normal(STEPS))
        histogram = "vllm:time_per_output_token_seconds_bucket"
        frames.append(rows_of(name, "vllm:generation_tokens_total", np.cumsum(tokens)))
        for le, counts in (("0.05", requests - late), ("+Inf", requests)):
            frames.append(rows_of(name, histogram, np.cumsum(counts).astype(float), le=le))
    demand = rows_of("a-0", "offered_decode_tokens_per_second", offered).with_columns(
        replica=pl.lit(None, dtype=pl.String), hardware=pl.lit(None, dtype=pl.String)
    )
    table = pl.concat([*frames, demand])
    table = table if hardware else table.drop("hardware")
    table.write_parquet(folder / "telemetry.parquet")
    path = folder / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    study = run_study(write_mixed(folder), out=folder / "out")
    write_study(study, folder / "out")
    return study, folder / "out"


def test_each_gpu_type_has_a_capacity_of_its_own(mixed):
    threshold = mixed[0].services["mixed"].threshold
    found = {one.hardware: one for one in threshold.by_hardware}
    assert sorted(found) == ["H100", "L20"]
    for kind, one in found.items():
        assert one.per_replica.status == "ok"
        assert one.per_replica.value == pytest.approx(KNEES[kind], rel=0.03)
        assert 0.9 * KNEES[kind] < one.per_replica.low <= 1.01 * KNEES[kind]
        assert one.replicas == pytest.approx(list(REPLICAS.values()).count(kind), abs=0.1)
        assert one.target.value < one.per_replica.low
    assert found["L20"].per_replica.high < threshold.per_replica.low
    assert threshold.per_replica.high < found["H100"].per_replica.low


def test_study_json_and_policy_say_so(mixed):
    study, folder = mixed
    [service] = summarise(study)["services"]
    assert {one["hardware"] for one in service["threshold"]["by_hardware"]} == set(KNEES)
    policy = yaml.safe_load((folder / "policy" / "mixed.yaml").read_text())
    told = policy["spec"]["proportional"]["targetPerReplica"]["byHardware"]
    assert [one["hardware"] for one in told] == ["H100", "L20"]
    assert told[0]["value"] > policy["spec"]["proportional"]["targetPerReplica"]["value"]
    assert told[0]["value"] > told[1]["value"]


def test_where_nobody_names_the_hardware_there_is_one_number(tmp_path):
    study = run_study(write_mixed(tmp_path, hardware=False), out=tmp_path / "out")
    assert study.services["mixed"].threshold.by_hardware == ()
