"""Signals worth having that the data do not hold, and what would provide them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalstudy.vocabulary.signals import catalogue_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# What the reference study compared, and what scalers in the field follow (scalers.md 1.1, 4).
WORTH_HAVING = {
    "prefill": (
        "prefill_uncached_tokens_per_second",
        "prefill_tokens_per_second",
        "gpu_utilization_ratio",
        "sm_activity_ratio",
        "ttft",
        "waiting_requests",
    ),
    "decode": (
        "decode_tokens_per_second",
        "gpu_utilization_ratio",
        "sm_activity_ratio",
        "tbt",
        "running_requests",
        "waiting_requests",
        "kv_cache_usage_ratio",
    ),
}
WORTH_HAVING["unified"] = tuple(dict.fromkeys(WORTH_HAVING["decode"] + WORTH_HAVING["prefill"]))
SPECIAL_ADVICE = {
    "sm_activity_ratio": "dcgm-exporter leaves DCGM_FI_PROF_SM_ACTIVE out of both its stock "
    "counter files: switch it on there"
}


def unavailable_signals(
    present: Mapping[str, Collection[str]], named: Mapping[str, str] | None = None
) -> tuple[tuple[str, str, str], ...]:
    """List (pool, signal, sentence) for what is worth having and not among `present` of a pool.

    `present` maps each pool to the names of its signals; what the gateway has counts for all.
    `named` are signals of the user's own, with the metric or query that each should come from.
    """
    metrics = {row["signal"]: row["metrics"] for row in catalogue_rows()}
    elsewhere = set(present.get("gateway", ()))
    missing = []
    for pool, wanted in WORTH_HAVING.items():
        if pool not in present:
            continue
        for name in wanted:
            members = [m for m in metrics if m == name or m.startswith(f"{name}_p")]
            if elsewhere.union(present[pool]).isdisjoint(members):
                shown = members[-1]
                told_by = ", ".join(metrics[shown].split(", ")[:3])
                advice = SPECIAL_ADVICE.get(name, f"exported for example as {told_by}")
                missing.append((pool, shown, f"Not in the data; {advice}."))
    everywhere = {name for names in present.values() for name in names}
    for name, metric in (named or {}).items():
        is_there = any(one == name or one.startswith(f"{name}_") for one in everywhere)
        if present and not is_there:
            sentence = f"Not in the data: study.toml names {metric!r}, and no series here is of it."
            missing.append((next(iter(present)), name, sentence))
    return tuple(missing)
