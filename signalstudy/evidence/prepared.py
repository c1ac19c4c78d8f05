"""One signal made ready for its measures: blocks, lag, aligned arrays, response."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from signalstudy.evidence.autocorrelation import (
    FEWEST_PAIRS,
    autocorrelation,
    carry_over,
    pairs_at_lags,
    worth_of,
)
from signalstudy.evidence.blocks import Blocks, cut_blocks
from signalstudy.evidence.crosscovariance import (
    SIGNIFICANCE,
    LagSearch,
    choose_window,
    identified_range,
    search_lag,
)
from signalstudy.evidence.fast_part import fast_part_of
from signalstudy.evidence.held_out import cut_levels, residuals_of
from signalstudy.evidence.regimes import Shift, find_shift
from signalstudy.evidence.response import FEWEST_LEVELS, Response, bin_demand, tabulate
from signalstudy.evidence.series import demand_must_vary, moving_mean, shifted
from signalstudy.evidence.shared import Shared
from signalstudy.evidence.step_response import fit_step_response
from signalstudy.evidence.warning import breaches_of, judge_warning, why_no_breaches
from signalstudy.vocabulary.errors import NotEnoughDataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from signalstudy.evidence.alarms import Outcome
    from signalstudy.evidence.evidence import SignalView
    from signalstudy.evidence.step_response import StepResponse

    Floats = NDArray[np.float64]

SHAPE_SECONDS = 300.0
SHAPE_WINDOWS = 48
MEANS_PER_WINDOW = 4
OTHER_FLEET = 0.02
"""Fleets that differ by less than one replica in fifty are one."""
LEAST_SETTLED = 0.5


# No slots: what several measures share is computed once, when the first of them asks. A part that
# the data cannot give raises NotEnoughDataError in each measure that needs it, and in no other.
@dataclass(frozen=True)
class Prepared:
    """A SignalView and what its measures share.

    Arrays (n,) are lag-aligned: `signal` at index i is the value that answers the demand at index
    i. Both are NaN unless both are known. `shared`: what other signals of the pool have made of
    the arrays of this one's view.
    """

    view: SignalView
    shared: Shared = field(default_factory=Shared)

    @cached_property
    def blocks(self) -> Blocks:
        """The blocks of time that all bootstraps draw from, and how far noise outlasts them."""
        return replace(self.cut, carry_over=carry_over(self.noise, self.cut.size))

    @cached_property
    def cut(self) -> Blocks:
        """The blocks of time, before anything is known of noise."""
        view = self.view
        known = np.isfinite(view.signal) & np.isfinite(view.reference)
        return cut_blocks(view.time_seconds.size, view.step_seconds, view.seed, known)

    @cached_property
    def lag_search(self) -> LagSearch:
        """The cross-correlation with the reference, its peak and its null."""
        view = self.view
        width = choose_window(view.signal.size, view.step_seconds).high_pass
        fast_reference = self.shared.once(
            "fast part", lambda: fast_part_of(view.reference, width), view.reference
        )
        return search_lag(view.signal, view.reference, view.step_seconds, self.cut, fast_reference)

    @cached_property
    def step_response(self) -> StepResponse:
        """Dead time and time constant of the response to demand."""
        return fit_step_response(self)

    @property
    def known_delay_seconds(self) -> float:
        """Delay that is no property of the signal: rate window and refresh, minus the centres."""
        view = self.view
        return view.window_seconds / 2.0 + view.refresh_seconds / 2.0 - view.centre_offset_seconds

    @cached_property
    def alignment(self) -> tuple[int, str]:
        """By how many whole steps the signal is moved back for all other measures, and why.

        Whole steps, because interpolating between samples would average noise away.
        """
        unmoved = round(self.known_delay_seconds / self.view.step_seconds)
        try:
            search = self.lag_search
        except NotEnoughDataError:
            return unmoved, "aligned at no lag of its own, because none can be found"
        if not search.can_tell_chance or search.probability > SIGNIFICANCE:
            return unmoved, "aligned at no lag of its own, because none can be told from chance"
        try:
            identified_range(search, self.view.step_seconds)
        except NotEnoughDataError:
            steps = search.guess_steps
            return steps, f"aligned at a guess of {steps} steps, because the lag is not identified"
        steps = round(search.peak_steps)
        return steps, f"aligned at {steps} steps"

    @cached_property
    def unaligned_steps(self) -> float | None:
        """How much later than aligned the signal is, within a step; None without a lag."""
        try:
            identified_range(self.lag_search, self.view.step_seconds)
        except NotEnoughDataError:
            return None
        return self.lag_search.peak_steps - self.alignment[0]

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Steps where the aligned signal and the reference are both known."""
        moved = shifted(self.view.signal, self.alignment[0])
        both = np.isfinite(moved) & np.isfinite(self.view.reference)
        settled = both & ~self._is_between_fleets
        # A fleet that changes all the time leaves no others.
        both = settled if settled.sum() > LEAST_SETTLED * both.sum() else both
        if both.sum() < FEWEST_PAIRS:
            raise NotEnoughDataError(
                f"Only {both.sum()} steps hold both the signal and demand; at least "
                f"{FEWEST_PAIRS} are needed."
            )
        return both

    @property
    def _is_between_fleets(self) -> NDArray[np.bool_]:
        """Steps of an intensive signal whose answer comes from another fleet than demand met (n,).

        Whether that answer was given by the old replicas or by the new ones is not known.
        """
        view = self.view
        if view.kind == "total":
            return np.zeros(view.signal.shape, dtype=np.bool_)
        after = shifted(view.replicas, self.alignment[0])
        return np.abs(after - view.replicas) > OTHER_FLEET * view.replicas

    @cached_property
    def signal(self) -> Floats:
        """The signal at its lag."""
        return np.where(self.known, shifted(self.view.signal, self.alignment[0]), np.nan)

    @cached_property
    def reference(self) -> Floats:
        """What the signal should be proportional to."""
        return np.where(self.known, self.view.reference, np.nan)

    @cached_property
    def effective_observations(self) -> float:
        """Independent pairs that the record is worth."""
        pairs, of_reference = self.shared.once(
            "autocorrelation",
            lambda: (
                pairs := pairs_at_lags(self.known),
                autocorrelation(self.reference, pairs),
            ),
            self.view.reference,
            known=self.known,
        )
        of_signal = autocorrelation(self.signal, pairs)
        return worth_of(int(self.known.sum()), self.signal.size, of_signal, of_reference)

    @cached_property
    def noise(self) -> Floats:
        """What demand does not explain of the signal (n,)."""
        levels = self.shared.once(
            "levels",
            lambda: cut_levels(self.view.reference, self.known, self.cut),
            self.view.reference,
            known=self.known,
        )
        return residuals_of(self.signal, self.reference, self.cut, levels)

    @cached_property
    def shift(self) -> Shift | None:
        """The largest lasting change of the signal at equal demand."""
        return find_shift(self)

    @cached_property
    def no_breaches(self) -> str:
        """Why there is no breach to announce, or ''."""
        return why_no_breaches(self.view, self._breaches)

    @cached_property
    def alarms(self) -> Outcome:
        """What the signal's alarms came to."""
        return judge_warning(self.view, self._breaches)

    @property
    def _breaches(self) -> NDArray[np.intp]:
        counted = (slo.observed for slo in self.view.slo_counts)
        return self.shared.once("breaches", lambda: breaches_of(self.view), *counted)

    @cached_property
    def shape_width(self) -> int:
        """Steps in the moving mean that shapes are judged on: 5 min, or a 48th of the record.

        Demand per step is a noisy count; binning on it would flatten every curve (regression
        dilution). Minutes are also the speed at which replicas can follow.
        """
        n = self.view.time_seconds.size
        return max(1, min(round(SHAPE_SECONDS / self.view.step_seconds), n // SHAPE_WINDOWS))

    @property
    def shape_every(self) -> int:
        """At each how many steps shapes look: means that overlap by more tell nothing new."""
        return max(1, self.shape_width // MEANS_PER_WINDOW)

    @property
    def shape_note(self) -> str:
        """What the shape measures rest on, for notes."""
        seconds = (self.shape_width - 1 + self.shape_width % 2) * self.view.step_seconds
        return f"on means of {seconds:g} s, {self.alignment[1]}"

    def smooth(self, values: Floats) -> Floats:
        """Average `values` (n,) at the speed shapes are judged at, where the pair is known.

        Given at each `shape_every`-th step, NaN at the others.
        """
        known = np.where(self.known, values, np.nan)
        return moving_mean(known, self.shape_width, self.shape_every)

    @cached_property
    def smooth_signal(self) -> Floats:
        """The signal, averaged as `smooth` does (n,)."""
        return self.smooth(self.signal)

    def smooth_shared(self, values: Floats) -> Floats:
        """Average `values` (n,) that all signals of the pool have, as `smooth` does."""
        return self.shared.once("smooth", lambda: self.smooth(values), values, known=self.known)

    @cached_property
    def response(self) -> Response:
        """The smoothed signal by block of time and bin of smoothed reference."""
        reference = self.smooth_shared(self.view.reference)
        demand_must_vary(reference)
        return self._tabulate(self.smooth_signal, reference, every=self.shape_every)

    @cached_property
    def noise_squares(self) -> Response:
        """The squares of what demand does not explain, by block and bin of the reference."""
        return self._tabulate(self.noise**2, self.view.reference, fewest_levels=1)

    @cached_property
    def redrawn_squares(self) -> Floats:
        """Sum of what demand does not explain, squared, in each resampled record (replicates,).

        That noise is larger at high demand is no chance: what is redrawn is how far the squares of
        a block stand from those at the same demand.
        """
        table = self.noise_squares
        left = table.residuals.sum(axis=1)
        redrawn = table.sums.sum() + self.blocks.weights @ left - left.sum()
        return np.asarray(redrawn, dtype=np.float64)

    def _tabulate(
        self,
        values: Floats,
        reference: Floats,
        *,
        fewest_levels: int = FEWEST_LEVELS,
        every: int = 1,
    ) -> Response:
        """Tabulate `values` (n,) over bins of a reference that other signals have as well."""
        known = np.isfinite(values) & np.isfinite(reference)
        bins = self.shared.once(
            "bins", lambda: bin_demand(reference, known, self.cut, every), reference, known=known
        )
        return tabulate(values, reference, self.blocks, fewest_levels=fewest_levels, bins=bins)
