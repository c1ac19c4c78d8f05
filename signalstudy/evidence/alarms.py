"""Alarms of a signal against breaches: which were announced in time, how early, how often falsely.

A breach that begins at t0 is announced by an alarm that sounds between W and H before: earlier it
is forgotten, later nothing can be done about it any more. H is what scaling takes; W is half an
hour and more. The cut above which a signal sounds is fitted on other stretches of the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.breaches import merged
from signalstudy.evidence.series import runs

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


@dataclass(frozen=True, slots=True)
class Record:
    """What alarms are judged on, in steps.

    `level` (n,): what sounds the alarm where it is high, known at each step without look-ahead.
    `breaches` (m, 2): first step and the step after the last. `scale_outs`: steps of them.
    `horizon`: how early an alarm must sound; `longest`: how early it still counts.
    """

    level: Floats
    breaches: Spans
    scale_outs: NDArray[np.intp]
    horizon: int
    longest: int
    merge: int


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
    sounding = np.nan_to_num(record.level, nan=-np.inf) > cut
    alarms = merged(runs(sounding), record.merge)
    leads, missed = [], 0
    for first, _ in record.breaches[within[record.breaches[:, 0]]].tolist():
        lead = _lead(sounding, first, record)
        if lead:
            leads.append(lead)
        else:
            missed += 1
    troubled = _troubled(record)
    false_alarms = censored = 0
    for start in _cut_up(alarms, record.longest):
        if not within[start] or troubled[start]:
            continue
        following = (record.scale_outs >= start) & (record.scale_outs < start + record.longest)
        censored += bool(following.any())
        false_alarms += not following.any()
    return Outcome(
        leads=np.array(leads, dtype=np.intp),
        missed=missed,
        false_alarms=false_alarms,
        censored=censored,
        calm=int((within & ~troubled & np.isfinite(record.level)).sum()),
    )


def _lead(sounding: Booleans, breach: int, record: Record) -> int:
    """Give how many steps before a breach the alarm began to sound, 0 where not in time."""
    start = max(0, breach - record.longest)
    heard = np.flatnonzero(sounding[start : max(0, breach - record.horizon) + 1])
    return breach - start - int(heard[0]) if heard.size else 0


def _troubled(record: Record) -> Booleans:
    """Tell the steps (n,) in or before a breach, where an alarm is not false."""
    troubled = np.zeros(record.level.size, dtype=np.bool_)
    for first, last in record.breaches.tolist():
        troubled[max(0, first - record.longest) : last + record.merge] = True
    return troubled


def _cut_up(alarms: Spans, longest: int) -> list[int]:
    """Give the start of each alarm; one that does not end sounds anew after each `longest`."""
    return [start for first, last in alarms.tolist() for start in range(first, last, longest)]


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
    known = record.level[training & np.isfinite(record.level)]
    if not known.size:
        return np.inf
    # Denser towards the top: what warns is rare.
    shares = 1.0 - np.geomspace(0.5, 1.0 / max(known.size, 2), CUTS)
    cuts = np.unique(np.quantile(known, shares))
    found = [judge_alarms(record, cut, training) for cut in cuts.tolist()]
    costs = np.array([of.missed + of.false_alarms / FALSE_ALARMS_PER_BREACH for of in found])
    equally_good = cuts[costs <= costs.min()]
    return float(equally_good[0] + equally_good[-1]) / 2.0
