"""signalstudy: which metric your LLM autoscaler should follow, and at what value.

The public names are imported when they are first used, so that `import signalstudy` is light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signalstudy.config import read_config
    from signalstudy.evidence.gather import gather_evidence
    from signalstudy.figures.plot import plot
    from signalstudy.policy.decide import decide
    from signalstudy.policy.draft import draft_policy
    from signalstudy.policy.read import read_policy
    from signalstudy.policy.write import write_policy
    from signalstudy.ranking.rank import rank_signals
    from signalstudy.replay.recorded import replay_policy
    from signalstudy.report.write import write_report
    from signalstudy.study.candidates import replay_candidates
    from signalstudy.study.run import run_study
    from signalstudy.study.write import write_study
    from signalstudy.synthetic.generate import generate_service
    from signalstudy.telemetry.read import read_telemetry
    from signalstudy.threshold.fit import fit_threshold
    from signalstudy.timeline.align import align

__all__ = [
    "align",
    "decide",
    "draft_policy",
    "fit_threshold",
    "gather_evidence",
    "generate_service",
    "plot",
    "rank_signals",
    "read_config",
    "read_policy",
    "read_telemetry",
    "replay_candidates",
    "replay_policy",
    "run_study",
    "write_policy",
    "write_report",
    "write_study",
]

_HOME = {
    "align": "timeline.align",
    "decide": "policy.decide",
    "draft_policy": "policy.draft",
    "fit_threshold": "threshold.fit",
    "gather_evidence": "evidence.gather",
    "generate_service": "synthetic.generate",
    "plot": "figures.plot",
    "rank_signals": "ranking.rank",
    "read_config": "config",
    "read_policy": "policy.read",
    "read_telemetry": "telemetry.read",
    "replay_candidates": "study.candidates",
    "replay_policy": "replay.recorded",
    "run_study": "study.run",
    "write_policy": "policy.write",
    "write_report": "report.write",
    "write_study": "study.write",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
