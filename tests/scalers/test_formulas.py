"""What an exported file makes a scaler do, by the scaler's own formula, against policy.decide."""

from __future__ import annotations

import numpy as np
import pytest

from signalstudy.policy.decide import decide
from signalstudy.policy.rules import compile_policy
from signalstudy.policy.state import Observation, Reading, State
from signalstudy.scalers.export import SCALERS, export
from tests.scalers import documented
from tests.scalers.policies import GUARDS, guarded, policy, two_signals

DRAWS = 10_000
TOKENS, UNCACHED = "decode.decode_tokens_per_second", "prefill.prefill_uncached_tokens_per_second"
TTFT, TBT = "prefill.ttft_p99_seconds", "decode.tbt_p99_seconds"
BOUNDS = {"decode": (2, 40), "prefill": (2, 52)}


def draws(seed, rules, most_watched=0):
    """Draw fleets within their bounds, demand around, far above and far below them, and decide.

    Gives the replicas there are, what the signals say, and what the policy asks for, with
    cool-downs long past and up to `most_watched` replicas a pool out of service but running.
    """
    random = np.random.default_rng(seed)
    now = {
        pool: random.integers(*bounds, endpoint=True, size=DRAWS) for pool, bounds in BOUNDS.items()
    }
    spread = np.where(random.random(DRAWS) < 0.5, 1.0, random.lognormal(0.0, 0.7, DRAWS))
    values = {
        TOKENS: 1890.0 * now["decode"] * spread * random.uniform(0.7, 1.3, DRAWS),
        UNCACHED: 3100.0 * now["prefill"] * random.lognormal(0.0, 0.5, DRAWS),
        TTFT: random.choice([0.2, 1.1, 1.15, 1.3], DRAWS),
        TBT: random.choice([0.01, 0.044, 0.046, 0.06], DRAWS),
    }
    readings = {key: Reading(value) for key, value in values.items()}
    watched = {pool: random.integers(0, most_watched + 1, DRAWS) for pool in BOUNDS}
    asked = decide(rules, State(1e9, now, watched=watched), Observation(readings)).replicas
    for i in range(DRAWS):
        yield (
            {pool: int(replicas[i]) for pool, replicas in now.items()},
            {key: float(value[i]) for key, value in values.items()},
            {pool: int(replicas[i]) for pool, replicas in asked.items()},
        )


def modules(scaler, text):
    """Give the package's own reading of the file as a function of fleet and values."""
    manifest = SCALERS[scaler].read(text, "test")

    def decided(now, values):
        readings = {key: Reading(value) for key, value in values.items()}
        return SCALERS[scaler].decide(manifest, State(1e9, now), Observation(readings)).replicas

    return decided


def metrics(values):
    """Name the values as the exported files do, cluster-wide names included."""
    local = {key.replace(".", "_"): value for key, value in values.items()}
    return local | {f"chat_{name}": value for name, value in local.items()}


def is_driven_only(rules, now, values, pool):
    """Say whether a follower keeps still by itself while its driver acts: joint placement."""
    asks = values[TOKENS] / 1890.0
    driver, follower = asks / now["decode"], asks * 1.29 / now["prefill"]
    out, into = 1.0 + rules.scale_out_tolerance, 1.0 - rules.scale_in_tolerance
    is_driven = driver > out or driver < into
    moves_itself = follower > out or follower < into
    return pool == "prefill" and is_driven != moves_itself


@pytest.mark.parametrize(
    ("scaler", "kind", "formula"),
    [
        ("hpa", "HorizontalPodAutoscaler", documented.hpa),
        ("keda", "ScaledObject", documented.keda),
        ("aibrix", "PodAutoscaler", documented.aibrix),
    ],
)
@pytest.mark.parametrize("made", [policy, two_signals], ids=["one_driver", "two_signals"])
def test_a_total_bounds_tolerances_steps_and_the_ratio_give_what_the_policy_decides(
    scaler, kind, formula, made
):
    whole = made()
    text, rules = export(whole, scaler), compile_policy(whole)
    by_name, own = documented.objects(text, kind), modules(scaler, text)
    compared = 0
    for number, (now, values, wanted) in enumerate(draws(1, rules)):
        read = own(now, values) if number % 10 == 0 else None
        for pool, document in by_name.items():
            plain = formula(document, now[pool], metrics(values))
            assert read is None or plain == read[pool], (pool, now, values)
            if made is two_signals or not is_driven_only(rules, now, values, pool):
                compared += 1
                assert plain == wanted[pool], (pool, now, values)
    assert compared > 1.5 * DRAWS


