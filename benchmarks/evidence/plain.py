"""The same measures of one signal as one writes them with pandas, statsmodels and scikit-learn.

No shortcut that those libraries do not offer: each replicate draws blocks, glues the record
together again and asks every measure of it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy.optimize import least_squares
from scipy.stats import pearsonr
from sklearn.isotonic import IsotonicRegression
from statsmodels.tsa.stattools import acf, ccf

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HOUR, LAGS, BLOCK, MINUTES = 361, 60, 720, 29
FOLDS, CUTS, SHIFTS, BINS = 6, 60, 200, 20
MERGE, LONGEST, HORIZON = 60, 180, 12


def plain_seconds(record: pd.DataFrame, replicates: int) -> tuple[float, float]:
    """CPU seconds of one signal: what is done once, and of one replicate (mean of some).

    `record` has the columns signal, demand, replicas, hits and breaches (the steps at which one
    begins are 1).
    """
    begin = time.process_time()
    fast = (
        record[["signal", "demand"]]
        - record[["signal", "demand"]].rolling(HOUR, center=True, min_periods=1).mean()
    )
    lag = _peak(fast)
    _chance(fast)
    for column in ("signal", "demand"):
        acf(record[column], nlags=len(record) // 2, fft=True)
    aligned = record.assign(signal=record["signal"].shift(-lag)).dropna()
    fast = fast.loc[aligned.index]
    residual = _held_out_residual(aligned)
    _warning(record)
    _losses(record)
    once = time.process_time() - begin
    smooth = (
        aligned[["signal", "demand", "replicas", "hits"]]
        .rolling(MINUTES, center=True, min_periods=1)
        .mean()
    )
    rng = np.random.default_rng(0)
    blocks = np.array_split(np.arange(len(aligned)), len(aligned) // BLOCK)
    begin = time.process_time()
    for _ in range(replicates):
        drawn = np.concatenate([blocks[b] for b in rng.integers(0, len(blocks), len(blocks))])
        _replicate(aligned.iloc[drawn], fast.iloc[drawn], smooth.iloc[drawn], residual.iloc[drawn])
    return once, (time.process_time() - begin) / replicates


def _replicate(
    aligned: pd.DataFrame, fast: pd.DataFrame, smooth: pd.DataFrame, residual: pd.Series
) -> None:
    """Ask of one resampled record what has an interval."""
    _peak(fast)
    _step_response(fast)
    pearsonr(aligned["demand"], aligned["signal"])
    (residual**2).mean()
    residual.groupby(np.arange(len(residual)) // BLOCK).mean().cumsum()
    means = smooth.groupby(pd.qcut(smooth["demand"], BINS, duplicates="drop"), observed=True).mean()
    _shape(means)
    logs = np.log(smooth[["signal", "demand", "replicas"]].clip(lower=1e-9))
    sm.OLS(logs["signal"], sm.add_constant(logs[["demand", "replicas"]])).fit()
    per_work = smooth["signal"] / smooth["demand"]
    per_work.groupby(pd.qcut(smooth["hits"], 3, duplicates="drop"), observed=True).median()


def _peak(fast: pd.DataFrame) -> int:
    """Best lag by absolute cross-correlation, both ways."""
    late = ccf(fast["signal"], fast["demand"], adjusted=False, nlags=LAGS + 1)
    soon = ccf(fast["demand"], fast["signal"], adjusted=False, nlags=LAGS + 1)
    both = np.concatenate((soon[:0:-1], late))
    return int(np.abs(both).argmax()) - LAGS


def _chance(fast: pd.DataFrame) -> None:
    """Compare the highest correlation with that of 200 circular shifts."""
    signal = fast["signal"].to_numpy()
    for shift in np.linspace(1000, len(fast) - 1000, SHIFTS).astype(int):
        _peak(fast.assign(signal=np.roll(signal, shift)))


def _step_response(fast: pd.DataFrame) -> None:
    """Fit dead time and time constant to the cross-correlation."""
    lags = np.arange(LAGS + 1.0)
    seen = ccf(fast["signal"], fast["demand"], adjusted=False, nlags=LAGS + 1)
    own = acf(fast["demand"], nlags=LAGS, fft=True)

    def left(of: Floats) -> Floats:
        kernel = np.exp(-lags / max(of[1], 0.1))
        made = np.convolve(own, kernel / kernel.sum())[: LAGS + 1]
        return np.asarray(of[2] * np.interp(lags - of[0], lags, made) - seen)

    least_squares(left, [1.0, 1.0, 1.0])


def _held_out_residual(aligned: pd.DataFrame) -> pd.Series:
    fold = (np.arange(len(aligned)) // BLOCK) % FOLDS
    predicted = pd.Series(np.nan, index=aligned.index)
    for one in range(FOLDS):
        training = aligned[fold != one]
        curve = IsotonicRegression(out_of_bounds="clip")
        curve.fit(training["demand"], training["signal"])
        predicted[fold == one] = curve.predict(aligned.loc[fold == one, "demand"])
    return aligned["signal"] - predicted


def _shape(means: pd.DataFrame) -> None:
    """Linearity, elasticity, gain, range of bin means."""
    demand, signal = means["demand"].to_numpy(), means["signal"].to_numpy()
    sm.OLS(signal, sm.add_constant(demand)).fit()
    IsotonicRegression().fit_transform(demand, signal)
    sm.OLS(np.log(np.maximum(signal, 1e-9)), sm.add_constant(np.log(demand))).fit()
    middle = demand.mean()
    bent = np.column_stack((np.minimum(demand - middle, 0.0), np.maximum(demand - middle, 0.0)))
    sm.OLS(signal, sm.add_constant(bent)).fit()


def _warning(record: pd.DataFrame) -> None:
    """Choose the cut that announces most breaches for its false alarms, on each of five parts."""
    level = record["signal"].rolling(6).mean()
    onsets = np.flatnonzero(record["breaches"].to_numpy())
    for part in np.array_split(np.arange(len(record)), 5):
        training = level.drop(record.index[part])
        for cut in training.quantile(1.0 - np.geomspace(0.5, 1.0 / len(training), CUTS)):
            sounding = level > cut
            runs = sounding.rolling(MERGE, min_periods=1).max().diff() == 1.0
            announced = [sounding.iloc[max(0, t - LONGEST) : max(0, t - HORIZON)] for t in onsets]
            sum(of.any() for of in announced)
            runs.sum()


def _losses(record: pd.DataFrame) -> None:
    """Pinball loss of the replicas needed later, predicted from the signal on other folds."""
    needed = (record["demand"].rolling(MINUTES, center=True, min_periods=1).mean()).shift(-HORIZON)
    table = pd.DataFrame({"x": record["signal"], "y": needed}).dropna()
    fold = (np.arange(len(table)) // BLOCK) % FOLDS
    for one in range(FOLDS):
        training = table[fold != one]
        bins = pd.qcut(training["x"], BINS, duplicates="drop")
        groups = training.groupby(bins, observed=True)
        curve = IsotonicRegression(out_of_bounds="clip")
        curve.fit(groups["x"].mean(), groups["y"].quantile(0.9))
        short = table.loc[fold == one, "y"] - curve.predict(table.loc[fold == one, "x"])
        np.maximum(0.9 * short, -0.1 * short).groupby(np.arange(len(short)) // BLOCK).mean()
