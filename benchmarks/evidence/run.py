"""Time the evidence of a fleet: `python benchmarks/evidence/run.py`, or `make bench-evidence`.

A fleet is written (services of two pools, a week at 10 s, 12 signals a pool), read into a store,
and studied in a process of its own, once as given and once with four times the services. The floor
is measured in a process of its own, the plain loops on some signals with few replicates. CPU
seconds throughout. Tables in Markdown go to stdout; copy them into benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

POOLS_A_SERVICE = 2
SIGNALS = 12
FLEET_POOLS = 100
REPLICATES = 1000


def main() -> None:
    """Measure as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=2, help="of the smaller fleet")
    parser.add_argument("--full", action="store_true", help="50 services, which is 100 pools")
    parser.add_argument("--replicates", type=int, default=5, help="of the plain loops")
    parser.add_argument("--of", choices=("fleet", "floor", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of is not None:
        print(json.dumps(_measure(options.of, options.folder, options.replicates)))
        return
    from benchmarks.evidence.fleet import write_fleet  # noqa: PLC0415 - children need it not

    larger = FLEET_POOLS // POOLS_A_SERVICE if options.full else 4 * options.services
    with tempfile.TemporaryDirectory() as place:
        small, large = Path(place) / "small", Path(place) / "large"
        write_fleet(small, options.services)
        values = write_fleet(large, larger)
        found = {
            name: _child(of, folder, options.replicates)
            for name, of, folder in (
                ("small", "fleet", small),
                ("large", "fleet", large),
                ("floor", "floor", large),
                ("plain", "plain", small),
            )
        }
    pools = larger * POOLS_A_SERVICE
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.")
    print(f"{pools} service-pools of a week at 10 s with {SIGNALS} signals, {values / 1e6:.1f} M")
    print("values; CPU seconds a pool, and for 100 pools.\n")
    _report(found, pools, options.replicates)
    peaks = ", ".join(f"{found[of]['peak_bytes'] / 1e9:.2f}" for of in ("small", "large"))
    print(f"| peak memory, {options.services} and {larger} services | {peaks} GB | 2 GB, flat |")
    _report_parts(found["large"]["parts"])


def _child(of: str, folder: Path, replicates: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--of", of, "--folder", str(folder)]
    command += ["--replicates", str(replicates)]
    quiet = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=quiet)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _measure(of: str, folder: Path, replicates: int) -> dict[str, Any]:
    if of == "floor":
        from benchmarks.evidence.floor import scan_seconds, transform_seconds  # noqa: PLC0415

        return {"scan": scan_seconds(folder / "out"), "transforms": transform_seconds()}
    if of == "plain":
        from benchmarks.evidence.plain import plain_seconds  # noqa: PLC0415
        from benchmarks.evidence.records import plain_records  # noqa: PLC0415

        taken = [plain_seconds(record, replicates) for record in plain_records(folder)]
        once, each = (sum(of) / len(taken) for of in zip(*taken, strict=True))
        return {"signals": len(taken), "once": once, "replicate": each}
    from benchmarks.evidence.stages import time_fleet  # noqa: PLC0415

    stages, parts = time_fleet(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_bytes = peak * (1 if sys.platform == "darwin" else 1024)
    return {"stages": stages, "parts": parts, "peak_bytes": peak_bytes}


def _report(found: dict[str, dict[str, Any]], pools: int, replicates: int) -> None:
    floor, plain = found["floor"], found["plain"]
    stages = {name: seconds / pools for name, seconds in found["large"]["stages"].items()}
    of_evidence = stages["align"] + stages["gather"] + stages["rank"]
    least = floor["scan"] / pools + floor["transforms"]
    slow = SIGNALS * (plain["once"] + REPLICATES * plain["replicate"])
    rows = [
        ("floor: DuckDB scan of the store", floor["scan"] / pools),
        ("floor: Fourier transforms", floor["transforms"]),
        ("**floor**", least),
        ("align", stages["align"]),
        (f"gather_evidence, {REPLICATES} replicates", stages["gather"]),
        ("rank_signals", stages["rank"]),
        ("**evidence, from the store to the ranking**", of_evidence),
        ("reading the sources into the store, once for unchanged ones", stages["read"]),
        (f"plain loops, {plain['signals']} signals, {replicates} replicates, scaled", slow),
    ]
    print("| what | s a pool | s, 100 pools |\n|---|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.3g} | {FLEET_POOLS * seconds:.3g} |")
    print("\n| ratio | figure | limit |\n|---|---|---|")
    print(f"| evidence over floor | {of_evidence / least:.1f} | 20 |")
    print(f"| ... with the reading | {(of_evidence + stages['read']) / least:.1f} | |")
    print(f"| plain loops over evidence | {slow / of_evidence:.0f} | at least 100 |")


def _report_parts(parts: dict[str, float]) -> None:
    total = sum(parts.values())
    print("\n| where the time of gather_evidence goes | ms a signal | share |\n|---|---|---|")
    for name, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        each = seconds / (POOLS_A_SERVICE * SIGNALS) * 1e3
        print(f"| {name} | {each:.2f} | {seconds / total:.1%} |")


if __name__ == "__main__":
    main()
