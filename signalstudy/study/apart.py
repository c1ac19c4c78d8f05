"""Services that may be one: what is known of each stands under another name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalstudy.timeline.timeline import QualityCheck

if TYPE_CHECKING:
    from signalstudy.telemetry.telemetry import Telemetry

MOST_NAMES = 3


def apart(telemetry: Telemetry, service: str) -> list[QualityCheck]:
    """Say where a service has only what another one lacks: one service under two names, perhaps.

    A request log often calls a service otherwise than its engines do; then neither half can be
    judged against the other.
    """
    own = _parts(telemetry, service)
    others = [
        (name, parts)
        for name in telemetry.services
        if name != service and (parts := _parts(telemetry, name)).isdisjoint(own)
    ]
    if not others:
        return []
    names = ", ".join(repr(name[:80]) for name, _ in others[:MOST_NAMES])
    names += f" and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
    theirs = sorted(set().union(*(parts for _, parts in others)))
    return [
        QualityCheck(
            "service names",
            "warning",
            f"only {_joined(sorted(own))} here, and only {_joined(theirs)} under {names}. If they "
            "are one service, give them one name, or set [labels] service = [] so that everything "
            "goes by the study's name",
        )
    ]


def _parts(telemetry: Telemetry, service: str) -> set[str]:
    """Name what the sources hold of a service."""
    held = {
        "telemetry": (service, "production") in telemetry.series,
        "a request log": (service, "production") in telemetry.request_services,
        "a pressure test": (service, "pressure-test") in telemetry.series
        or (service, "pressure-test") in telemetry.request_services,
        "operating points": service in telemetry.point_services,
    }
    return {name for name, is_there in held.items() if is_there}


def _joined(words: list[str]) -> str:
    return " and ".join(words)
