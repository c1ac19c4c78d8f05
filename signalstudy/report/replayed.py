"""A Replay as a page shows it: two figures, a row a run, findings and worst moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalstudy.figures.plot import plot
from signalstudy.replay.recorded import replay_policy
from signalstudy.report.drawn import FigureBlock, figure_block
from signalstudy.report.present import Number, presented
from signalstudy.vocabulary.errors import NotEnoughDataError, SignalStudyError
from signalstudy.vocabulary.spoken import one_line

if TYPE_CHECKING:
    from signalstudy.replay.replay import Replay, Run
    from signalstudy.study.study import ServiceStudy

COLUMNS = {
    "gpu_hours": "GPU-hours",
    "slo_attainment_ratio": "within every limit",
    "minutes_over_capacity": "minutes over capacity",
    "scale_events": "scale events",
    "pd_imbalance_ratio": "P/D imbalance",
}
"""What a row shows of a run: field -> heading."""
CAPTIONS = {
    "cost": (
        "Cost against attainment of every run.",
        "Each run at what it costs and keeps, with 95 % intervals; filled: no other is better.",
    ),
    "time": (
        "Replicas of the runs over time, beside demand.",
        "Grey: the replicas that the offered work fills. Lines: replicas running or starting.",
    ),
}  # fmt: skip
"""What stands for a figure where it cannot be seen, and below it."""
DRAWS_OF_A_PAGE = 20
"""Few, for a page must not wait; `signalstudy replay` draws more."""
UNCENSORED = "uncensored_attainment_ratio"


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of the table. `ranks`: by study and replay, "" where it is no candidate."""

    name: str
    ranks: tuple[str, ...]
    numbers: tuple[Number, ...]
    given: str
    flags: tuple[str, ...]
    moments: tuple[str, ...]
    finding: str


@dataclass(frozen=True, slots=True)
class ReplaySection:
    """Everything a page shows of one replay."""

    service: str
    span: str
    headings: tuple[str, ...]
    rows: tuple[RunRow, ...]
    front: FigureBlock
    over_time: FigureBlock
    notes: tuple[str, ...]


def own_replay(service: ServiceStudy) -> tuple[Replay | None, str]:
    """Replay a service's own policy for its page, or give the sentence that says why not."""
    if service.policy is None:
        return None, "There is no policy to replay."
    try:
        replay = replay_policy(
            service.policy, service, against=("fixed-peak", "clairvoyant"), draws=DRAWS_OF_A_PAGE
        )
    except SignalStudyError as error:
        return None, str(error)
    return replay, ""


def replay_section(replay: Replay) -> ReplaySection:
    """Turn a Replay into what a page shows."""
    fields = dict(COLUMNS)
    if replay.is_censored:
        fields[UNCENSORED] = "without censored minutes"
    ranks = ("study", "replay") if replay.standings else ()
    draws = f", {replay.draws} draws" if replay.draws else ", without draws"
    return ReplaySection(
        service=one_line(replay.service),
        span=f"{replay.start} to {replay.end}, {replay.engine} engine{draws}",
        headings=(*ranks, *fields.values()),
        rows=tuple(_row(replay, run, tuple(fields)) for run in replay.runs),
        front=_figure(replay, "cost"),
        over_time=_figure(replay, "time"),
        notes=tuple(one_line(note) for note in replay.notes),
    )


def _row(replay: Replay, run: Run, fields: tuple[str, ...]) -> RunRow:
    standing = next((one for one in replay.standings if one.run == run.name), None)
    ranks = ("", "") if standing is None else (str(standing.study_rank), str(standing.replay_rank))
    return RunRow(
        name=one_line(run.name),
        ranks=ranks if replay.standings else (),
        numbers=tuple(presented(name, getattr(run, name)) for name in fields),
        given=one_line(run.given),
        flags=tuple(one_line(flag) for flag in run.flags),
        moments=tuple(one_line(moment.sentence()) for moment in run.worst_moments),
        finding="" if standing is None else one_line(standing.finding),
    )


def _figure(replay: Replay, against: str) -> FigureBlock:
    alt, caption = CAPTIONS[against]
    try:
        figure = plot(replay, against=against)
    except NotEnoughDataError as error:
        return FigureBlock("", "", sentence=str(error))
    return figure_block(figure, "", alt=alt, caption=caption, look="wide")