@pytest.mark.parametrize("made", [guarded, lambda: two_signals(guards=GUARDS)],
                         ids=["one_driver", "two_signals"])  # fmt: skip
def test_kedas_formula_holds_every_guard_of_the_policy(made):
    whole = made()
    text, rules = export(whole, "keda"), compile_policy(whole)
    by_name, own = documented.objects(text, "ScaledObject"), modules("keda", text)
    raised = 0
    for number, (now, values, wanted) in enumerate(draws(2, rules)):
        read = own(now, values) if number % 10 == 0 else None
        for pool, document in by_name.items():
            plain = documented.keda(document, now[pool], metrics(values))
            assert read is None or plain == read[pool]
            if rules.band is not None or not is_driven_only(rules, now, values, pool):
                assert plain == wanted[pool], (pool, now, values)
                raised += plain > now[pool]
    assert raised > DRAWS / 4


@pytest.mark.parametrize("made", [policy, two_signals], ids=["one_driver", "two_signals"])
def test_kthena_sizes_both_roles_as_the_policy_does_its_ratio_included(made):
    whole = made()
    whole.document["spec"]["proportional"]["scaleInTolerance"] = 0.1  # it knows one tolerance
    for section in whole.document["spec"]["pools"].values():
        # Steps come before the repair of the ratio there, and are rounded down.
        section["scaleOut"]["maxStepRatio"], section["scaleIn"]["maxStepRatio"] = 100.0, 1.0
    text, rules = export(whole, "kthena"), compile_policy(whole)
    (document,) = documented.objects(text, "AutoscalingPolicy").values()
    own = modules("kthena", text)
    compared = repaired = 0
    for number, (now, values, wanted) in enumerate(draws(3, rules)):
        plain = documented.kthena(document, now, metrics(values))
        assert number % 10 or plain == own(now, values)
        if made is policy and is_driven_only(rules, now, values, "prefill"):
            continue
        compared += 1
        if plain != wanted:
            repaired += 1
            # A pool that its tolerance left alone is off the band: the policy lets that stand,
            # Kthena raises the one that is short.
            assert any(wanted[pool] == now[pool] for pool in now), (now, values)
            assert all(plain[pool] >= wanted[pool] for pool in plain)
    assert compared > 0.7 * DRAWS
    assert repaired < 0.01 * compared


def test_kthena_limits_a_step_as_documented():
    whole = policy(ratio={"prefillPerDecode": 1.29, "min": 0.01, "max": 100.0})
    whole.document["spec"]["proportional"]["scaleInTolerance"] = 0.1
    text, rules = export(whole, "kthena"), compile_policy(whole)
    (document,) = documented.objects(text, "AutoscalingPolicy").values()
    own = modules("kthena", text)
    rounded = 0
    for number, (now, values, wanted) in enumerate(draws(3, rules)):
        read = own(now, values) if number % 10 == 0 else None
        plain = documented.kthena(document, now, metrics(values))
        assert read is None or plain == read
        for pool, replicas in plain.items():
            if is_driven_only(rules, now, values, pool):
                continue
            if now[pool] - wanted[pool] == -(-now[pool] // 10) and replicas == wanted[pool] + 1:
                rounded += 1  # Kthena rounds a limited step down, the policy up
                assert now[pool] - replicas == max(1, now[pool] // 10)
            else:
                assert replicas == wanted[pool], (pool, now, values)
    assert 0 < rounded < DRAWS


def test_a_scaler_without_soft_scale_in_differs_where_its_file_says_so_and_nowhere_else():
    whole = policy()
    text, rules = export(whole, "hpa"), compile_policy(whole)
    assert "NOT EXPRESSED: soft scale-in (observationSeconds)" in text
    by_name = documented.objects(text, "HorizontalPodAutoscaler")
    beyond = 0
    for now, values, wanted in draws(4, rules, most_watched=5):
        for pool, document in by_name.items():
            if is_driven_only(rules, now, values, pool):
                continue
            plain = documented.hpa(document, now[pool], metrics(values))
            more = wanted[pool] - plain
            assert 0 <= more <= 5
            beyond += more > 0
            # Only a step that the file limits can be wider: what is watched is past the limit.
            assert not more or plain == 2 * now[pool]
    assert beyond > 50
