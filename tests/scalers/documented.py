"""Each scaler's documented formula, written plainly and apart from the package.

Input is the exported YAML as any reader loads it, the replicas there are, and what each metric says
by name; output is the replicas asked for where nothing has happened lately.
"""

from __future__ import annotations

import itertools
import math
import re
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from types import CodeType


def objects(text: str, kind: str) -> dict[str, dict[str, Any]]:
    """Give the objects of a kind by the last part of their name."""
    found = [d for d in yaml.safe_load_all(text) if d and d.get("kind") == kind]
    return {d["metadata"]["name"].rsplit("-", 1)[-1]: d for d in found}


def number(quantity: object) -> float:
    text = str(quantity)
    return float(text[:-1]) / 1000.0 if text.endswith("m") else float(text)


def hpa_behavior(wanted: int, now: int, behavior: dict[str, Any], least: int, most: int) -> int:
    """Limit a step by `ceil(now x (1 + p/100))` and `floor(now x (1 - p/100))`, then bound it."""
    (up,), (down,) = behavior["scaleUp"]["policies"], behavior["scaleDown"]["policies"]
    assert up["type"] == down["type"] == "Percent"
    highest = -(-now * (100 + up["value"]) // 100)
    lowest = now * (100 - down["value"]) // 100
    return min(max(min(max(wanted, lowest), highest), least), most)


def hpa_wanted(usage: float, target: float, now: int, behavior: dict[str, Any]) -> int:
    """Give ceil(usage / target) where usage / (target x now) is outside the tolerances."""
    ratio = usage / (target * now)
    out = number(behavior["scaleUp"]["tolerance"])
    into = number(behavior["scaleDown"]["tolerance"])
    return now if 1.0 - into <= ratio <= 1.0 + out else math.ceil(usage / target - 1e-9)


def hpa(document: dict[str, Any], now: int, says: dict[str, float]) -> int:
    spec = document["spec"]
    wanted = 0
    for external in (metric["external"] for metric in spec["metrics"]):
        usage = says[external["metric"]["name"]]
        assert external["target"]["type"] == "AverageValue"
        target = number(external["target"]["averageValue"])
        wanted = max(wanted, hpa_wanted(usage, target, now, spec["behavior"]))
    return hpa_behavior(wanted, now, spec["behavior"], spec["minReplicas"], spec["maxReplicas"])


def keda(document: dict[str, Any], now: int, says: dict[str, float]) -> int:
    spec = document["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    modifiers = spec["advanced"].get("scalingModifiers")
    if modifiers is None:
        asked = [(says[one["name"]], float(one["metadata"]["threshold"]))
                 for one in spec["triggers"]]  # fmt: skip
    else:
        names = {trigger["name"] for trigger in spec["triggers"]}
        values = {name: says.get(name, float(now)) for name in names}
        asked = [(formula(modifiers["formula"], values), float(modifiers["target"]))]
    wanted = max(hpa_wanted(usage, target, now, behavior) for usage, target in asked)
    return hpa_behavior(wanted, now, behavior, spec["minReplicaCount"], spec["maxReplicaCount"])


def formula(text: str, values: dict[str, float]) -> float:
    """Work out an expression of expr-lang by writing it in Python."""
    return float(eval(compiled(text), {"__builtins__": {}, "max": max}, dict(values)))  # noqa: S307


@cache
def compiled(text: str) -> CodeType:
    return compile(in_python(text.replace("||", " or ").replace("&&", " and ")), "formula", "eval")


def in_python(text: str) -> str:
    """Turn `c ? a : b` into `(a if c else b)`, inside brackets and between commas first."""
    inner = re.compile(r"\(([^()]*)\)")
    held: list[str] = []

    def hold(match: re.Match[str]) -> str:
        held.append(",".join(choice(part) for part in match[1].split(",")))
        return f"<{len(held) - 1}>"

    while inner.search(text):
        text = inner.sub(hold, text)
    text = choice(text)
    while "<" in text and re.search(r"<(\d+)>", text):
        text = re.sub(r"<(\d+)>", lambda match: f"({held[int(match[1])]})", text)
    return text


def choice(text: str) -> str:
    condition, mark, rest = text.partition("?")
    if not mark:
        return text
    one, _, other = rest.partition(":")
    return f"(({one}) if ({condition}) else ({choice(other)}))"


def aibrix(document: dict[str, Any], now: int, says: dict[str, float]) -> int:
    """KPA of an external total: ceil(total / target) between floor(n / r) and ceil(r x n)."""
    spec = document["spec"]
    said = {k.rsplit("/", 1)[-1]: v for k, v in document["metadata"]["annotations"].items()}
    assert spec["scalingStrategy"] == "KPA"
    asked = []
    for source in spec["metricsSources"]:
        assert source["metricSourceType"] == "external"
        desired = says[source["targetMetric"]] / float(source["targetValue"])
        wanted = now
        if desired / now > 1.0 + float(said["scale-up-tolerance"]):
            most = math.ceil(float(said["max-scale-up-rate"]) * now)
            wanted = min(math.ceil(desired - 1e-9), most)
        if desired / now < 1.0 - float(said["scale-down-tolerance"]):
            least = math.floor(now / float(said["max-scale-down-rate"]))
            wanted = max(math.ceil(desired - 1e-9), least)
        asked.append(wanted)
    return min(max(*asked, spec["minReplicas"]), spec["maxReplicas"])


def kthena(document: dict[str, Any], now: dict[str, int], says: dict[str, float]) -> dict[str, int]:
    """Each role by itself, then the pair into the band, raising the role that is short."""
    spec = document["spec"]
    up, down = spec["behavior"]["scaleUp"]["stablePolicy"], spec["behavior"]["scaleDown"]
    assert up["selectPolicy"] == down["selectPolicy"] == "Or"
    asked = {}
    for role, section in spec["disaggregatedTarget"]["roles"].items():
        n, wanted = now[role], 0
        for metric in section["metrics"]:
            desired = says[metric["name"]] / number(metric["targetValue"])
            is_outside = abs(desired / n - 1.0) > spec["tolerancePercent"] / 100.0
            wanted = max(wanted, math.ceil(desired - 1e-9) if is_outside else n)
        highest = n + max(up["instances"], n * up["percent"] // 100)
        lowest = n - max(down["instances"], n * down["percent"] // 100)
        wanted = min(max(wanted, lowest), highest)
        asked[role] = min(max(wanted, section["minReplicas"]), section["maxReplicas"])
    constraint = spec["disaggregatedTarget"].get("ratioConstraint")
    return kthena_pair(asked, spec["disaggregatedTarget"]["roles"], constraint)


def kthena_pair(
    asked: dict[str, int], roles: dict[str, Any], constraint: dict[str, str] | None
) -> dict[str, int]:
    """Try every pair of whole numbers: none smaller than asked if possible, the nearest first."""
    if constraint is None:
        return asked
    above, below = constraint["numeratorRole"], constraint["denominatorRole"]
    lowest, highest = Fraction(constraint["minRatio"]), Fraction(constraint["maxRatio"])

    def fits(pair: tuple[int, int]) -> bool:
        return lowest <= Fraction(*pair) <= highest

    wanted = asked[above], asked[below]
    if not fits(wanted):
        ranges = [range(roles[role]["minReplicas"], roles[role]["maxReplicas"] + 1)
                  for role in (above, below)]  # fmt: skip
        whole = [pair for pair in itertools.product(*ranges) if fits(pair)]

        def distance(pair: tuple[int, int]) -> tuple[bool, int, int]:
            return (pair[0] < wanted[0] or pair[1] < wanted[1],
                    abs(pair[1] - wanted[1]), abs(pair[0] - wanted[0]))  # fmt: skip

        wanted = min(whole, key=distance)
    return {above: wanted[0], below: wanted[1]}
