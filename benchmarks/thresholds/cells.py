"""The settings of the benchmark: fleets, mixes, objectives, ramps and ways of recording."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.thresholds.fleet import Fleet
from benchmarks.thresholds.traffic import Mix
from signalstudy.vocabulary.objectives import Objective

TTFT = Objective("ttft", 0.95, 1.0)
TBT = Objective("tbt", 0.95, 0.04)
SMOOTH = Mix()
HEAVY = Mix(prompt_spread=1.3, output_spread=1.0)


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting.

    `pool`: the pool under test, whose objective is `objective`; `over_knee`: the ramp's last rate
    over that pool's knee; `other_over_knee`: where given, the other pool is sized so that its own
    knee lies at that share of the tested pool's (below 1 it saturates first). `hard`: why one test
    cannot tell; reported, and not summed up with the others.
    """

    name: str
    pool: str
    objective: Objective
    fleet: Fleet = field(default_factory=Fleet)
    mix: Mix = SMOOTH
    over_knee: float = 1.4
    other_over_knee: float = 2.5
    steps: int = 30
    dwell_seconds: float = 120.0
    step_seconds: float = 5.0
    by_buckets: bool = False
    shuffled: bool = False
    hard: str = ""

    @property
    def other(self) -> Objective:
        """Give the objective of the other pool, which is always set as well."""
        return TBT if self.pool == "prefill" else TTFT


CELLS = (
    Cell("TTFT, steps of 2 min", "prefill", TTFT),
    Cell("TTFT p99", "prefill", Objective("ttft", 0.99, 1.0)),
    Cell("TTFT p90 at 2 s", "prefill", Objective("ttft", 0.9, 2.0)),
    Cell("TTFT, heavy-tailed prompts", "prefill", TTFT, mix=HEAVY),
    Cell("TTFT, arrivals in bunches", "prefill", TTFT, mix=Mix(regularity=0.4)),
    Cell("TTFT, 12 levels of 5 min in any order", "prefill", TTFT, steps=12, dwell_seconds=300.0,
         shuffled=True),
    Cell("TTFT, one replica", "prefill", TTFT, Fleet(prefill_replicas=1)),
    Cell("TTFT, eight replicas", "prefill", TTFT, Fleet(prefill_replicas=8)),
    Cell("TTFT, slope of 40 min", "prefill", TTFT, steps=240, dwell_seconds=10.0),
    Cell("TTFT, 20 steps of 5 min at 15 s", "prefill", TTFT, steps=20, dwell_seconds=300.0,
         step_seconds=15.0),
    Cell("TTFT in buckets", "prefill", TTFT, by_buckets=True),
    Cell("TBT, straight law", "decode", TBT),
    Cell("TBT p99, curved law", "decode", Objective("tbt", 0.99, 0.05),
         Fleet(law_seconds=(0.02, 5e-5, 6e-7, 1e9))),
    Cell("TBT p90, cliff", "decode", Objective("tbt", 0.9, 0.03),
         Fleet(law_seconds=(0.02, 4e-5, 0.0, 120.0))),
    Cell("TBT, heavy-tailed lengths", "decode", TBT, mix=HEAVY),
    Cell("TBT, engine with noise of 3 %", "decode", TBT,
         Fleet(noise=0.03, noise_memory_seconds=60.0)),
    Cell("TBT, arrivals in bunches", "decode", TBT, mix=Mix(regularity=0.4)),
    Cell("TBT, 12 levels of 5 min in any order", "decode", TBT, steps=12, dwell_seconds=300.0,
         shuffled=True),
    Cell("TBT, slope of 40 min", "decode", TBT, steps=240, dwell_seconds=10.0),
    Cell("TBT, long answers", "decode", TBT, mix=Mix(prompt_tokens=380.0, output_tokens=850.0)),
    Cell("TBT at 50 ms in buckets", "decode", Objective("tbt", 0.95, 0.05), by_buckets=True),
    Cell("TBT, four replicas, 15 s", "decode", TBT, Fleet(decode_replicas=4), step_seconds=15.0),
    Cell("TTFT, knee never reached", "prefill", TTFT, over_knee=0.8),
    Cell("TBT, knee never reached", "decode", TBT, over_knee=0.85),
    Cell("TTFT, decode saturates first", "prefill", TTFT, over_knee=1.2, other_over_knee=0.6),
    Cell("TBT, prefill saturates first", "decode", TBT, over_knee=1.2, other_over_knee=0.6),
    Cell("TTFT, demand in bursts of 30 s", "prefill", TTFT, mix=Mix(bursts=0.3),
         hard="work within a minute swings by 30 %: the knee at a constant mean rate lies lower"),
    Cell("TBT, engine that slows for minutes", "decode", TBT, Fleet(noise=0.06),
         hard="speed wanders by 6 % over 5 min: a ramp passes its knee in one of its moods"),
)  # fmt: skip
