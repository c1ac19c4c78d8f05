"""AIBrix, Kthena and Dynamo objects: keys, and the traps of each that its schema cannot say."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from signalstudy.lint.finding import error, warning
from signalstudy.lint.sized import Metric, Motion, Sized, pool_named, what_is_scaled
from signalstudy.scalers.aibrix_strategies import DEFAULTS, OBSERVE_SECONDS, PANIC_SECONDS, PREFIX
from signalstudy.scalers.kthena_roles import (
    DEFAULT_PERCENT,
    DEFAULT_PERIOD,
    DEFAULT_TOLERANCE_PERCENT,
)
from signalstudy.scalers.manifest import go_seconds, quantity_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from signalstudy.lint.finding import Finding
    from signalstudy.lint.sized import Division

AIBRIX_PERIOD_SECONDS = 10.0
DEFAULT_GPU_BUDGET = 8


def of_aibrix(document: Mapping[str, Any], where: str) -> list[Sized]:
    """Take a PodAutoscaler that its schema has passed."""
    spec = document["spec"]
    notes = document["metadata"].get("annotations") or {}
    says = {name: str(notes.get(f"{PREFIX}{name}", said)) for name, said in DEFAULTS.items()}
    metrics = [
        Metric(
            f"{where} spec.metricsSources[{number}]",
            source["targetMetric"],
            "",
            _aibrix_division(spec, source),
            float(source["targetValue"]),
        )
        for number, source in enumerate(spec["metricsSources"])
    ]
    percents = (
        100.0 * (float(says["max-scale-up-rate"]) - 1.0),
        100.0 * (1.0 - 1.0 / float(says["max-scale-down-rate"])),
    )
    out, into = (
        Motion(
            float(says[f"scale-{way}-tolerance"]),
            go_seconds(says[f"scale-{way}-cooldown-window"]),
            ((True, percent, AIBRIX_PERIOD_SECONDS),),
        )
        for way, percent in zip(("up", "down"), percents, strict=True)
    )
    pool = pool_named(document, f"{spec['scaleTargetRef'].get('name', '')} {_role(spec)}")
    return [
        Sized(
            where=where,
            pool=pool,
            least=spec.get("minReplicas", 1),
            most=spec["maxReplicas"],
            metrics=tuple(metrics),
            out=out,
            into=into,
            scales=what_is_scaled(document, spec["scaleTargetRef"], _role(spec)),
        )
    ]


def _aibrix_division(spec: Mapping[str, Any], source: Mapping[str, Any]) -> Division:
    if source["metricSourceType"] != "external":
        return "pods"
    return "total" if spec["scalingStrategy"] == "KPA" else "replicas"


def _role(spec: Mapping[str, Any]) -> str:
    return str((spec.get("subTargetSelector") or {}).get("roleName", ""))


def aibrix_findings(document: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Check what AIBrix refuses, or reads in a way that nobody means."""
    spec = document["spec"]
    observe = spec.get("observeWindowSeconds", OBSERVE_SECONDS)
    panic = spec.get("panicWindowSeconds", PANIC_SECONDS)
    if panic > observe:
        yield error(
            "range",
            f"{where} spec.panicWindowSeconds",
            f"the panic window of {panic} s is longer than the {observe} s of "
            "observeWindowSeconds: the object is refused.",
        )
    if spec["scalingStrategy"] == "HPA" and "subTargetSelector" in spec:
        yield error("range", f"{where} spec.scalingStrategy", "HPA is not allowed for a role.")
    for number, source in enumerate(spec["metricsSources"]):
        place = f"{where} spec.metricsSources[{number}]"
        if spec["scalingStrategy"] == "KPA" and source["metricSourceType"] == "pod":
            yield error(
                "average_as_total",
                place,
                "KPA averages the pods and does not multiply by their number: replicas can never "
                "exceed value / target. Use APA for a metric of a pod.",
            )
        if source["metricSourceType"] == "domain":
            yield warning("key", place, "metricSourceType domain is deprecated: use external.")
    windows = [(day, one["startTime"], one["endTime"]) for one in spec.get("schedules") or []
               for day in one["daysOfWeek"]]  # fmt: skip
    for day, start, end in windows:
        if start >= end:
            yield error(
                "range",
                f"{where} spec.schedules",
                f"{day} {start}-{end} runs past midnight, which is refused: cut it in two.",
            )
    for before, after in pairwise(sorted(windows)):
        if before[0] == after[0] and after[1] < before[2]:
            yield error(
                "range",
                f"{where} spec.schedules",
                f"{before[1]}-{before[2]} and {after[1]}-{after[2]} on {after[0]} overlap, which "
                "is refused.",
            )


