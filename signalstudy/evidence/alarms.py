"""Alarms of a signal against breaches: which were announced in time, how early, how often falsely.

A breach that begins at t0 is announced by an alarm that sounds between W and H before: earlier it
is forgotten, later nothing can be done about it any more. H is what scaling takes; W is half an
hour and more. The cut above which a signal sounds is fitted on other stretches of the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Booleans = NDArray[np.bool_]
    Spans = NDArray[np.intp]

LONGEST_LEAD_SECONDS = 1800.0
MERGE_SECONDS = 600.0
MOST_FOLDS = 5
CUTS = 60
FALSE_ALARMS_PER_BREACH = 5.0
"""A breach that nobody announced costs as much as five alarms about nothing."""


# No slots: what every cut is judged by is computed once.
@dataclass(frozen=True)
class Record:
    """What alarms are judged on, in steps.

    `level` (n,): what sounds the alarm where it is high, known at each step without look-ahead.
    `breaches` (m, 2): first step and the step after the last. `scale_outs`: steps of them.
    `horizon`: how early an alarm must sound; `longest`: how early it still counts. Alarms with at
    most `merge` silent steps in between are one.
    """

    level: Floats
    breaches: Spans
    scale_outs: NDArray[np.intp]
    horizon: int
    longest: int
    merge: int

    @cached_property
    def heard(self) -> Floats:
        """The level (n,), lower than any cut where it is not known."""
        return np.where(np.isfinite(self.level), self.level, -np.inf)

    @cached_property
    def cuts(self) -> Floats:
        """Cuts to choose from, lowest first: quantiles of the level, whatever breached when.

        Denser towards the top, because what warns is rare.
        """
        known = np.sort(self.level[np.isfinite(self.level)])
        shares = 1.0 - np.geomspace(0.5, 1.0 / max(known.size, 2), CUTS)
        return np.unique(_quantiles(known, shares))

    @cached_property
    def sounds(self) -> Sounds:
        """The alarms that sound at each of the cuts, breach or none."""
        return sounds_of(self, self.cuts)

    @cached_property
    def onsets(self) -> tuple[NDArray[np.intp], Floats, Floats]:
        """Steps at which an alarm can begin, and from which cut to below which it does."""
        return _first_heard(self.heard, self.merge + 1)

    @cached_property
    def ends(self) -> tuple[NDArray[np.intp], Floats, Floats]:
        """Steps that can be an alarm's last, and from which cut to below which they are."""
        steps, lows, highs = _first_heard(self.heard[::-1], self.merge + 1)
        return self.heard.size - 1 - steps[::-1], lows[::-1], highs[::-1]

    @cached_property
    def highest_before(self) -> Floats:
        """Highest level in time to announce each breach (m,)."""
        windows = [self.heard[start:stop] for start, stop in map(self.window, self.breaches[:, 0])]
        return np.array([window.max() for window in windows])

    def window(self, breach: int) -> tuple[int, int]:
        """Give the steps in which an alarm announces a breach that begins at step `breach`."""
        return max(0, breach - self.longest), max(0, breach - self.horizon) + 1

    @cached_property
    def troubled(self) -> Booleans:
        """Steps (n,) in or before a breach, where an alarm is not false."""
        troubled = np.zeros(self.level.size, dtype=np.bool_)
        for first, last in self.breaches.tolist():
            troubled[max(0, first - self.longest) : last + self.merge] = True
        return troubled


@dataclass(frozen=True, slots=True)
class Sounds:
    """Alarms outside of breaches at some cuts.

    `cuts`: how many. `cut`, `step` (m,): at which of them each alarm sounds, and when.
    `is_censored` (m,): scaling out followed it.
    """

    cuts: int
    cut: NDArray[np.intp]
    step: NDArray[np.intp]
    is_censored: Booleans

    def count(self, within: Booleans) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Count false and censored alarms that sound `within` some steps (n,), by cut."""
        counts = within[self.step]
        every = np.bincount(self.cut[counts], minlength=self.cuts)
        censored = np.bincount(self.cut[counts & self.is_censored], minlength=self.cuts)
        return every - censored, censored


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the alarms of a stretch came to.

    `leads` (announced,): steps between an alarm and its breach. `missed`, `false_alarms`,
    `censored`: how many breaches nobody announced, alarms nothing followed, and alarms that
    scaling out followed, of which nobody knows. `calm`: steps in which a false alarm could sound.
    """

    leads: NDArray[np.intp]
    missed: int
    false_alarms: int
    censored: int
    calm: int


def judge_held_out(record: Record) -> Outcome:
    """Judge every stretch of the record by the cut that did best on the others.

    Stretches hold equal numbers of breaches; what is nearer than W to a stretch does not train.
    """
    n = record.level.size
    parts = []
    for start, stop in _stretches(record):
        is_training = np.ones(n, dtype=np.bool_)
        is_training[max(0, start - record.longest) : stop + record.longest] = False
        cut = _best_cut(record, is_training)
        is_judged = np.zeros(n, dtype=np.bool_)
        is_judged[start:stop] = True
        parts.append(judge_alarms(record, cut, is_judged))
    return Outcome(
        leads=np.concatenate([part.leads for part in parts]),
        missed=sum(part.missed for part in parts),
        false_alarms=sum(part.false_alarms for part in parts),
        censored=sum(part.censored for part in parts),
        calm=sum(part.calm for part in parts),
    )


