"""A short round of `make fuzz`, the same inputs each time."""

from __future__ import annotations

import numpy as np
import pytest

from tests.fuzz.fuzz import TARGETS, mutated, once

ROUNDS = 40


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_input_is_read_or_refused_in_one_sentence(name):
    random = np.random.default_rng(11)
    _, sound = TARGETS[name]
    once(name, sound)
    for _ in range(ROUNDS):
        once(name, mutated(sound, random))
