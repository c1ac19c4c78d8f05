"""The real promtool reads, checks and evaluates the exported rules."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest
import yaml

from signalstudy.policy.decide import decide
from signalstudy.policy.rules import compile_policy
from signalstudy.policy.state import Observation, Reading, State
from signalstudy.scalers.export import export
from tests.scalers.policies import TBT_QUERY, guarded, policy, two_signals, unified

CASES = 24


@pytest.fixture(scope="module")
def promtool():
    found = shutil.which("promtool")
    if found is None:
        assert os.environ.get("CI") != "true", "CI has to have promtool"
        pytest.skip("promtool is not installed: the rules are not judged by the real one")
    return found


def run(promtool, *arguments):
    done = subprocess.run(
        [promtool, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def without_steps(made):
    """Let a pool go anywhere in one step, as the shadow does."""
    for section in made.document["spec"]["pools"].values():
        section["scaleIn"]["maxStepRatio"] = 1.0
        section["scaleOut"]["maxStepRatio"] = 100.0
    return made


POLICIES = {
    "one_driver": lambda: without_steps(policy()),
    "guarded": lambda: without_steps(guarded()),
    "two_signals": lambda: without_steps(two_signals()),
    "intensive": lambda: without_steps(
        unified("gpu_utilization_ratio", 0.6, 'avg(gpu{job="vllm-decode"})', "intensive")
    ),
}
GAUGES = {  # what each signal's query is replaced by, so that a test can set it
    "decode.decode_tokens_per_second": 'sum(tokens{job="vllm-decode"})',
    "prefill.prefill_uncached_tokens_per_second": 'sum(uncached{job="vllm-prefill"})',
    "prefill.ttft_p99_seconds": 'max(ttft{job="gateway"})',
    "decode.tbt_p99_seconds": 'max(tbt{job="vllm-decode"})',
    "unified.gpu_utilization_ratio": 'avg(gpu{job="vllm-decode"})',
}
SCALES = {"tokens": 1890.0 * 12, "uncached": 3100.0 * 15, "ttft": 1.0, "tbt": 0.04, "gpu": 0.5}


def keys_of(made):
    spec = made.document["spec"]
    keys = {f"{spec['signal']['perReplicaOf']}.{spec['signal']['name']}"}
    keys |= {f"{p}.{s['signal']['name']}" for p, s in spec["pools"].items() if "signal" in s}
    return sorted(keys | {f"{g['pool']}.{g['signal']}" for g in spec.get("guards", [])})


@pytest.mark.parametrize("name", POLICIES)
def test_promtool_accepts_the_rules(promtool, tmp_path, name):
    rules = tmp_path / "rules.yaml"
    rules.write_text(export(POLICIES[name](), "prometheus-rules"), encoding="utf-8")
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", rules)


def test_promtool_accepts_rules_of_pools_whose_replicas_are_not_known(promtool, tmp_path):
    made = guarded()
    for section in made.document["spec"]["pools"].values():
        del section["targetRef"]
    rules = tmp_path / "rules.yaml"
    rules.write_text(export(made, "prometheus-rules"), encoding="utf-8")
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", rules)


@pytest.mark.parametrize("name", POLICIES)
def test_the_shadow_is_the_policys_decision_without_cooldowns_and_steps(promtool, tmp_path, name):
    made = POLICIES[name]()
    keys = keys_of(made)
    pools = made.document["spec"]["pools"]
    queries = {key: GAUGES[key] for key in keys}
    queries |= {f"{pool}.replicas": f'fleet{{of="{pool}"}}' for pool in pools}
    rules = tmp_path / "rules.yaml"
    rules.write_text(export(made, "prometheus-rules", queries), encoding="utf-8")
    random = np.random.default_rng(5)
    tests = [_case(made, keys, pools, random, missing=number % 4 == 3) for number in range(CASES)]
    trial = tmp_path / "test.yaml"
    trial.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": tests}))
    run(promtool, "test", "rules", trial)


def _case(made, keys, pools, random, *, missing):
    """Plant one state of the world, a signal missing in some, and what the policy makes of it."""
    metrics = {key: GAUGES[key].split("(")[1].split("{") for key in keys}
    values = {
        key: float(np.round(SCALES[metric] * random.lognormal(0.0, 0.5), 4))
        for key, (metric, _) in metrics.items()
    }
    lost = str(random.choice(keys)) if missing else None
    fleet = {pool: int(random.integers(2, 40)) for pool in pools}
    series = [{"series": f'fleet{{of="{pool}"}}', "values": f"{n}x4"} for pool, n in fleet.items()]
    for key, (metric, rest) in metrics.items():
        job = rest.rstrip(")")
        state = "0x4" if key == lost else "1x4"
        series.append({"series": f'up{{{job[:-1]},key="{key}"}}', "values": state})
        if key != lost:
            series.append({"series": f"{metric}{{{job}", "values": f"{values[key]}x4"})
    seen = {key: Reading(value) for key, value in values.items() if key != lost}
    jobs = {key: rest for key, (_, rest) in metrics.items()}
    if lost and any(key != lost and jobs[key] == jobs[lost] for key in keys):
        seen[lost] = Reading(0.0)  # another signal's series keep its target up: nothing happened
    decision = decide(compile_policy(made), State(1e9, fleet), Observation(seen))
    expected = [
        {
            "labels": f'signalstudy:desired_replicas{{policy="chat",pool="{pool}"}}',
            "value": replicas,
        }
        for pool, replicas in decision.replicas.items()
    ]
    check = {"expr": "signalstudy:desired_replicas", "eval_time": "2m", "exp_samples": expected}
    return {"interval": "1m", "input_series": series, "promql_expr_test": [check]}


def alert_names(rules, series, at):
    """Build a promtool test that says which alerts fire at a time."""
    return {"interval": "1m", "input_series": series, "alert_rule_test": [
        {"eval_time": at, "alertname": name, "exp_alerts": alerts} for name, alerts in rules.items()
    ]}  # fmt: skip


def test_alerts_fire_on_drift_on_a_lost_signal_and_past_the_date_and_are_silent_before(
    promtool, tmp_path
):
    made = policy()
    made.document["metadata"]["validUntil"] = "1970-01-01T01:00:00Z"  # promtool starts at 0
    given = {"decode.replicas": "decode_fleet", "prefill.replicas": "prefill_fleet"}
    rules = tmp_path / "rules.yaml"
    rules.write_text(export(made, "prometheus-rules", given), encoding="utf-8")
    told = yaml.safe_load(rules.read_text())["groups"][0]["rules"]
    summary = {rule["alert"]: rule["annotations"] for rule in told if "alert" in rule}

    def fires(name, **labels):
        labels = {"policy": "chat", "severity": "warning", **labels}
        return [{"exp_labels": labels, "exp_annotations": summary[name]}]

    tokens = 'vllm:generation_tokens_total{job="vllm-decode",service="chat"}'
    healthy = [
        {"series": 'up{job="vllm-decode"}', "values": "1x90"},
        {"series": tokens, "values": "0+100x90"},
        {"series": "decode_fleet", "values": "10x90"},
        {"series": "prefill_fleet", "values": "13x90"},
    ]
    broken = [
        {"series": 'up{job="vllm-decode"}', "values": "1x10 0x80"},
        {"series": tokens, "values": "0+100x10"},
        {"series": "decode_fleet", "values": "10x90"},
        {"series": "prefill_fleet", "values": "8x90"},
    ]
    stale, drift, expired = (
        "SignalstudySignalStale",
        "SignalstudyRatioDrift",
        "SignalstudyPolicyExpired",
    )
    tests = [
        alert_names({stale: [], drift: [], expired: []}, healthy, "50m"),
        alert_names({stale: [], drift: []}, broken, "9m"),
        alert_names(
            {
                stale: fires(stale, pool="decode", signal="decode_decode_tokens_per_second"),
                drift: fires(drift),
                expired: fires(expired),
            },
            broken,
            "70m",
        ),
    ]
    trial = tmp_path / "test.yaml"
    trial.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": tests}))
    run(promtool, "test", "rules", trial)


def test_a_signal_is_zero_without_traffic_and_absent_in_an_outage(promtool, tmp_path):
    made = policy()
    rules = tmp_path / "rules.yaml"
    rules.write_text(export(made, "prometheus-rules"), encoding="utf-8")
    tokens = 'vllm:generation_tokens_total{job="vllm-decode",service="chat"}'
    record = 'signalstudy:decode_tokens_per_second{policy="chat",pool="decode"}'
    series = [
        # up without traffic, then with it, then down: the range still holds samples for a minute
        {"series": 'up{job="vllm-decode"}', "values": "1x80 0x80"},
        {"series": tokens, "values": "_x40 0+375x40"},
    ]
    at = {"5m": [0.0], "18m": [25.0], "21m15s": [], "30m": []}
    checks = [
        {
            "expr": record,
            "eval_time": when,
            "exp_samples": [{"labels": record, "value": value} for value in values],
        }
        for when, values in at.items()
    ]
    trial = tmp_path / "test.yaml"
    test = {"interval": "15s", "input_series": series, "promql_expr_test": checks}
    whole = {"rule_files": [str(rules)], "evaluation_interval": "15s", "tests": [test]}
    trial.write_text(yaml.safe_dump(whole))
    run(promtool, "test", "rules", trial)


def test_a_latency_of_no_requests_is_zero_not_nan(promtool, tmp_path):
    made = unified("decode_tokens_per_second", 1890.0, 'sum(x{job="a"})')
    made.document["spec"]["guards"] = [
        {
            "signal": "tbt_p99_seconds",
            "pool": "unified",
            "windowSeconds": 60,
            "promql": TBT_QUERY.replace("[1m]", "[5m]"),
            "tiers": [{"above": 0.044, "scaleOutRatio": 0.1}],
        }
    ]
    rules = tmp_path / "rules.yaml"
    rules.write_text(export(made, "prometheus-rules"), encoding="utf-8")
    bucket = 'vllm:time_per_output_token_seconds_bucket{job="vllm-decode",le='
    series = [
        {"series": 'up{job="vllm-decode"}', "values": "1x20"},
        {"series": f'{bucket}"0.025"}}', "values": "7x20"},
        {"series": f'{bucket}"+Inf"}}', "values": "9x20"},
    ]
    record = 'signalstudy:tbt_p99_seconds{policy="chat",pool="unified"}'
    check = {
        "expr": record,
        "eval_time": "15m",
        "exp_samples": [{"labels": record, "value": 0.0}],
    }
    trial = tmp_path / "test.yaml"
    trial.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(rules)],
                "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [check]}],
            }
        )
    )
    run(promtool, "test", "rules", trial)
