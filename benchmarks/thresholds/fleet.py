"""A small P/D fleet, simulated request by request: queueing for prefill, sharing for decode.

Prefill: each replica serves one prompt after another, first come, first served. Decode: all
running requests of a replica get one token per iteration, whose length grows with their number;
beyond `most_running` requests wait. Round robin in both pools. Not the generator of
`signalstudy.synthetic` (there latency follows work at once): here queues form and drain.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NOISE_STEP_SECONDS = 10.0
TOKENS_OF_A_CACHE = 320_000.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """Two pools and what their hardware does.

    A prompt of n tokens takes `prefill_seconds` + n `prefill_seconds_per_token`. An iteration of b
    running requests takes `law_seconds` (a, c, d, cliff): a + c b + d b^2, and twice c more for
    each request beyond `cliff`. `noise`: standard deviation of the logarithm of an AR(1) factor on
    both with a memory of `noise_memory_seconds`.
    """

    prefill_replicas: int = 2
    decode_replicas: int = 2
    prefill_seconds: float = 0.012
    prefill_seconds_per_token: float = 1.05e-4
    law_seconds: tuple[float, float, float, float] = (0.021, 0.00012, 0.0, 1e9)
    most_running: int = 256
    noise: float = 0.0
    noise_memory_seconds: float = 300.0

    def iteration_seconds(self) -> list[float]:
        """Give the length of an iteration with 0, 1, ... `most_running` requests."""
        a, c, d, cliff = self.law_seconds
        b = np.arange(self.most_running + 1, dtype=float)
        seconds: list[float] = (a + c * b + d * b**2 + 2.0 * c * np.maximum(b - cliff, 0)).tolist()
        return seconds


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests offered (m,), by time."""

    at_seconds: Floats
    prompt_tokens: Floats
    output_tokens: Floats


@dataclass(frozen=True, slots=True)
class Served:
    """What became of each request (m,), in seconds since the start."""

    arrivals: Arrivals
    prefill_began: Floats
    prefill_ended: Floats
    decode_began: Floats
    first_token: Floats
    ended: Floats

    @property
    def ttft_seconds(self) -> Floats:
        """Give the time to the first token as the client sees it."""
        return self.first_token - self.arrivals.at_seconds

    @property
    def tbt_seconds(self) -> Floats:
        """Give each request's mean time between tokens."""
        return (self.ended - self.first_token) / np.maximum(self.arrivals.output_tokens - 1.0, 1.0)


def serve(fleet: Fleet, arrivals: Arrivals, rng: np.random.Generator) -> Served:
    """Serve all requests to their end."""
    size = arrivals.at_seconds.size
    slow = _noise(fleet, float(arrivals.at_seconds[-1]) + 3600.0, rng)
    began, ended = _prefill(fleet, arrivals, slow)
    joined, first, last = np.empty(size), np.empty(size), np.empty(size)
    order = np.argsort(ended, kind="stable")
    for replica in range(fleet.decode_replicas):
        mine = order[replica :: fleet.decode_replicas]
        joined[mine], first[mine], last[mine] = _decode(
            fleet, ended[mine], arrivals.output_tokens[mine], slow.tolist()
        )
    return Served(arrivals, began, ended, joined, first, last)


def ttft_alone(fleet: Fleet, arrivals: Arrivals, rng: np.random.Generator) -> Floats:
    """Give the time to the first token where decode is ample: prefill and one iteration (m,)."""
    slow = _noise(fleet, float(arrivals.at_seconds[-1]) + 3600.0, rng)
    ended = _prefill(fleet, arrivals, slow)[1]
    return ended - arrivals.at_seconds + fleet.iteration_seconds()[1]


