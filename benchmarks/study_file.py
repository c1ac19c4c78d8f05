"""The study.toml of a benchmark: sources, a limit of TTFT and one of TBT, a start-up time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LIMITS = {"ttft": 1.0, "tbt": 0.05}


def study_toml(
    name: str,
    sources: Iterable[tuple[str, object]],
    *,
    limits: Mapping[str, float] = LIMITS,
    quantile: float = 0.99,
    startup_seconds: float = 120.0,
    gpus: str = "",
    step_seconds: float | None = None,
) -> str:
    """Write it: `sources` are (kind, path), `limits` seconds by latency, `gpus` as TOML."""
    lines = ["[study]", f'name = "{name}"']
    if step_seconds is not None:
        lines.append(f"step_seconds = {step_seconds:g}")
    for kind, path in sources:
        lines += ["[[sources]]", f'kind = "{kind}"', f'path = "{path}"']
    for signal, limit in limits.items():
        lines += ["[[objectives]]", f'signal = "{signal}"', f"quantile = {quantile}"]
        lines.append(f"at_most_seconds = {limit}")
    lines += ["[provisioning]", f"startup_seconds = {startup_seconds:g}"]
    if gpus:
        lines.append(f"gpus_per_replica = {gpus}")
    return "\n".join(lines) + "\n"
