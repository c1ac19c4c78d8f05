"""OperatingPoints: measured steady states at fixed concurrency, without a time axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """Closed-loop measurements of one service, arrays (m,), NaN where not known.

    Latencies are means over a run, in seconds; `replicas` is 1 unless the data say otherwise.
    """

    service: str
    concurrency_requests: Floats
    ttft_seconds: Floats
    tbt_seconds: Floats
    prompt_tokens: Floats
    output_tokens: Floats
    gpus_per_replica: Floats

    @property
    def decode_tokens_per_second(self) -> Floats:
        """Decode throughput of the whole system, by Little's law for a closed loop (m,)."""
        cycle_seconds = self.ttft_seconds + (self.output_tokens - 1.0) * self.tbt_seconds
        return self.concurrency_requests * self.output_tokens / cycle_seconds
