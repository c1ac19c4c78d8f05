"""What is planted: the two services, their demand over the day, their replicas.

Every number here is our own choice; none is taken from a recording.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

Pool = Literal["prefill", "decode"]

DAY_SECONDS = 86_400
STARTUP_SECONDS = 120.0
TTFT_LIMIT_SECONDS = 1.0
TBT_LIMIT_SECONDS = 0.05
ALLOWED_SHARE = 0.05
"""The objectives are p95: one request in twenty may be over the limit."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """A lognormal distribution of token counts, cut at both ends."""

    median: float
    sigma: float
    smallest: int
    largest: int

    def draw(self, size: int, rng: np.random.Generator) -> Integers:
        """Draw `size` token counts."""
        tokens = self.median * np.exp(self.sigma * rng.standard_normal(size))
        return np.clip(np.rint(tokens), self.smallest, self.largest).astype(np.int64)


@dataclass(frozen=True, slots=True)
class SharedPrefixes:
    """Prompts that begin with one of a few texts: what the prefix cache can find.

    `tokens[i]` is the length of text i, a multiple of the trace's block of 512 tokens. Prompts that
    share nothing get as many tokens of their own, so that the mix moves the cache hits and nothing
    else.
    """

    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its requests, its replicas and when their number changes.

    `changes`: (hour of the day, pool, replicas wanted from then on), unrelated to demand.
    `requests_per_second`, `shared_share`: functions of the seconds since midnight.
    `keeps_replica_names`: a new replica takes over the name of one that is gone, as in a
    StatefulSet (its counters start again at 0); otherwise each has a name of its own.
    """

    name: str
    seed: int
    own_prompt: Lengths
    output: Lengths
    prefixes: SharedPrefixes
    prefill_replicas: int
    decode_replicas: int
    changes: tuple[tuple[float, Pool, int], ...]
    requests_per_second: Callable[[Floats, np.random.Generator], Floats]
    shared_share: Callable[[Floats], Floats]
    keeps_replica_names: bool


@dataclass(frozen=True, slots=True)
class Requests:
    """Offered requests in order of arrival. `shared_text` is -1 where nothing is shared."""

    arrived_ms: Floats
    prompt_tokens: Integers
    output_tokens: Integers
    shared_text: Integers
    shared_tokens: Integers


def _hump(hours: Floats, centre: float, width: float) -> Floats:
    """One smooth peak on the circle of 24 hours, 1 at its centre."""
    distance = (hours - centre + 12.0) % 24.0 - 12.0
    return np.exp(-0.5 * (distance / width) ** 2)


def _restlessness(seconds: Floats, rng: np.random.Generator) -> Floats:
    """Return slow noise times bursts.

    Noise: Ornstein-Uhlenbeck, 20 min, 10 %. Bursts: 16 a day, +25 to 60 %, 4 to 14 min each.
    """
    step = float(seconds[1] - seconds[0])
    kept = np.exp(-step / 1200.0)
    level = np.empty(seconds.size)
    state = 0.0
    for i, shock in enumerate(rng.standard_normal(seconds.size)):
        state = kept * state + 0.10 * np.sqrt(1.0 - kept**2) * shock
        level[i] = state
    factor = np.exp(level)
    for start in rng.uniform(0.0, DAY_SECONDS, 16):
        rise, length = rng.uniform(0.25, 0.6), rng.uniform(240.0, 840.0)
        factor[(seconds >= start) & (seconds < start + length)] *= 1.0 + rise
    return factor


def _chat_demand(seconds: Floats, rng: np.random.Generator) -> Floats:
    hours = seconds / 3600.0
    rhythm = 0.75 + 2.80 * _hump(hours, 10.8, 2.3) + 3.00 * _hump(hours, 20.2, 1.9)
    return rhythm * _restlessness(seconds, rng)


def _search_demand(seconds: Floats, rng: np.random.Generator) -> Floats:
    hours = seconds / 3600.0
    rhythm = 1.0 + 3.2 * _hump(hours, 14.0, 4.0)
    return rhythm * _restlessness(seconds, rng)


def _chat_shared_share(seconds: Floats) -> Floats:
    return np.full(seconds.size, 0.45)


