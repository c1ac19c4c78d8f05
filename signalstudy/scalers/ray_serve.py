"""Ray Serve autoscaling_config: ongoing requests, the only signal it scales on by itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from signalstudy.scalers.manifest import (
    Manifest,
    current_replicas,
    decision,
    manifest_yaml,
    plain_number,
    pool_step,
    read_manifest,
    reading,
)
from signalstudy.scalers.plan import plan
from signalstudy.scalers.said import RATIO, what_is_left_out
from signalstudy.threshold.planner import ONGOING as KNOWN
from signalstudy.vocabulary.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from signalstudy.policy.policy import Policy
    from signalstudy.policy.state import Decision, Observation, PoolStep, State
    from signalstudy.scalers.plan import PoolPlan

ONGOING = "running_requests"
"""The canonical signal that is Ray Serve's own: requests a replica is working on."""
LEAST_LOOK_BACK_SECONDS = 10
DEFAULT_TARGET = 2.0
DELAYS = {True: ("upscale_delay_s", 30.0), False: ("downscale_delay_s", 600.0)}
"""Outwards and inwards: the key, and what holds where it is not there."""


def write(policy: Policy) -> str:
    """Write a Serve configuration with one deployment per pool, or say why there can be none."""
    whole = plan(policy)
    told = {one["number"]: one for one in policy.document["spec"].get("evidence", [])}
    targets, how = {}, []
    for pool in whole.pools:
        number = KNOWN.format(pool.pool)
        if pool.key.partition(".")[2] == ONGOING:
            targets[pool.pool] = pool.target
        elif told.get(number, {}).get("value"):
            targets[pool.pool] = float(told[number]["value"])
            how.append(f"{pool.pool}, target_ongoing_requests: {told[number].get('method', '')}")
        else:
            why = told.get(number, {}).get("note", "")
            raise ExportError(
                f"ray-serve scales on ongoing requests only, and this policy follows {pool.key}: "
                f"how many requests a replica of {pool.pool} works on at its target is not in it. "
                f"{why} Run the study on data that hold {ONGOING}, or scale Ray with KEDA or a "
                "policy function of your own.".replace("  ", " ")
            )
    deployments = [_deployment(pool, targets[pool.pool]) for pool in whole.pools]
    document = {
        "applications": [{"name": whole.name, "import_path": "app:app", "deployments": deployments}]
    }
    sentences = [
        "import_path is an example: put your application in.",
        *what_is_left_out(whole, can={RATIO}, names_objects=False),
        *_approximations(targets, is_own=not how),
        *how,
    ]
    return manifest_yaml(whole, "Ray Serve configuration", sentences, [document])


def read(text: str, place: str = "the manifest") -> Manifest:
    """Read a Serve configuration."""
    return read_manifest(text, "ray-serve", place)


def decide(manifest: Manifest, state: State, observation: Observation) -> Decision:
    """Say what Ray Serve would ask for."""
    steps = {}
    for document in manifest.documents:
        for application in document["applications"]:
            for deployment in application["deployments"]:
                if "autoscaling_config" in deployment:
                    pool = str(deployment["name"]).lower()
                    steps[pool] = _step(deployment["autoscaling_config"], pool, state, observation)
    return decision(steps)


def _deployment(pool: PoolPlan, asked: float) -> dict[str, Any]:
    rule, target = pool.rule, max(1.0, asked)
    return {
        "name": pool.pool.capitalize(),
        "max_ongoing_requests": math.ceil(2.0 * target),
        "autoscaling_config": {
            "min_replicas": rule.min_replicas,
            "initial_replicas": max(1, rule.min_replicas),
            "max_replicas": rule.max_replicas,
            "target_ongoing_requests": float(plain_number(target)),
            "metrics_interval_s": 10,
            "look_back_period_s": max(LEAST_LOOK_BACK_SECONDS, math.ceil(pool.window_seconds)),
            "upscaling_factor": 1.0,
            "downscaling_factor": 1.0,
            "upscale_delay_s": math.ceil(rule.scale_out_cooldown_seconds),
            "downscale_delay_s": math.ceil(rule.scale_in_cooldown_seconds),
            "aggregation_function": "mean",
        },
    }


def _approximations(targets: Mapping[str, float], *, is_own: bool) -> Iterable[str]:
    yield (
        "NOT EXPRESSED: tolerances and step limits. Ray Serve acts on any difference that lasts "
        "for upscale_delay_s or downscale_delay_s; its factors damp steps, they do not bound them."
    )
    if not is_own:
        yield (
            "APPROXIMATED: Ray Serve does not follow this policy's signal, but ongoing requests: "
            "as many as the recording shows on a replica at its target. They move with the length "
            "of answers: run the study again when that changes."
        )
    if len(targets) > 1:
        yield "NOT EXPRESSED: the ratio and its band; each deployment moves on its own requests."
    yield (
        "max_ongoing_requests is twice the target: it has to lie above it, or requests queue "
        "before the deployment is seen to be busy."
    )
    if any(target < 1.0 for target in targets.values()):
        yield "APPROXIMATED: a target below one ongoing request was raised to one."


def _step(config: Mapping[str, Any], pool: str, state: State, observation: Observation) -> PoolStep:
    """Give current x (1 + factor x (ongoing / target / current - 1)), rounded up, in bounds.

    It is carried out once every decision of the last upscale_delay_s or downscale_delay_s wanted
    to go the same way; where nothing is known of earlier ones, at once.
    """
    current = current_replicas(state, pool)
    value = reading(observation, f"{pool}_{ONGOING}", {})
    least, most = config.get("min_replicas", 1), config.get("max_replicas", 100)
    desired = value / config.get("target_ongoing_requests", DEFAULT_TARGET)
    if math.isnan(desired):
        return pool_step(current, math.nan, current, min(max(current, least), most))
    is_out = desired >= current
    factor = config.get("upscaling_factor" if is_out else "downscaling_factor") or 1.0
    wanted = math.ceil(current + factor * (desired - current) - 1e-9)
    delay, otherwise = DELAYS[is_out]
    begun = state.now_seconds - float(config.get(delay, otherwise))
    past = state.history.get(pool, ())
    lately = [one for one in past if one.at_seconds >= begun]
    is_known = not past or past[0].at_seconds <= begun
    lasts = all((one.wanted > one.before) == is_out and one.wanted != one.before for one in lately)
    moved = wanted if is_known and lasts else current
    return pool_step(current, desired, wanted, min(max(moved, least), most))
