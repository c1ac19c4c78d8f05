"""study.toml: what is allowed, and one sentence for all else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from signalstudy.config import read_config
from signalstudy.vocabulary.errors import ConfigurationError
from signalstudy.vocabulary.objectives import Objective

if TYPE_CHECKING:
    from pathlib import Path

    from signalstudy.config import StudyConfig

SMALLEST = '[study]\nname = "chat"\n[[sources]]\nkind = "table"\npath = "a.csv"\n'


def config_of(folder: Path, text: str) -> StudyConfig:
    file = folder / "study.toml"
    file.write_text(text)
    return read_config(file)


def test_a_name_and_one_source_are_enough(tmp_path):
    config = config_of(tmp_path, SMALLEST)
    assert config.study.seed == 0
    assert config.sources[0].role == "production"
    assert config.sources[0].path == str(tmp_path / "a.csv")
    assert config.objectives_of("chat") == ()


def test_the_example_of_the_contract_is_read(tmp_path):
    config = config_of(
        tmp_path,
        """
        sources = [{ kind = "tsdb-dump", path = "/data/dump.txt.xz", role = "pressure-test" }]
        [study]
        name = "chat"
        seed = 7
        step_seconds = 15
        [labels]
        service = ["namespace", "model_name"]
        pool = "pool"
        [labels.pools]
        prefill = { job = "vllm-prefill.*" }
        [[objectives]]
        signal = "ttft"
        quantile = 0.99
        at_most_seconds = 1.0
        service = "chat.*"
        [provisioning]
        startup_seconds = 120
        gpus_per_replica = { prefill = 2, decode = 4 }
        [policy.pools.decode]
        min_replicas = 2
        max_replicas = 40
        target = { api_version = "apps/v1", kind = "Deployment", name = "d", namespace = "llm" }
        [[exclude]]
        start = 2026-01-05T03:00:00Z
        end = 2026-01-05T04:00:00+02:00
        reason = "outage"
        """.replace("04:00:00+02:00", "06:00:00+02:00"),
    )
    assert config.sources[0].path == "/data/dump.txt.xz"
    assert config.labels.pool == ("pool",)
    assert config.objectives_of("chat-v2") == (Objective("ttft", 0.99, 1.0),)
    assert config.objectives_of("code") == ()
    assert config.provisioning.gpus_of("decode") == 4
    assert config.provisioning.gpus_of("unified") is None
    assert config.exclude[0].end == datetime(2026, 1, 5, 4, tzinfo=UTC)


def test_one_number_of_gpus_holds_for_every_pool(tmp_path):
    config = config_of(tmp_path, SMALLEST + "[provisioning]\ngpus_per_replica = 2\n")
    assert config.provisioning.gpus_of("prefill") == 2


def test_times_without_zone_are_utc(tmp_path):
    span = '[[exclude]]\nstart = 2026-01-05T03:00:00\nend = "2026-01-05T04:00:00"\n'
    [exclusion] = config_of(tmp_path, SMALLEST + span).exclude
    assert exclusion.start == datetime(2026, 1, 5, 3, tzinfo=UTC)
    assert exclusion.end == datetime(2026, 1, 5, 4, tzinfo=UTC)


OBJECTIVE = "[[objectives]]\nsignal = {}\nquantile = {}\nat_most_seconds = {}\n"
WRONG = {
    "no TOML": ("[study\n", ("study.toml: not valid TOML", "line 1")),
    "nothing": ("", ("there is no [study] with a name",)),
    "no source": ('[study]\nname = "a"\n', ("there is no [[sources]]", "table, requests, points")),
    "no name": ('[study]\n[[sources]]\nkind = "table"\npath = "a"\n', ("[study]", "'name'")),
    "an empty name": (SMALLEST.replace('"chat"', '""'), ("[study]", "name")),
    "a number as name": (SMALLEST.replace('"chat"', "3"), ("[study]", "name", "3")),
    "an unknown section": (SMALLEST + "[stuff]\na = 1\n", ("unknown key 'stuff'", "objectives")),
    "an unknown key": (
        SMALLEST + '[[objectives]]\nsignal = "ttft"\nquantile = 0.9\nat_most = 1\n',
        ("[[objectives]] 1", "at_most"),
    ),
    "a slip in a key": (
        SMALLEST.replace("path =", "paht ="),
        ("[[sources]] 1", "'paht'", "Did you mean 'path'"),
    ),
    "an unknown kind": (
        SMALLEST.replace('"table"', '"tabel"'),
        ("[[sources]] 1", "unknown kind 'tabel'", "Did you mean 'table'"),
    ),
    "a source that is text": ('sources = "a.csv"\n[study]\nname = "a"\n', ("[[sources]] tables",)),
    "no sources in the list": ('sources = []\n[study]\nname = "a"\n', ("sources",)),
    "an unknown signal": (
        SMALLEST + OBJECTIVE.format('"tfft"', 0.9, 1),
        ("[[objectives]] 1", "unknown signal 'tfft'", "Did you mean 'ttft'", "e2e, tbt, ttft"),
    ),
    "a percentile for a quantile": (
        SMALLEST + OBJECTIVE.format('"ttft"', 99, 1),
        ("[[objectives]] 1", "quantile", "p99 is 0.99"),
    ),
    "a slip in a pool": (
        SMALLEST + "[provisioning]\ngpus_per_replica = { prefil = 2 }\n",
        ("[provisioning]", "a number above 0, or one a pool: { prefill = 2, decode = 4 }"),
    ),
    "an endless limit": (SMALLEST + OBJECTIVE.format('"ttft"', 0.9, "inf"), ("at_most_seconds",)),
    "a limit of nothing": (SMALLEST + OBJECTIVE.format('"ttft"', 0.9, 0), ("at_most_seconds",)),
    "a NaN for a limit": (SMALLEST + OBJECTIVE.format('"ttft"', 0.9, "nan"), ("at_most_seconds",)),
    "a broken expression": (
        SMALLEST + '[labels.pools]\nprefill = { job = "(" }\n',
        ("labels.pools", "no regular expression"),
    ),
    "an unknown pool": (SMALLEST + '[labels.pools]\nrouter = { job = "a" }\n', ("labels.pools",)),
    "bounds that cross": (
        SMALLEST + "[policy.pools.decode]\nmin_replicas = 5\nmax_replicas = 2\n",
        ("policy.pools.decode", "min_replicas 5 is above max_replicas 2"),
    ),
    "a span that ends before it starts": (
        SMALLEST + "[[exclude]]\nstart = 2026-01-05T03:00:00Z\nend = 2026-01-05T02:00:00Z\n",
        ("[[exclude]] 1", "end is not after start"),
    ),
    "a word for a time": (
        SMALLEST + '[[exclude]]\nstart = "noon"\nend = 2026-01-05T02:00:00Z\n',
        ("[[exclude]] 1", "start", "noon"),
    ),
    "a signal without a metric": (
        SMALLEST + '[[signals]]\nname = "a"\n',
        ("[[signals]] 1", "name the metric"),
    ),
    "a signal with a strange name": (
        SMALLEST + '[[signals]]\nname = "A b"\nmetric = "x"\n',
        ("[[signals]] 1", "name", "A b"),
    ),
    "a negative step": (SMALLEST.replace('"chat"', '"chat"\nstep_seconds = -1'), ("step_seconds",)),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_line_with_its_place(tmp_path, case):
    text, words = WRONG[case]
    with pytest.raises(ConfigurationError) as caught:
        config_of(tmp_path, text)
    message = str(caught.value)
    assert message.startswith("study.toml") or case == "no TOML"
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert "pydantic" not in message


def test_a_missing_file_is_named_with_the_way_out(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: there is no such file.*demo"):
        read_config(tmp_path / "nowhere.toml")


def test_a_folder_or_bytes_for_a_file_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read as text"):
        read_config(tmp_path)
    (tmp_path / "study.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read as text"):
        read_config(tmp_path / "study.toml")


def test_nothing_changes_after_reading(tmp_path):
    config = config_of(tmp_path, SMALLEST)
    with pytest.raises(ValueError, match="frozen"):
        config.study.seed = 3  # type: ignore[misc]