def _prefill(fleet: Fleet, arrivals: Arrivals, slow: Floats) -> tuple[Floats, Floats]:
    """Serve prompts first come, first served, round robin: when each began and ended."""
    work = fleet.prefill_seconds + fleet.prefill_seconds_per_token * arrivals.prompt_tokens
    work = work * slow[(arrivals.at_seconds / NOISE_STEP_SECONDS).astype(int)]
    began, ended = np.empty(work.size), np.empty(work.size)
    for replica in range(fleet.prefill_replicas):
        mine = slice(replica, None, fleet.prefill_replicas)
        done = np.cumsum(work[mine])  # Lindley's recursion, unrolled
        ended[mine] = done + np.maximum.accumulate(arrivals.at_seconds[mine] - (done - work[mine]))
        began[mine] = ended[mine] - work[mine]
    return began, ended


def _noise(fleet: Fleet, span_seconds: float, rng: np.random.Generator) -> Floats:
    """Draw the factor on all service times, one per `NOISE_STEP_SECONDS`."""
    steps = int(span_seconds / NOISE_STEP_SECONDS) + 2
    if fleet.noise == 0.0:
        return np.ones(steps)
    keep = np.exp(-NOISE_STEP_SECONDS / fleet.noise_memory_seconds)
    shocks = rng.standard_normal(steps) * np.sqrt(1.0 - keep**2)
    walk = lfilter([1.0], [1.0, -keep], shocks, zi=[keep * rng.standard_normal()])[0]
    return np.asarray(np.exp(fleet.noise * walk - 0.5 * fleet.noise**2))


def _decode(
    fleet: Fleet, ready: Floats, tokens: Floats, slow: list[float]
) -> tuple[Floats, Floats, Floats]:
    """Share one replica among its requests: when each joined, had its first and its last token.

    `made` counts the tokens that a request running since the start would have; a request that
    joins at `made` ends at `made` + its tokens, whatever the pace in between.
    """
    pace = fleet.iteration_seconds()
    joined, first, last = np.empty(ready.size), np.empty(ready.size), np.empty(ready.size)
    running: list[tuple[float, int]] = []
    waiting: list[int] = []
    head, now, made, longest = 0, 0.0, 0.0, len(slow) - 1
    arrivals = [*ready.tolist(), float("inf")]
    wanted = tokens.tolist()
    for index, at in enumerate(arrivals):
        while running:
            second = pace[len(running)] * slow[min(int(now / NOISE_STEP_SECONDS), longest)]
            ends = now + (running[0][0] - made) * second
            if ends > at:
                break
            made, done = heapq.heappop(running)
            now = last[done] = ends
            if head < len(waiting):
                freed = waiting[head]
                heapq.heappush(running, (made + wanted[freed], freed))
                joined[freed], first[freed] = now, now + pace[len(running)]
                head += 1
        if index == ready.size:
            break
        if running:
            second = pace[len(running)] * slow[min(int(now / NOISE_STEP_SECONDS), longest)]
            made += (at - now) / second
        now = at
        if len(running) < fleet.most_running:
            heapq.heappush(running, (made + wanted[index], index))
            joined[index], first[index] = now, now + pace[len(running)]
        else:
            waiting.append(index)
    return joined, first, np.maximum(last, first)


def tokens_done(edges: Floats, begins: Floats, ends: Floats, tokens: Floats) -> Floats:
    """Give tokens per interval between edges, each request's spread evenly from begin to end."""

    def up_to(starts: Floats) -> Floats:
        order = np.argsort(starts, kind="stable")
        rate = (tokens / np.maximum(ends - begins, 1e-6))[order]
        many = np.concatenate([[0.0], np.cumsum(rate)])
        moment = np.concatenate([[0.0], np.cumsum(rate * starts[order])])
        place = np.searchsorted(starts[order], edges, side="right")
        return many[place] * edges - moment[place]

    return np.asarray(np.diff(up_to(begins) - up_to(ends)))


def in_flight(at: Floats, begins: Floats, ends: Floats) -> Floats:
    """Count requests between begin and end at instants."""
    return np.asarray(
        np.searchsorted(np.sort(begins), at, side="right")
        - np.searchsorted(np.sort(ends), at, side="right"),
        dtype=float,
    )