def of_kthena(document: Mapping[str, Any], where: str) -> list[Sized]:
    """Take the roles of an AutoscalingPolicy that its schema has passed."""
    spec = document["spec"]
    tolerance = spec.get("tolerancePercent", DEFAULT_TOLERANCE_PERCENT) / 100.0
    behavior = spec.get("behavior") or {}
    out = _of_behavior((behavior.get("scaleUp") or {}).get("stablePolicy") or {}, tolerance)
    into = _of_behavior(behavior.get("scaleDown") or {}, tolerance)
    found = []
    for role, section, sources in _roles(spec):
        place = f"{where} roles.{role}" if role else where
        metrics = tuple(
            Metric(
                f"{place}.metrics[{number}]",
                metric["name"],
                str((sources.get(metric["name"], {}).get("prometheus") or {}).get("query", "")),
                _division(sources.get(metric["name"], {})),
                quantity_value(metric["targetValue"]),
            )
            for number, metric in enumerate(section.get("metrics") or spec.get("metrics", []))
        )
        bounds = section["minReplicas"], section["maxReplicas"]
        scales = what_is_scaled(document, _target_ref(spec), role)
        found.append(Sized(place, role, *bounds, metrics, out, into, scales=scales))
    return found


def _roles(
    spec: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Give each role with its section and its sources by metric; "" for a single target."""
    if "disaggregatedTarget" in spec:
        for role, section in spec["disaggregatedTarget"]["roles"].items():
            yield role, section, section.get("metricSources") or {}
    elif "homogeneousTarget" in spec:
        section = spec["homogeneousTarget"]
        yield "", section, section["target"].get("metricSources") or {}


def _target_ref(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    target = spec.get("disaggregatedTarget") or spec["homogeneousTarget"]["target"]
    ref: Mapping[str, Any] = target["targetRef"]
    return ref


def _division(source: Mapping[str, Any]) -> Division:
    return "total" if "prometheus" in source else "pods"


def _of_behavior(said: Mapping[str, Any], tolerance: float) -> Motion:
    period = go_seconds(said.get("period", DEFAULT_PERIOD))
    steps = (
        (True, float(said.get("percent", DEFAULT_PERCENT)), period),
        (False, float(said.get("instances", 1)), period),
    )
    return Motion(tolerance, go_seconds(said.get("stabilizationWindow", "0s")), steps)


def kthena_findings(document: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Check the ratio and what has no effect."""
    spec = document["spec"]
    for role, _, sources in _roles(spec):
        for name, source in sources.items():
            if "auth" in (source.get("prometheus") or {}):
                yield warning(
                    "without_effect",
                    f"{where} {role} metricSources.{name}.prometheus.auth",
                    "prometheus.auth has no effect yet.",
                )
    target = spec.get("disaggregatedTarget") or {}
    said = target.get("ratioConstraint")
    if said is None:
        return
    place = f"{where} ratioConstraint"
    lowest, highest = quantity_value(said["minRatio"]), quantity_value(said["maxRatio"])
    roles = [target["roles"].get(said[key]) for key in ("numeratorRole", "denominatorRole")]
    if None in roles:
        yield error("ratio", place, "it names a role that is not there.")
        return
    above, below = ((one["minReplicas"], one["maxReplicas"]) for one in roles)
    if lowest > highest:
        yield error("ratio", place, f"minRatio {lowest:g} is above maxRatio {highest:g}.")
    elif not any(
        max(above[0], lowest * n) <= min(above[1], highest * n) + 1e-9
        and int(min(above[1], highest * n) + 1e-9) >= max(above[0], lowest * n) - 1e-9
        for n in range(max(1, below[0]), below[1] + 1)
    ):
        yield error(
            "ratio_unreachable",
            place,
            f"no whole numbers of replicas within both roles' bounds have a ratio in "
            f"{lowest:g}..{highest:g}.",
        )


def dynamo_findings(document: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Check the planner's block, which Dynamo passes on without a look."""
    said = document["spec"]["features"]["planner"]
    place = f"{where} spec.features.planner"
    for unit, up, down in (
        ("tokens", "prefill_scale_up_queue_tokens", "prefill_scale_down_queue_tokens"),
        ("percent", "decode_scale_up_kv_rate", "decode_scale_down_kv_rate"),
    ):
        if up in said and down in said and said[up] <= said[down]:
            yield error(
                "range",
                f"{place}.{up}",
                f"{said[up]:g} {unit} has to be above {down} of {said[down]:g}.",
            )
    high, low = said.get("decode_scale_up_kv_rate"), said.get("decode_scale_down_kv_rate")
    fewest = int(said.get("min_endpoint", 1))
    left = None if low is None else low * (fewest + 1) / fewest
    if left is not None and high is not None and low < high <= left and high > 1.0:
        yield error(
            "flapping",
            f"{place}.decode_scale_down_kv_rate",
            f"{fewest + 1} workers at {low:g} % scale in to {fewest}, which are then at {left:g} % "
            f"and scale out again at {high:g} %: keep it below {high * fewest / (fewest + 1):g}.",
        )
    if high is not None and high <= 1.0:
        yield error(
            "unit",
            f"{place}.decode_scale_up_kv_rate",
            f"{high:g} is percent, 0 to 100: any request scales out. Was {100.0 * high:g} meant?",
        )
    if "max_gpu_budget" not in said:
        yield warning(
            "bounds",
            f"{place}.max_gpu_budget",
            f"it is {DEFAULT_GPU_BUDGET} GPUs for both pools together where nothing is said.",
        )
    elif said["max_gpu_budget"] == said.get("min_gpu_budget"):
        yield warning(
            "bounds",
            f"{place}.max_gpu_budget",
            "minimum and maximum are the same: the total is pinned, only the split moves.",
        )
