"""Origins: how each number of a policy was got that no estimate stands behind."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from signalstudy.policy.window import SHORTEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from signalstudy.policy.inputs import PoolInput

DESCRIBES_A_NUMBER = frozenset({"low", "high", "maxObserved"})
"""Keys that belong to the number beside them, whose evidence holds for them too."""

FROM_THE_QUERY = "the range of its query: the user's where study.toml states one, else a minute"
WINDOW = "a minute, or two steps of the data where that is longer"
REPLAYED = "longer than a minute because a replay on the study's own demand serves better so"
LEAST_REPLAYED = "cheaper, replayed on the study's own demand, than more room for ramps everywhere"
SET_BY = "study.toml, "
ORIGINS = (
    ("objectives.*", SET_BY + "[[objectives]]"),
    (
        "proportional.scaleOutTolerance",
        "noise of the signal over its window, crossed by chance once a day at most; at least 0.05",
    ),
    ("proportional.scaleInTolerance", "the scale-out tolerance, at least 0.2 and at most 0.9"),
    (
        "proportional.targetPerReplica.byHardware.*.value",
        "as the pool's, from this type's capacity",
    ),
    ("pools.*.targetPerReplica.byHardware.*.value", "as the pool's, from this type's capacity"),
    ("ratio.min", "ratio x 5 % quantile of the token mix / its median"),
    ("ratio.max", "ratio x 95 % quantile of the token mix / its median"),
    ("pools.*.gpusPerReplica", SET_BY + "[provisioning] gpus_per_replica"),
    (
        "pools.*.scaleOut.maxStepRatio",
        "chosen, not estimated: at most double at once, as the HPA does by default",
    ),
    (
        "pools.*.scaleIn.maxStepRatio",
        "chosen, not estimated: a tenth at once, so that one wrong scale-in costs little",
    ),
    (
        "pools.*.scaleIn.observationSeconds",
        "max(120 s, two windows of the signal), in whole tens: until the smaller fleet shows",
    ),
    ("guards.*.above", "the objective's limit x 1.1 and x 1.2"),
    (
        "guards.*.scaleOutRatio",
        "chosen, not estimated: HeteroScale's negative feedback, arXiv:2508.19559, Algorithm 3",
    ),
    (
        "schedule.*.replicas.*",
        "what demand brings in those hours on nine days of ten / target, rounded down",
    ),
)
"""Path (with * for names and positions) and how such a number is got, where that is always so."""


def numbers_of(spec: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """List every number that a spec writes, by its path below spec; positions count from 0."""
    sections = {name: section for name, section in spec.items() if name != "evidence"}
    yield from _numbers(sections, "")


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in DESCRIBES_A_NUMBER:
                yield from _numbers(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _numbers(inner, f"{path}.{position}")


def stated_evidence(
    spec: Mapping[str, Any], pools: Mapping[str, PoolInput], window_seconds: float
) -> list[dict[str, Any]]:
    """Say of each number of a spec that its evidence does not tell of how it was got.

    `window_seconds`: over how long the study wants the driving signal averaged.
    """
    told = {entry["number"] for entry in spec["evidence"]}
    return [
        {"number": path, "value": value, "status": "ok", "method": method}
        for path, value in numbers_of(spec)
        if path not in told and (method := _origin(path, spec, pools, window_seconds))
    ]


def _origin(
    path: str, spec: Mapping[str, Any], pools: Mapping[str, PoolInput], window_seconds: float
) -> str:
    """Say how one number was got, "" where nobody knows."""
    *parents, last = path.split(".")
    if last == "windowSeconds":
        section = _section(spec, parents)
        if window_seconds > SHORTEST_SECONDS and section["windowSeconds"] == window_seconds:
            return REPLAYED
        return FROM_THE_QUERY if section.get("promql") else WINDOW
    if last in ("minReplicas", "maxReplicas"):
        pool = parents[-1]
        said = pools[pool].min_replicas if last == "minReplicas" else pools[pool].max_replicas
        if said is None and last == "minReplicas" and pools[pool].replayed_min_replicas:
            return LEAST_REPLAYED
        if said is None:
            return "a default: the least that serves"
        name = "min_replicas" if last == "minReplicas" else "max_replicas"
        return f"{SET_BY}[policy.pools.{pool}] {name}"
    return next((method for form, method in ORIGINS if fnmatchcase(path, form)), "")


def _section(spec: Mapping[str, Any], parents: list[str]) -> Mapping[str, Any]:
    """Give the mapping that a path leads to."""
    found: Any = spec
    for key in parents:
        found = found[int(key)] if isinstance(found, list) else found[key]
    return dict(found)
