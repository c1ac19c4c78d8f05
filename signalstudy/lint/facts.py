"""What a study knows that bears on a manifest; all of it from study.json's own form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from signalstudy.vocabulary.errors import ConfigurationError, unknown_name
from signalstudy.vocabulary.signals import find_source, quantities, signals

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Facts:
    """One service of a study. `summary`: its part of study.json; `digest` names the data."""

    summary: Mapping[str, Any]
    digest: str

    @property
    def service(self) -> str:
        """Name the service."""
        return str(self.summary["service"])

    def signal(self, name: str, pool: str) -> Mapping[str, Any] | None:
        """Find a signal: of the pool, else of the gateway, else the one pool that has it."""
        found = {one["pool"]: one for one in self.summary["signals"] if one["signal"] == name}
        if pool in found or "gateway" in found:
            return found.get(pool) or found.get("gateway")
        return next(iter(found.values())) if len(found) == 1 else None

    def capacity(self, name: str, pool: str) -> Mapping[str, Any] | None:
        """Give what one replica bears of a signal, with `per_replica` and `max_observed`."""
        threshold = self.summary["threshold"]
        fitted = [threshold, *threshold.get("capacities", [])]
        same = [one for one in fitted if one["signal"] == name]
        return next((one for one in same if pool in ("", one["pool"])), None)

    @property
    def ratio_bounds(self) -> tuple[float, float, float] | None:
        """Give the P/D ratio and its interval, reaching to what the study's policy keeps."""
        known = self.summary["pd_ratio"]
        if not known or known.get("low") is None or known.get("high") is None:
            return None
        kept = known.get("kept") or known["value"]
        # a policy's numbers have four digits
        return known["value"], min(known["low"], 0.999 * kept), max(known["high"], 1.001 * kept)

    @property
    def horizon_seconds(self) -> float | None:
        """Give how long after demand its capacity arrives, None where not known."""
        value = self.summary["threshold"].get("horizon_seconds", {}).get("value")
        return None if value is None else float(value)


def facts_of(study: Mapping[str, Any], service: str | None) -> Facts:
    """Take one service out of a study; the only one where none is named."""
    try:
        services = {str(one["service"]): one for one in study["services"]}
        digest = str(study["study"].get("digest", ""))
    except (KeyError, TypeError, AttributeError) as problem:
        raise ConfigurationError("--on: this is not the study.json of a study.") from problem
    if service is None and len(services) == 1:
        service = next(iter(services))
    if service is None:
        raise ConfigurationError(
            f"--on: the study has several services, say which with --service: "
            f"{', '.join(sorted(services))}."
        )
    if service not in services:
        raise unknown_name("--service", "service", service, services)
    return Facts(services[service], digest)


def canonical(metric: str) -> str:
    """Name the canonical signal that a metric tells, or is; "" where the catalogue has none."""
    if metric in signals():
        return metric
    for source in find_source(metric):
        if source.yields in signals():
            return source.yields
        told = quantities().get(source.yields)
        if told is not None and told.signal:
            return told.signal
    return ""