def _search_shared_share(seconds: Floats) -> Floats:
    """Two slow waves (5.3 h, 3.4 h), so that cache hits come and go regardless of demand."""
    hours = seconds / 3600.0
    wave = np.sin(2 * np.pi * hours / 5.3 + 0.4) + 0.45 * np.sin(2 * np.pi * hours / 3.4 + 2.0)
    return np.clip(0.54 + 0.40 * wave, 0.10, 0.97)


CHAT = Service(
    name="chat",
    seed=20260310,
    own_prompt=Lengths(median=800.0, sigma=0.6, smallest=16, largest=6000),
    output=Lengths(median=440.0, sigma=0.7, smallest=8, largest=3000),
    prefixes=SharedPrefixes(tokens=(512, 512, 512, 512, 1024, 1024)),
    prefill_replicas=2,
    decode_replicas=3,
    changes=(
        (1.50, "decode", 2),
        (2.75, "prefill", 1),
        (4.00, "decode", 3),
        (5.25, "prefill", 2),
        (8.00, "decode", 4),
        (9.25, "decode", 3),
        (10.50, "prefill", 3),
        (11.75, "prefill", 2),
        (13.00, "decode", 2),
        (14.50, "decode", 3),
        (15.50, "decode", 4),
        (17.00, "decode", 3),
        (17.75, "prefill", 3),
        (19.00, "prefill", 2),
        (22.25, "decode", 2),
        (23.25, "decode", 3),
    ),
    requests_per_second=_chat_demand,
    shared_share=_chat_shared_share,
    keeps_replica_names=True,
)

SEARCH = Service(
    name="search",
    seed=20260311,
    own_prompt=Lengths(median=350.0, sigma=0.6, smallest=16, largest=4000),
    output=Lengths(median=130.0, sigma=0.6, smallest=8, largest=1000),
    prefixes=SharedPrefixes(tokens=(2048,) * 8),
    prefill_replicas=3,
    decode_replicas=2,
    changes=(
        (6.00, "prefill", 2),
        (9.00, "prefill", 3),
        (12.00, "decode", 3),
        (16.00, "decode", 2),
        (18.50, "prefill", 4),
        (21.00, "prefill", 3),
    ),
    requests_per_second=_search_demand,
    shared_share=_search_shared_share,
    keeps_replica_names=False,
)

SERVICES = (CHAT, SEARCH)


def draw_requests(
    service: Service, arrived_seconds: Floats, shared_share: Floats, rng: np.random.Generator
) -> Requests:
    """Give each arrival its lengths, and a shared text with probability `shared_share`."""
    count = arrived_seconds.size
    text_tokens = np.array(service.prefixes.tokens, dtype=np.int64)
    text = rng.integers(0, text_tokens.size, count)
    own = service.own_prompt.draw(count, rng)
    is_shared = rng.uniform(size=count) < shared_share
    return Requests(
        arrived_ms=np.round(arrived_seconds * 1000.0, 3),
        prompt_tokens=own + text_tokens[text],
        output_tokens=service.output.draw(count, rng),
        shared_text=np.where(is_shared, text, -1),
        shared_tokens=np.where(is_shared, text_tokens[text], 0),
    )


def draw_day(service: Service) -> Requests:
    """Draw the service's 24 hours, a Poisson process whose rate moves every 10 seconds."""
    rng = np.random.default_rng(service.seed)
    starts = np.arange(0.0, DAY_SECONDS, 10.0)
    counts = rng.poisson(10.0 * service.requests_per_second(starts, rng))
    arrived = np.sort(np.repeat(starts, counts) + rng.uniform(0.0, 10.0, int(counts.sum())))
    return draw_requests(service, arrived, service.shared_share(arrived), rng)


def draw_constant(
    service: Service, requests_per_second: float, shared_share: float, seconds: float, seed: int
) -> Requests:
    """Draw the same requests at a constant rate (Poisson): the ground truth of a knee."""
    rng = np.random.default_rng(seed)
    count = int(rng.poisson(requests_per_second * seconds))
    arrived = np.sort(rng.uniform(0.0, seconds, count))
    return draw_requests(service, arrived, np.full(count, shared_share), rng)
