"""Twin of replay/score.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from signalstudy.replay.draws import draw
from signalstudy.replay.grounds import lay_grounds
from signalstudy.replay.paths import PoolPath
from signalstudy.replay.score import late_shares
from tests.replay import planted


def test_work_that_trembles_within_the_bins_of_the_curve_is_not_beyond_the_knee():
    # 3,600 tokens/s on four replicas that bear 4,000, but single steps swing by a third.
    swing = 1.0 + 0.33 * np.where(np.arange(240) % 2, 1.0, -1.0)
    service = planted.unified(planted.steps(3600.0) * swing)
    curve = replace(
        service.threshold.capacities["unified"].curves[0],
        work_per_replica=np.array([0.0, 1050.0, 1150.0]),
        fitted=np.array([0.0, 0.0, 0.5]),
    )
    capacity = replace(service.threshold.capacities["unified"], curves=(curve,))
    service = service.but(threshold=planted.threshold(capacity))
    grounds = lay_grounds(service)
    [ttft] = grounds.objectives
    assert ttft.over_seconds >= 30.0
    path = PoolPath(
        offered=grounds.pools["unified"].work[None],
        ready=np.full((1, 240), 4.0),
        asked=np.full((1, 240), 4.0),
        wait_seconds=np.zeros((1, 240)),
    )
    late = late_shares(grounds, draw(grounds, 0, 0), {"unified": path})
    assert late[:, 5:-5].max() == 0.0
    at_once = replace(grounds, objectives=(replace(ttft, over_seconds=grounds.step_seconds),))
    assert late_shares(at_once, draw(grounds, 0, 0), {"unified": path}).mean() > 0.2
