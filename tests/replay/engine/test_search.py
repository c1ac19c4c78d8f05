"""The search in hindsight: it finds the cheapest choice that is enough, with few tries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.replay.engine.hindsight import Option, Search

SIZES = {"prefill": 19, "decode": 25}


def searched(needs, first, wanted=0.99):
    """Search where a pool keeps everything from `needs[pool]` on, and nothing below."""
    options = {
        pool: [Option(str(at), np.array([1.0]), float(at + 1)) for at in range(size)]
        for pool, size in SIZES.items()
    }
    tries = []

    def try_all(choices):
        tries.extend(choices)
        return [
            (float(all(at >= needs[pool] for pool, at in one.items())), sum(one.values()))
            for one in choices
        ]

    search = Search(options, first, wanted, try_all)
    return search.run(), tries


@settings(max_examples=60, deadline=None)
@given(
    needs=st.fixed_dictionaries({p: st.integers(0, size - 1) for p, size in SIZES.items()}),
    first=st.fixed_dictionaries({p: st.integers(0, size - 1) for p, size in SIZES.items()}),
)
def test_it_finds_the_cheapest_that_is_enough(needs, first):
    best, tries = searched(needs, first)
    assert best == needs
    assert len(tries) <= 24
    keys = [tuple(one.values()) for one in tries]
    assert len(keys) == len(set(keys))  # nothing is run twice


def test_where_nothing_is_enough_it_gives_the_best():
    best, _ = searched({"prefill": 99, "decode": 99}, {"prefill": 3, "decode": 3})
    assert best in [dict(zip(SIZES, at, strict=True)) for at in itertools.product(
        *(range(size) for size in SIZES.values()))]  # fmt: skip


@pytest.mark.parametrize("need", [0, 7, 18])
def test_a_good_first_guess_is_cheap(need):
    _, tries = searched({"prefill": need, "decode": need}, {"prefill": need, "decode": need})
    assert len(tries) <= 6


@pytest.mark.parametrize("steepness", [0.5, 0.9, 1.6])
def test_pools_that_miss_a_little_each_are_searched_without_detours(steepness):
    options = {
        pool: [Option(str(at), np.array([1.0]), float(at + 1)) for at in range(size)]
        for pool, size in SIZES.items()
    }
    knees = {"prefill": 9, "decode": 14}
    tries = []

    def kept(one):
        missed = sum(0.006 * np.exp(-steepness * (at - knees[pool])) for pool, at in one.items())
        return 1.0 - min(missed, 1.0), float(sum(one.values()))

    def try_all(choices):
        tries.extend(choices)
        return [kept(one) for one in choices]

    best = Search(options, {"prefill": 8, "decode": 12}, 0.99, try_all).run()
    every = [dict(zip(SIZES, at, strict=True)) for at in itertools.product(
        *(range(size) for size in SIZES.values()))]  # fmt: skip
    cheapest = min(kept(one)[1] for one in every if kept(one)[0] >= 0.99)
    assert kept(best)[0] >= 0.99
    assert kept(best)[1] == cheapest
    assert len(tries) <= 13


def test_where_even_the_most_generous_fails_no_combination_is_run():
    options = {pool: [Option("1", np.array([1.0]), 1.0)] * 6 for pool in SIZES}
    tries = []

    def try_all(choices):
        tries.extend(choices)
        return [(0.5, 1.0) for _ in choices]

    Search(options, dict.fromkeys(SIZES, 3), 0.99, try_all).run()
    assert tries == [dict.fromkeys(SIZES, 5)]
