"""The files hold what was generated, in the columns of the contract."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from signalstudy.synthetic.generate import generate_service
from signalstudy.synthetic.service import ServiceSpec
from signalstudy.synthetic.write import write_table

SPEC = ServiceSpec(name='planted "one"', days=0.1, replica_plan="autoscaled")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    service = generate_service(SPEC, seed=2)
    path = write_table(service, tmp_path_factory.mktemp("planted"))
    return service, path


def test_the_study_names_its_sources_and_objectives(written):
    _, path = written
    study = tomllib.loads(path.read_text(encoding="utf-8"))
    assert study["study"]["name"] == SPEC.name
    assert [source["kind"] for source in study["sources"]] == ["table", "requests"]
    assert all((path.parent / source["path"]).exists() for source in study["sources"])
    limits = {o["signal"]: (o["quantile"], o["at_most_seconds"]) for o in study["objectives"]}
    assert limits == {"ttft": (0.99, 1.0), "tbt": (0.99, 0.05)}


def test_the_wide_table_adds_up_to_the_pools(written):
    service, path = written
    table = pl.read_parquet(path.parent / "telemetry.parquet")
    assert table.columns[:4] == ["timestamp", "service", "pool", "replica"]
    assert table.schema["timestamp"] == pl.Datetime("us", "UTC")
    decode = table.filter(pl.col("pool") == "decode")
    totals = (
        decode.filter(pl.col("replica").is_not_null())
        .group_by("timestamp", maintain_order=True)
        .agg(pl.col("decode_tokens_per_second").sum(), pl.len())
    )
    pool = service.pools["decode"]
    recorded = np.nansum(pool.replica_signals["decode_tokens_per_second"], axis=1)
    np.testing.assert_allclose(totals["decode_tokens_per_second"].to_numpy(), recorded)
    np.testing.assert_array_equal(totals["len"].to_numpy(), pool.replicas)
    of_pool = decode.filter(pl.col("replica").is_null())
    np.testing.assert_array_equal(of_pool["ready_replicas"].to_numpy(), pool.replicas)
    seconds = of_pool["timestamp"].dt.epoch("us").to_numpy() / 1e6
    np.testing.assert_allclose(seconds, service.time_seconds)


def test_the_table_holds_no_nan(written):
    _, path = written
    table = pl.read_parquet(path.parent / "telemetry.parquet")
    floats = table.select(pl.selectors.float())
    assert floats.select(pl.all().is_nan().any()).row(0).count(True) == 0


def test_the_request_log_holds_every_request(written):
    service, path = written
    log = pl.read_parquet(path.parent / "requests.parquet")
    requests = service.requests
    assert log.height == requests.arrived_seconds.size
    assert log["arrived_at"].is_sorted()
    np.testing.assert_array_equal(log["output_tokens"].to_numpy(), requests.output_tokens)
    np.testing.assert_allclose(
        log["e2e_seconds"].to_numpy(),
        log["ttft_seconds"].to_numpy()
        + (log["output_tokens"].to_numpy() - 1) * log["tbt_seconds"].to_numpy(),
    )


def test_completions_of_independent_noise_are_not_given_away(tmp_path):
    noise = generate_service(replace(SPEC, days=0.02, independent_noise=True), seed=1)
    write_table(noise, tmp_path)
    assert "e2e_seconds" not in pl.read_parquet(tmp_path / "requests.parquet").columns