def judge_alarms(record: Record, cut: float, within: Booleans) -> Outcome:
    """Judge the alarms above `cut` and the breaches that begin `within` some steps (n,)."""
    leads, missed = [], 0
    for breach in record.breaches[within[record.breaches[:, 0]], 0].tolist():
        start, stop = record.window(breach)
        heard = np.flatnonzero(record.heard[start:stop] > cut)
        lead = breach - start - int(heard[0]) if heard.size else 0
        leads += [lead] if lead else []
        missed += not lead
    false_alarms, censored = sounds_of(record, np.array([cut])).count(within)
    return Outcome(
        leads=np.array(leads, dtype=np.intp),
        missed=missed,
        false_alarms=int(false_alarms[0]),
        censored=int(censored[0]),
        calm=int((within & ~record.troubled & np.isfinite(record.level)).sum()),
    )


def _first_heard(level: Floats, width: int) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Find steps higher than all of the `width` before: where, the highest before, and how high.

    At such a step, and no other, a sound above a cut begins after `width` silent steps, for each
    cut from the highest before to below the step's own level.
    """
    padded = np.concatenate((np.full(width, -np.inf), level))
    before = maximum_filter1d(padded, width, origin=(width - 1) // 2 - width + 1)[: level.size]
    steps = np.flatnonzero(level > before)
    return steps, before[steps], level[steps]


def sounds_of(record: Record, cuts: Floats) -> Sounds:
    """List the alarms above each of ascending `cuts` that sound outside of breaches.

    An alarm that does not end sounds anew after each `longest`.
    """
    which, starts = _at_cuts(record.onsets, cuts)
    _, ends = _at_cuts(record.ends, cuts)
    sounds = (ends - starts) // record.longest + 1
    again = np.arange(sounds.sum()) - np.repeat(np.cumsum(sounds) - sounds, sounds)
    which, at = np.repeat(which, sounds), np.repeat(starts, sounds) + again * record.longest
    calm = ~record.troubled[at]
    which, at = which[calm], at[calm]
    outs = np.sort(record.scale_outs)
    is_followed = np.searchsorted(outs, at + record.longest) > np.searchsorted(outs, at)
    return Sounds(cuts.size, which, at, is_followed)


def _at_cuts(
    edges: tuple[NDArray[np.intp], Floats, Floats], cuts: Floats
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """List the edges of alarms at each cut, in order of cut and time: number of the cut, step."""
    # Most edges lie below all cuts.
    seen = edges[2] > cuts[0]
    steps, lows, highs = (of[seen] for of in edges)
    lowest, above = np.searchsorted(cuts, lows), np.searchsorted(cuts, highs)
    times = above - lowest
    places = np.repeat(np.arange(steps.size), times)
    which = np.arange(places.size) - np.repeat(np.cumsum(times) - above, times)
    # Small whole numbers are sorted in a pass or two; the order of time is kept.
    order = np.argsort(which.astype(np.int16), kind="stable")
    return which[order], steps[places[order]]


def _stretches(record: Record) -> list[tuple[int, int]]:
    """Cut the record between breaches into at most five stretches of as many breaches each."""
    onsets = record.breaches[:, 0]
    groups = np.array_split(np.arange(onsets.size), min(MOST_FOLDS, onsets.size))
    inner = [int(onsets[a[-1]] + onsets[b[0]]) // 2 for a, b in pairwise(groups)]
    edges = [0, *inner, record.level.size]
    return list(pairwise(edges))


def _best_cut(record: Record, training: Booleans) -> float:
    """Choose the cut that announces most on `training` steps for the false alarms it costs.

    Of cuts that do equally well the middle between lowest and highest, farthest from those that do
    not.
    """
    if not np.isfinite(record.level[training]).any():
        return np.inf
    cuts = record.cuts
    breaches = record.breaches[:, 0]
    highest = record.highest_before[training[breaches] & (breaches > 0)]
    missed = (highest <= cuts[:, None]).sum(axis=1) + int(training[breaches[breaches == 0]].sum())
    false_alarms, _ = record.sounds.count(training)
    costs = missed + false_alarms / FALSE_ALARMS_PER_BREACH
    equally_good = cuts[costs <= costs.min()]
    return float(equally_good[0] + equally_good[-1]) / 2.0


def _quantiles(ordered: Floats, shares: Floats) -> Floats:
    """Read quantiles off ascending values (n,), linearly between them as np.quantile does."""
    place = shares * (ordered.size - 1)
    left = np.floor(place).astype(np.intp)
    right = np.minimum(left + 1, ordered.size - 1)
    return ordered[left] + (place - left) * (ordered[right] - ordered[left])
