import numpy as np

from signalstudy.evidence.losses import block_losses
from tests.evidence.planted import autoregression, day_of_demand, prepared

DEMAND = day_of_demand()


def mean_loss(signal, **more):
    return np.nanmean(block_losses(prepared(signal, DEMAND, **more), 120.0))


def test_losses_come_in_the_blocks_of_the_record():
    assert block_losses(prepared(DEMAND, DEMAND), 120.0).shape == (24,)


def test_a_prompt_signal_loses_less_than_a_late_one_and_that_less_than_noise():
    noise = autoregression(np.random.default_rng(0), DEMAND.size, 12, 1.0)
    prompt, late, nothing = mean_loss(DEMAND), mean_loss(np.roll(DEMAND, 60)), mean_loss(noise)
    assert prompt < late < nothing


def test_units_of_signal_and_demand_do_not_matter():
    plain = block_losses(prepared(DEMAND, DEMAND), 120.0)
    scaled = block_losses(prepared(DEMAND * 7.0, DEMAND * 1000.0), 120.0)
    np.testing.assert_allclose(plain, scaled, rtol=1e-9)


def test_an_intensive_signal_counts_with_its_replicas():
    replicas = np.ceil(np.roll(DEMAND, 60) / 300.0)
    share = DEMAND / replicas / 400.0
    intensive = mean_loss(share, kind="intensive", replicas=replicas)
    total = mean_loss(DEMAND, replicas=replicas)
    assert np.isclose(intensive, total)


def test_a_block_without_the_signal_has_no_loss():
    signal = DEMAND.copy()
    signal[360:720] = np.nan
    losses = block_losses(prepared(signal, DEMAND), 120.0)
    assert np.isnan(losses[1])
    assert np.isfinite(np.delete(losses, 1)).all()


def test_what_cannot_be_judged_has_no_losses():
    unknown = np.full(DEMAND.size, np.nan)
    assert block_losses(prepared(unknown, DEMAND), 120.0) is None
    assert block_losses(prepared(DEMAND, unknown), 120.0) is None
    assert block_losses(prepared(DEMAND, DEMAND, circular="the same series"), 120.0) is None
