"""Prometheus rules: every signal recorded, a shadow of the policy's decision, and three alerts.

The shadow says what the policy would ask for, without anything acting on it: tolerances, guards,
ratio and bounds as in `policy.decide`; cool-downs and step limits are left out, since they hang on
what was done before.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from signalstudy.scalers.manifest import manifest_yaml, plain_number
from signalstudy.scalers.plan import identifier, need_queries, plan
from signalstudy.vocabulary.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from signalstudy.policy.policy import Policy
    from signalstudy.scalers.plan import GuardPlan, Plan, PoolPlan

REPLICAS, ASKED, GUARD = (
    "signalstudy:replicas",
    "signalstudy:asked_replicas",
    "signalstudy:guard_ratio",
)
OWN, WANTED, DESIRED = (
    "signalstudy:own_replicas",
    "signalstudy:wanted_replicas",
    "signalstudy:desired_replicas",
)
SLACK = "0.999999999"
"""As in policy.decide: a hair above a whole number costs no replica."""
DRIFT_SECONDS = 900


def write(policy: Policy) -> str:
    """Write one rule group."""
    whole = plan(policy)
    need_queries([*whole.pools, *whole.guards], "prometheus-rules")
    recorded = [pool for pool in whole.pools if not pool.is_follower]
    rules = [_signal_rule(whole, one) for one in recorded]
    rules += [_signal_rule(whole, one) for one in whole.guards]
    rules += [_guard_rule(whole, guard) for guard in whole.guards]
    rules += [_replicas_rule(whole, pool) for pool in whole.pools if pool.replicas_query]
    rules += [rule for pool in recorded for rule in _own_rules(whole, pool)]
    rules += [rule for pool in whole.pools for rule in _decision_rules(whole, pool)]
    rules += _alerts(whole, [*recorded, *whole.guards])
    document = {"groups": [{"name": f"signalstudy-{whole.name}", "rules": rules}]}
    return manifest_yaml(whole, "Prometheus rules", _sentences(whole), [document])


def record_name(key: str) -> str:
    """Name the record of a signal; pool and policy are its labels."""
    return f"signalstudy:{identifier(key.partition('.')[2])}"


def _at(whole: Plan, name: str, pool: str | None) -> str:
    """Select a record of this policy."""
    pools = "" if pool is None else f',pool="{pool}"'
    return f'{name}{{policy="{whole.name}"{pools}}}'


def _record(whole: Plan, name: str, pool: str, expr: str, **labels: str) -> dict[str, Any]:
    return {
        "record": name,
        "expr": expr,
        "labels": {"policy": whole.name, "pool": pool, **labels},
    }


def _pool_of(one: PoolPlan | GuardPlan) -> str:
    return one.key.partition(".")[0]


def _signal_rule(whole: Plan, one: PoolPlan | GuardPlan) -> dict[str, Any]:
    return _record(whole, record_name(one.key), _pool_of(one), one.query)


def _guard_rule(whole: Plan, guard: GuardPlan) -> dict[str, Any]:
    """Record the scale-out that a guard asks for: each tier adds what it asks beyond the last."""
    value, before, parts = _at(whole, record_name(guard.key), guard.pool), 0.0, []
    for above, ratio in guard.tiers:
        if ratio > before:
            parts.append(f"{plain_number(ratio - before)} * ({value} > bool {plain_number(above)})")
            before = ratio
    return _record(whole, GUARD, guard.pool, " + ".join(parts), guard=identifier(guard.key))


def _replicas_rule(whole: Plan, pool: PoolPlan) -> dict[str, Any]:
    return _record(whole, REPLICAS, pool.pool, pool.replicas_query)


def _own_rules(whole: Plan, pool: PoolPlan) -> Iterator[dict[str, Any]]:
    """Record the unrounded replicas that a signal asks for by itself."""
    value = _at(whole, record_name(pool.key), pool.pool)
    share = f"{value} / {plain_number(pool.target)}"
    if not pool.is_total:
        if not pool.replicas_query:
            raise ExportError(
                f"prometheus-rules needs the replicas of {pool.pool}: {pool.key} multiplies them. "
                f"Give them with --query '{pool.pool}.replicas=PROMQL'."
            )
        share = f"{_at(whole, REPLICAS, pool.pool)} * {share}"
    yield _record(whole, OWN, pool.pool, share)


def _asked(whole: Plan, pool: PoolPlan) -> str:
    """Give the unrounded replicas of a pool: its own, by the ratio, or raised into the band."""
    rules = whole.rules
    if pool.is_follower:
        return f"{_sum(whole, OWN, rules.driver)} * {plain_number(rules.follower_ratio or 1.0)}"
    own = _sum(whole, OWN, pool.pool)
    if rules.band is None:
        return own
    lowest, highest = rules.band
    other = "prefill" if pool.pool == "decode" else "decode"
    factor = plain_number(1.0 / highest if pool.pool == "decode" else lowest)
    least = f"{_sum(whole, OWN, other)} * {factor}"
    return f"({own} >= {least}) or ({least} and {own}) or {own}"


def _sum(whole: Plan, name: str, pool: str | None) -> str:
    return f"sum({_at(whole, name, pool)})"


def _decision_rules(whole: Plan, pool: PoolPlan) -> Iterator[dict[str, Any]]:
    """Record what is asked for, what tolerance leaves of it, and what guards and bounds make."""
    rules, rule = whole.rules, pool.rule
    yield _record(whole, ASKED, pool.pool, _asked(whole, pool))
    asked = _at(whole, ASKED, pool.pool)
    wanted = f"ceil({asked} * {SLACK})"
    if pool.replicas_query:
        now = _at(whole, REPLICAS, pool.pool)
        out, into = _factors(whole)
        parts = [f"({asked} > {out} * {now})", f"({asked} < {into} * {now})"]
        if pool.is_follower and any(
            p.pool == rules.driver and p.replicas_query for p in whole.pools
        ):
            lead, had = _sum(whole, ASKED, rules.driver), _sum(whole, REPLICAS, rules.driver)
            parts.append(f"(({asked} > {now}) and on() ({lead} > {out} * {had}))")
            parts.append(f"(({asked} < {now}) and on() ({lead} < {into} * {had}))")
        yield _record(whole, WANTED, pool.pool, f"ceil(({' or '.join([*parts, now])}) * {SLACK})")
        wanted = _guarded(whole, pool)
    least, most = rule.min_replicas, rule.max_replicas
    yield _record(whole, DESIRED, pool.pool, f"clamp({wanted}, {least}, {most})")


def _factors(whole: Plan) -> tuple[str, str]:
    rules = whole.rules
    return (
        plain_number(1.0 + rules.scale_out_tolerance),
        plain_number(1.0 - rules.scale_in_tolerance),
    )


def _guarded(whole: Plan, pool: PoolPlan) -> str:
    """Raise by a breached guard, and keep what there is while anything forbids a scale-in."""
    wanted, now = _at(whole, WANTED, pool.pool), _at(whole, REPLICAS, pool.pool)
    drivers = sum(not one.is_follower for one in whole.pools)
    is_seen = f'count(signalstudy:own_replicas{{policy="{whole.name}"}}) == {drivers}'
    is_free = f"({is_seen})"
    raised = ""
    if whole.guards:
        ratios = _at(whole, GUARD, None)
        is_calm = f"count({ratios} == 0) == {len(whole.guards)}"
        is_free = f"({is_seen} and on() ({is_calm}))"
    if any(guard.pool == pool.pool for guard in whole.guards):
        tier = f"max({_at(whole, GUARD, pool.pool)})"
        more = f"(ceil({now} * on() group_left() (1 + {tier} > 1) * {SLACK}))"
        raised = f"({more} > {wanted}) or "
    return f"({raised}({wanted} >= {now}) or ({wanted} and on() {is_free}) or {now})"


def _alerts(whole: Plan, seen: list[PoolPlan | GuardPlan]) -> Iterator[dict[str, Any]]:
    for one in seen:
        record = _at(whole, record_name(one.key), _pool_of(one))
        yield _alert(
            whole,
            "SignalstudySignalStale",
            f"absent({record})",
            f"{one.key} has no value, so every scaler that reads it holds its replicas.",
            wait_seconds=2.0 * one.window_seconds,
            labels={"pool": _pool_of(one), "signal": one.name},
        )
    counted = {pool.pool for pool in whole.pools if pool.replicas_query}
    if whole.ratio_band is not None and {"prefill", "decode"} <= counted:
        lowest, highest = whole.ratio_band
        ratio = f"{_sum(whole, REPLICAS, 'prefill')} / {_sum(whole, REPLICAS, 'decode')}"
        yield _alert(
            whole,
            "SignalstudyRatioDrift",
            f"({ratio} < {plain_number(lowest)}) or ({ratio} > {plain_number(highest)})",
            f"Prefill per decode is outside {lowest:g}..{highest:g}, for which the targets hold.",
            wait_seconds=DRIFT_SECONDS,
        )
    if whole.valid_until:
        ends = datetime.fromisoformat(whole.valid_until).timestamp()
        yield _alert(
            whole,
            "SignalstudyPolicyExpired",
            f"vector(time()) > {ends:.0f}",
            f"The policy was valid until {whole.valid_until}: run the study again.",
        )


def _alert(
    whole: Plan,
    name: str,
    expr: str,
    summary: str,
    *,
    wait_seconds: float = 0.0,
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expr,
        **({"for": f"{wait_seconds:.0f}s"} if wait_seconds else {}),
        "labels": {"policy": whole.name, "severity": "warning", **(labels or {})},
        "annotations": {"summary": summary},
    }


def _sentences(whole: Plan) -> Iterator[str]:
    yield (
        f'Watch {DESIRED}{{policy="{whole.name}"}} beside your replicas for a week before '
        "anything acts on it. It is the policy's decision without cool-downs, step limits and "
        "soft scale-in."
    )
    unknown = [pool.pool for pool in whole.pools if not pool.replicas_query]
    if unknown:
        yield (
            f"The replicas of {', '.join(unknown)} are not known, so its shadow has no tolerance "
            "and no guard, and nothing watches the ratio: give --query POOL.replicas=PROMQL."
        )
    if whole.rules.floors:
        yield "NOT EXPRESSED: the periodic floors of spec.schedule."
    for pool_name in whole.unsized:
        yield f"{pool_name} is not sized: the policy has neither a signal nor a ratio for it."
