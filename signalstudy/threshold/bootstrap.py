"""Bootstrap: how the fit moves when whole blocks of time are drawn again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

DRAWS = 1000
DAY_SECONDS = 86_400.0
FEWEST_DAYS = 5
"""From here on days are the blocks: they are the exchangeable unit in production."""

SHORTEST_BLOCK_SECONDS = {"production": 600.0, "pressure-test": 120.0}
FEWEST_BLOCKS_OF_SPAN = {"production": 8, "pressure-test": 30}
"""Blocks are not made longer than this many to the span; a pressure test visits each level of work
once, so its blocks must stay as short as its steps."""

DECORRELATION_TIMES = 5.0


@dataclass(frozen=True, slots=True)
class Blocks:
    """Which row belongs to which block, `of_row` (rows,), and how blocks are drawn.

    `circular_rows` > 0: blocks are runs of so many rows, starting anywhere and wrapping around,
    so that no cut is favoured when there are few. `name` says it for people.
    """

    of_row: Integers
    count: int
    name: str
    circular_rows: int = 0

    @property
    def bound_count(self) -> int:
        """Give how many blocks a bound rests on."""
        return self.count

    def counted(self) -> str:
        """Give the number with the name: `144 blocks of 10 min`, `1 block of 10 min`."""
        name = self.name.replace("blocks", "block") if self.count == 1 else self.name
        return f"{self.count} {name}"

    def weights(self, draws: int, generator: np.random.Generator) -> Floats:
        """Draw how often each unit counts, (draws, units): a unit is a block, or a row."""
        if self.circular_rows == 0:
            even = np.full(self.count, 1.0 / self.count)
            return np.asarray(generator.multinomial(self.count, even, size=draws), dtype=float)
        rows = self.of_row.size
        starts = generator.multinomial(self.count, np.full(rows, 1.0 / rows), size=draws)
        wrapped = np.concatenate([starts[:, rows - self.circular_rows + 1 :], starts], axis=1)
        sums = np.cumsum(np.pad(wrapped, ((0, 0), (1, 0))), axis=1)
        return np.asarray(sums[:, self.circular_rows :] - sums[:, : -self.circular_rows], float)

    def sums(self, values: Floats, bin_of_row: Integers, bins: int) -> Floats:
        """Sum one value a row into (units, bins), the sufficient statistics of the bootstrap."""
        unit = np.arange(self.of_row.size) if self.circular_rows else self.of_row
        units = self.of_row.size if self.circular_rows else self.count
        flat = np.bincount(unit * bins + bin_of_row, weights=values, minlength=units * bins)
        return np.asarray(flat.reshape(units, bins), dtype=float)


@dataclass(frozen=True, slots=True)
class Strata:
    """Blocks of several sources, each drawn among its own; rows stand source after source.

    `told_by`: the sources that the bound rests on, whose fewest blocks say how sure it is.
    """

    sources: tuple[Blocks, ...]
    told_by: tuple[int, ...]

    @property
    def of_row(self) -> Integers:
        """Number the blocks of all sources through."""
        before = np.cumsum([0, *(one.count for one in self.sources)])
        return np.concatenate(
            [one.of_row + first for one, first in zip(self.sources, before, strict=False)]
        )

    @property
    def count(self) -> int:
        """All blocks."""
        return sum(one.count for one in self.sources)

    @property
    def bound_count(self) -> int:
        """Give the fewest blocks of a source that tells of the knee."""
        return min(self.sources[at].count for at in self.told_by)

    @property
    def name(self) -> str:
        """Say what they are, for people."""
        names = {self.sources[at].name for at in self.told_by}
        return "days" if "days" in names else "blocks"

    def counted(self) -> str:
        """Give numbers and names of all sources."""
        return " and ".join(one.counted() for one in self.sources)

    def weights(self, draws: int, generator: np.random.Generator) -> Floats:
        """Draw how often each unit counts (draws, units), within each source."""
        return np.hstack([one.weights(draws, generator) for one in self.sources])

    def sums(self, values: Floats, bin_of_row: Integers, bins: int) -> Floats:
        """Sum one value a row into (units, bins)."""
        ends = np.cumsum([one.of_row.size for one in self.sources])[:-1]
        parts = zip(self.sources, np.split(values, ends), np.split(bin_of_row, ends), strict=True)
        return np.vstack([one.sums(part, of_row, bins) for one, part, of_row in parts])


def choose_blocks(
    time_seconds: Floats, bin_seconds: float, residuals: Floats, *, role: str
) -> Blocks:
    """Choose the blocks of methods 8.3 step 4 for rows at these times.

    Days where there are five or more; else the longer of 10 min (2 min in a pressure test, drawn
    circularly) and 5 decorrelation times of the residuals, but never so long that few are left.
    """
    order = np.argsort(time_seconds, kind="stable")
    offset = time_seconds - time_seconds.min()
    span_seconds = float(offset.max()) + bin_seconds
    if role != "pressure-test" and span_seconds >= FEWEST_DAYS * DAY_SECONDS:
        blocks = Blocks(*_label(np.floor(offset / DAY_SECONDS)), name="days")
        if blocks.count >= FEWEST_DAYS:
            return blocks
    shortest = SHORTEST_BLOCK_SECONDS[role]
    wished = DECORRELATION_TIMES * decorrelation_seconds(residuals[order], bin_seconds)
    length = max(shortest, min(wished, span_seconds / FEWEST_BLOCKS_OF_SPAN[role]))
    name = f"blocks of {length / 60.0:.0f} min"
    if role != "pressure-test":
        return Blocks(*_label(np.floor(offset / length)), name=name)
    rows = min(max(1, math.ceil(length / bin_seconds)), time_seconds.size)
    of_row = np.empty(time_seconds.size, dtype=np.int64)
    of_row[order] = np.arange(time_seconds.size) // rows
    count = int(of_row.max()) + 1
    return Blocks(of_row, count, f"circular {name}", circular_rows=rows)


def decorrelation_seconds(values: Floats, bin_seconds: float) -> float:
    """Give the time in which the slow part of a series forgets, at least one bin.

    Half the integral scale, (2 sum(rho_k) / rho_1 - 1) / 2, over lags up to the first zero of the
    autocorrelation rho. For an AR(1) it is (1 + phi) / (1 - phi) / 2, and counting noise on top,
    which lowers all rho alike, leaves it as it is.
    """
    centred = values - values.mean()
    size = centred.size
    variance = float(centred @ centred)
    if size < 4 or variance <= 0.0:
        return bin_seconds
    spectrum = np.abs(np.fft.rfft(centred, 2 * size)) ** 2
    correlation = np.fft.irfft(spectrum)[1 : size // 2] / variance
    if correlation[0] <= 2.0 / math.sqrt(size):
        return bin_seconds
    below = np.flatnonzero(correlation <= 0.0)
    last = int(below[0]) if below.size else correlation.size
    scale = 2.0 * float(correlation[:last].sum()) / float(correlation[0]) - 1.0
    return max(1.0, 0.5 * scale) * bin_seconds


def _label(keys: Floats) -> tuple[Integers, int]:
    """Give each distinct key a number from 0 on, and count them."""
    distinct, labels = np.unique(keys, return_inverse=True)
    return labels.astype(np.int64).ravel(), int(distinct.size)
