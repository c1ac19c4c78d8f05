import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from signalstudy.evidence.alarms import Record, judge_alarms, judge_held_out

STEPS = 2000


def record(level, breaches, scale_outs=()):
    return Record(
        level=np.asarray(level, dtype=float),
        breaches=np.array(breaches, dtype=int).reshape(-1, 2),
        scale_outs=np.array(scale_outs, dtype=int),
        horizon=10,
        longest=100,
        merge=20,
    )


def raised(*spans):
    level = np.zeros(STEPS)
    for first, last in spans:
        level[first:last] = 1.0
    return level


EVERYWHERE = np.ones(STEPS, dtype=bool)


def test_an_alarm_in_time_announces_its_breach_with_its_lead():
    found = judge_alarms(record(raised((450, 520)), [[500, 560]]), 0.5, EVERYWHERE)
    assert found.leads.tolist() == [50]
    assert (found.missed, found.false_alarms, found.censored) == (0, 0, 0)


def test_an_alarm_too_late_to_scale_announces_nothing():
    found = judge_alarms(record(raised((495, 520)), [[500, 560]]), 0.5, EVERYWHERE)
    assert (found.leads.size, found.missed, found.false_alarms) == (0, 1, 0)


def test_an_alarm_that_no_breach_follows_is_false():
    found = judge_alarms(record(raised((100, 120)), [[500, 560]]), 0.5, EVERYWHERE)
    assert (found.missed, found.false_alarms) == (1, 1)


def test_an_alarm_that_a_scale_out_follows_is_censored():
    found = judge_alarms(record(raised((100, 120)), [[500, 560]], [110]), 0.5, EVERYWHERE)
    assert (found.false_alarms, found.censored) == (0, 1)


def test_an_alarm_that_never_stops_is_false_again_and_again():
    found = judge_alarms(record(raised((600, 2000)), [[500, 560]]), 0.5, EVERYWHERE)
    assert found.false_alarms == 14


def test_unknown_levels_sound_no_alarm_and_are_no_calm():
    level = raised((450, 520))
    level[1000:] = np.nan
    found = judge_alarms(record(level, [[500, 560]]), 0.5, EVERYWHERE)
    assert found.calm == 1000 - (560 + 20 - 400)


def test_the_cut_is_fitted_where_it_is_not_judged():
    onsets = [300, 700, 1100, 1500]
    level = np.random.default_rng(0).normal(0.0, 0.1, STEPS)
    for onset in onsets:
        level[onset - 40 : onset + 30] += 2.0
    found = judge_held_out(record(level, [[onset, onset + 30] for onset in onsets]))
    assert found.leads.size == 4
    assert (found.missed, found.false_alarms) == (0, 0)


def test_a_cut_that_fits_one_breach_only_does_not_announce_the_other():
    level = np.zeros(STEPS)
    level[460:500], level[1460:1500] = 1.0, -1.0
    found = judge_held_out(record(level, [[500, 540], [1500, 1540]]))
    assert found.leads.size <= 1


def plainly(of, cut, within):
    """Judge alarms step by step, as the definition says: missed, false, censored."""
    sounding = of.level > cut
    alarms, silent = [], of.merge + 1
    for step in range(of.level.size):
        if sounding[step] and silent > of.merge:
            alarms.append([step, step])
        if sounding[step]:
            alarms[-1][1], silent = step, 0
        else:
            silent += 1
    missed = sum(
        within[onset]
        and not sounding[max(0, onset - of.longest) : max(0, onset - of.horizon) + 1].any()
        for onset in of.breaches[:, 0]
    )
    false_alarms = censored = 0
    for first, last in alarms:
        for start in range(first, last + 1, of.longest):
            announced = any(a - of.longest <= start < b + of.merge for a, b in of.breaches)
            if within[start] and not announced:
                followed = any(start <= out < start + of.longest for out in of.scale_outs)
                censored += followed
                false_alarms += not followed
    return missed, false_alarms, censored


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(1, 12))
def test_all_cuts_at_once_are_judged_as_each_alone_step_by_step(seed, merge, memory):
    rng = np.random.default_rng(seed)
    level = np.convolve(rng.normal(size=300), np.ones(memory), mode="same").round(1)
    level[rng.random(300) < 0.05] = np.nan
    onsets = np.sort(rng.choice(np.arange(1, 300), 3, replace=False))
    of = Record(level, np.column_stack((onsets, onsets + 5)), rng.integers(0, 300, 4), 3, 25, merge)
    within = rng.random(300) < 0.8
    for cut in (-0.5, 0.0, 0.7, 1.5):
        found = judge_alarms(of, cut, within)
        assert (found.missed, found.false_alarms, found.censored) == plainly(of, cut, within)
