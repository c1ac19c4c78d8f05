"""Sight: what a scaler would see of the simulated fleet, at scrape cadence and no sooner."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri

from signalstudy.policy.state import Observation, Reading
from signalstudy.vocabulary.errors import ConfigurationError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from signalstudy.replay.controller import Controller, Reads
    from signalstudy.replay.engine.profile import Profile
    from signalstudy.replay.relations import Relation

    Floats = NDArray[np.float64]

LATENCY = re.compile(r"(ttft|tbt|e2e)_(?:p(\d+)|mean)_seconds")
LATENCIES = ("ttft", "tbt", "e2e")
GUARD_WINDOW_SECONDS = 60.0
FADE = 0.993
"""What is left at the next look of what sampled passes taught (the cache's yield, the seconds a
token): five minutes of memory at a look every two seconds."""
FLOWS = ("decode_tokens_per_second", "prefill_tokens_per_second",
         "prefill_uncached_tokens_per_second", "requests_per_second")  # fmt: skip
GAUGES = ("waiting_requests", "running_requests", "inflight_tokens", "kv_cache_usage_ratio",
          "gpu_utilization_ratio", "prefix_cache_hit_ratio")  # fmt: skip
PER_REPLICA = ("kv_cache_usage_ratio", "gpu_utilization_ratio", "prefix_cache_hit_ratio")
MEASURED = (*FLOWS, "gpu_utilization_ratio")
"""Signals that carry noise of their measuring beside that of the traffic; queues, latencies and
occupancy tremble by themselves in the engine."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The trace as the fleet's gateway counts it.

    `arrived_seconds`, `output_tokens` (n,); `prompt_tokens` and those of them that a cache without
    limit would find, `reusable_tokens`, are cumulated over the requests (n + 1,).
    """

    arrived_seconds: Floats
    output_tokens: Floats
    prompt_tokens: Floats
    reusable_tokens: Floats


@dataclass(frozen=True, slots=True)
class View:
    """How well a study's scrapes see: by POOL.SIGNAL the lag of the exporter and the noise.

    `scrape_seconds`: between scrapes. `lag_seconds`, `noise_ratio` (relative, of one scrape).
    `work`: the signal that counts a pool's work. `relations`: what signals that the engine does
    not have say at a given work per replica.
    """

    scrape_seconds: float
    lag_seconds: Mapping[str, float]
    noise_ratio: Mapping[str, float]
    work: Mapping[str, str]
    relations: Mapping[str, Relation]
    seed: int


@dataclass(slots=True)
class _Learnt:
    """What sampled forward passes of a pool say, fading."""

    new_tokens: float = 0.0
    cached_tokens: float = 0.0
    pass_seconds: float = 0.0
    pass_tokens: float = 0.0

    def fade(self, factor: float) -> None:
        self.new_tokens *= factor
        self.cached_tokens *= factor
        self.pass_seconds *= factor
        self.pass_tokens *= factor


@dataclass(slots=True)
class _Series:
    """One pool: a row a scrape. Flows are cumulated; gauges are points, ready counts replicas."""

    rows: dict[str, list[float]] = field(
        default_factory=lambda: {name: [] for name in (*FLOWS, *GAUGES, "ready")}
    )
    learnt: _Learnt = field(default_factory=_Learnt)
    last_pass: dict[int, tuple[float, ...]] = field(default_factory=dict)
    busy: float = 0.0
    looks: float = 0.0
    reusable_tokens: float = 0.0
    cached_tokens: float = 0.0


class Sight:
    """Gathers ticks and samples of the engine, and reads them as a scaler would.

    `sides`: by pool the engine's own name of it ("prefill" or "decode"; one pool that does both is
    a "decode"). The fleet's counters are exact: output tokens as the engine counts them, prompt
    tokens as arrivals less what still waits. Uncached ones take the share that sampled passes
    found in the cache. Latencies are those of requests that finished.
    """

    def __init__(
        self, view: View, offered: Offered, sides: Mapping[str, str], profile: Profile
    ) -> None:
        self.view, self.offered, self.sides, self.profile = view, offered, sides, profile
        self.times: list[float] = []
        self.pools = {pool: _Series() for pool in sides}
        self.finished: list[tuple[float, ...]] = []
        self.sample: dict[str, Any] | None = None
        self.rng = np.random.default_rng([view.seed, 2])
        self.decoded = self.done = 0.0
        self.pass_tokens = profile.engine["max_num_batched_tokens"]
        short = np.diff(offered.prompt_tokens) <= self.pass_tokens
        prompt = float(np.diff(offered.prompt_tokens)[short].sum())
        reusable = float(np.diff(offered.reusable_tokens)[short].sum())
        self.reusable_share = reusable / prompt if prompt else 0.0

    def take_sample(self, sample: dict[str, Any]) -> None:
        """Keep the engine's telemetry of this moment: gauges as a scrape finds them."""
        self.sample = sample

    def take_tick(self, snapshot: dict[str, Any]) -> bool:
        """Add what happened since the last tick; say whether this one is a scrape."""
        now = snapshot["now_ms"] / 1000.0
        traffic = snapshot["traffic"]
        passes = traffic["accept_length_forward_count"]
        self.decoded += passes * traffic["avg_accept_length"] if passes else 0.0
        count = traffic["ttft_count"]
        if count:
            self.done += count
            ttft, tbt = traffic["avg_ttft_ms"] / 1000.0, traffic["avg_itl_ms"] / 1000.0
            end = ttft + tbt * max(traffic["avg_osl"] - 1.0, 0.0)
            self.finished.append((now, float(count), ttft, tbt, end))
        for pool, side in self.sides.items():
            self._take_passes(self.pools[pool], snapshot[f"{side}_fpm_snapshots"])
        sample = self.sample
        if sample is None or abs(sample["sampled_at_ms"] / 1000.0 - now) > 1e-3:
            return False
        self._close(now, snapshot, sample)
        return True

    def _take_passes(self, series: _Series, passes: list[dict[str, Any]]) -> None:
        """Look at the latest pass of each worker; the same one as before means it was idle."""
        learnt = series.learnt
        learnt.fade(FADE)
        for one in passes:
            new, cached = one["sum_prefill_tokens"], one["sum_prefill_kv_tokens"]
            this = (one["wall_time"], new, one["sum_decode_kv_tokens"])
            series.looks += 1.0
            if this[0] == 0.0 or series.last_pass.get(one["worker_id"]) == this:
                continue
            series.last_pass[one["worker_id"]] = this
            series.busy += 1.0
            if new and not one["num_decode_requests"]:
                learnt.pass_seconds += one["wall_time"]
                learnt.pass_tokens += new
            # Of a prompt that takes several passes, earlier ones count as cached.
            if new and new + cached <= self.pass_tokens:
                learnt.new_tokens += new
                learnt.cached_tokens += cached

    def _close(self, now: float, snapshot: dict[str, Any], sample: dict[str, Any]) -> None:
        self.times.append(now)
        arrived = int(np.searchsorted(self.offered.arrived_seconds, now, side="right"))
        for pool, side in self.sides.items():
            series = self.pools[pool]
            active = set(snapshot[f"active_{side}_ids"])
            workers = sample[f"{side}_scheduler_metrics"]
            waiting = float(sum(one["waiting_requests"] for one in workers))
            running = float(sum(one["running_requests"] for one in workers))
            usage = [o["active_cache_usage"] for o in workers if o["worker_id"] in active]
            ready = float(snapshot[f"active_{side}_count"])
            rows = series.rows
            rows["ready"].append(ready)
            rows["waiting_requests"].append(waiting)
            rows["running_requests"].append(running)
            rows["kv_cache_usage_ratio"].append(float(np.mean(usage)) if usage else 0.0)
            # Of a pool that does both, requests that are running have their prompts done.
            behind = waiting if pool == "unified" else waiting + running
            passed = int(max(arrived - behind, 0))
            hits = self._prompts(pool, series, passed)
            if pool == "decode":
                rows["inflight_tokens"].append(rows["kv_cache_usage_ratio"][-1] * ready
                                               * self.profile.kv_capacity_tokens)  # fmt: skip
            else:
                rows["inflight_tokens"].append(
                    float(self.offered.prompt_tokens[arrived] - self.offered.prompt_tokens[passed])
                )
            rows["prefix_cache_hit_ratio"].append(hits)
            self._flow(pool, series, "decode_tokens_per_second", self.decoded)
            prefilled = float(passed) if pool == "prefill" else self.done
            self._flow(pool, series, "requests_per_second", prefilled)
            self._utilization(pool, series, ready)

    def _prompts(self, pool: str, series: _Series, passed: int) -> float:
        """Count prompt tokens that are done, all and uncached; give the share that was found."""
        learnt = series.learnt
        seen = learnt.new_tokens + learnt.cached_tokens
        share = learnt.cached_tokens / seen if seen else 0.0
        yields = min(share / self.reusable_share, 1.0) if self.reusable_share else 0.0
        prompt = float(self.offered.prompt_tokens[passed])
        reusable = float(self.offered.reusable_tokens[passed])
        series.cached_tokens += yields * max(reusable - series.reusable_tokens, 0.0)
        series.reusable_tokens = max(reusable, series.reusable_tokens)
        self._flow(pool, series, "prefill_tokens_per_second", prompt)
        self._flow(
            pool, series, "prefill_uncached_tokens_per_second", prompt - series.cached_tokens
        )
        return share

    def _flow(self, pool: str, series: _Series, name: str, total: float) -> None:
        """Append a counter; noise moves each increment, and a counter never falls."""
        rows = series.rows[name]
        key = f"{name}#exact"
        exact = series.rows.setdefault(key, [])
        before = exact[-1] if exact else 0.0
        exact.append(max(total, before))
        increment = exact[-1] - before
        noise = self.view.noise_ratio.get(f"{pool}.{name}", 0.0)
        if noise:
            increment *= max(1.0 + noise * float(self.rng.standard_normal()), 0.0)
        rows.append((rows[-1] if rows else 0.0) + increment)

    def _utilization(self, pool: str, series: _Series, ready: float) -> None:
        """Append the busy share of the pool's replicas since the last scrape."""
        rows = series.rows
        if pool == "prefill":
            work = rows["prefill_uncached_tokens_per_second#exact"]
            learnt = series.learnt
            each = self.profile.seconds_per_token
            if learnt.pass_tokens:
                each = learnt.pass_seconds / learnt.pass_tokens
            done = work[-1] - (work[-2] if len(work) > 1 else 0.0)
            busy = done * each / (self.view.scrape_seconds * max(ready, 1.0))
        else:
            busy = series.busy / series.looks if series.looks else 0.0
        series.busy = series.looks = 0.0
        noise = self.view.noise_ratio.get(f"{pool}.gpu_utilization_ratio", 0.0)
        busy *= 1.0 + noise * float(self.rng.standard_normal()) if noise else 1.0
        rows["gpu_utilization_ratio"].append(min(max(busy, 0.0), 1.0))

    def observe(self, controller: Controller, asked: Mapping[str, float]) -> Observation:
        """Give every signal and latency that a controller reads; NaN where nothing is known."""
        readings = {one.key: Reading(np.asarray([[self._read(one, asked)]]))
                    for one in controller.reads}  # fmt: skip
        for key, latency in controller.latencies.items():
            named = LATENCY.search(key)
            quantile = None if named is None else named[2]
            value = self._latency(latency, quantile, GUARD_WINDOW_SECONDS, self._lag(key))
            readings[key] = Reading(np.asarray([[value]]))
        return Observation(readings)

    def _lag(self, key: str) -> float:
        return self.view.lag_seconds.get(key, 0.0)

    def _read(self, reads: Reads, asked: Mapping[str, float]) -> float:
        named = LATENCY.fullmatch(reads.signal)
        window, lag = reads.window_seconds, self._lag(reads.key)
        if named is not None:
            return self._latency(named[1], named[2], window, lag)
        ready = self._mean(reads.pool, "ready", window, lag)
        if reads.signal in (*FLOWS, *GAUGES):
            value = self._signal(reads.pool, reads.signal, window, lag)
            is_mean = reads.signal in PER_REPLICA
        else:
            relation = self.view.relations[reads.key]
            work = self._signal(reads.pool, self.view.work[reads.pool], window, lag)
            value = float(relation.at(np.asarray(work / max(ready, 1.0))))
            is_mean = True
        if reads.is_total and is_mean:
            value *= ready
        if not reads.is_total and not is_mean:
            value /= max(ready, 1.0)
        if reads.starting_is_idle:
            value *= min(ready / max(asked[reads.pool], 1.0), 1.0)
        return value

    def _signal(self, pool: str, signal: str, window: float, lag: float) -> float:
        if signal not in FLOWS:
            return self._mean(pool, signal, window, lag)
        ends = self._span(window, lag)
        if ends is None:
            return float("nan")
        rows = self.pools[pool].rows[signal]
        return (rows[ends[1]] - rows[ends[0]]) / (self.times[ends[1]] - self.times[ends[0]])

    def _mean(self, pool: str, signal: str, window: float, lag: float) -> float:
        ends = self._span(window, lag)
        if ends is None:
            return float("nan")
        return float(np.mean(self.pools[pool].rows[signal][ends[0] + 1 : ends[1] + 1]))

    def _span(self, window: float, lag: float) -> tuple[int, int] | None:
        """Give the scrapes that bound the window as it was `lag` ago; None before there are two."""
        scrape = self.view.scrape_seconds
        last = len(self.times) - 1 - round(lag / scrape)
        first = last - max(round(window / scrape), 1)
        return None if first < 0 else (first, last)

    def _latency(self, latency: str, quantile: str | None, window: float, lag: float) -> float:
        """Give the mean or a quantile of the requests that finished within the window.

        The engine tells the mean of those that finished since the last tick. The spread of single
        requests follows from how these means differ, n (mean - overall mean)^2; the quantile is
        that of a lognormal with this mean and spread.
        """
        if not self.times:
            return float("nan")
        end = self.times[-1] - lag
        column = 2 + LATENCIES.index(latency)
        rows = []
        for row in reversed(self.finished):
            if row[0] <= end - window:
                break
            if row[0] <= end:
                rows.append((row[1], row[column]))
        if not rows:
            return float("nan")
        counts, means = np.array(rows).T
        mean = float(np.average(means, weights=counts))
        if quantile is None or mean <= 0.0:
            return mean
        if len(rows) < 2:
            return float(means.max())
        variance = float((counts * (means - mean) ** 2).sum() / (len(rows) - 1))
        spread = float(np.log1p(variance / mean**2))
        return mean * float(np.exp(np.sqrt(spread) * ndtri(int(quantile) / 100.0) - spread / 2.0))


def check_reads(controller: Controller, view: View, known: Callable[[str], list[str]]) -> None:
    """Raise where a controller reads what neither the engine nor the study can show."""
    for reads in controller.reads:
        is_shown = reads.signal in (*FLOWS, *GAUGES) or LATENCY.fullmatch(reads.signal)
        if is_shown or reads.key in view.relations:
            continue
        if reads.signal not in known(reads.pool):
            choices = sorted({*FLOWS, *GAUGES, *known(reads.pool)})
            raise unknown_name(controller.name, "signal", reads.signal, choices)
        raise ConfigurationError(
            f"{controller.name}: the engine does not show {reads.key}, and how it answers to work "
            "per replica is not in the study."
        )
