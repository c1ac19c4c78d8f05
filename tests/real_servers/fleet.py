"""A small fleet's history as OpenMetrics: resets, gaps, NaN, infinities, odd numbers and labels."""

from __future__ import annotations

import numpy as np

START = 1_767_571_200
EVERY = 10
STEPS = 1_500  # a bit over four hours: several blocks
TOKENS = "vllm:generation_tokens_total"
LATENCY = "vllm:time_to_first_token_seconds"
RUNNING = "vllm:num_requests_running"
EDGES = ("0.1", "0.25", "0.5", "1.0", "2.5", "+Inf")


def _quoted(labels: dict[str, str]) -> str:
    pairs = (
        f'{k}="{v}"'
        for k, v in ((k, v.replace("\\", "\\\\").replace('"', '\\"')) for k, v in labels.items())
    )
    return "{" + ",".join(pairs) + "}"


def _written(value: float) -> str:
    return repr(value).replace("inf", "Inf").replace("nan", "NaN")


def openmetrics(seed: int = 11, steps: int = STEPS) -> str:
    """Write a counter, a gauge and a histogram of three replicas, and a metric no one knows."""
    random = np.random.default_rng(seed)
    families: dict[str, list[str]] = {TOKENS: [], RUNNING: [], LATENCY: [], "odd_metric": []}
    for replica in ("d0", "d1", 'd"2\\'):
        labels = {"service": "chat", "pool": "decode", "replica": replica}
        tokens, counts, total = 0.0, np.zeros(len(EDGES)), 0.0
        for step in range(steps):
            at = START + EVERY * step + float(random.integers(0, 3)) / 1000
            if 400 < step < 430 and replica == "d1":
                continue
            if step in (700, 1100) and replica == "d1":
                tokens, counts, total = 0.0, np.zeros(len(EDGES)), 0.0
            tokens += float(random.integers(0, 900)) + (0.1 if replica == "d0" else 0.0)
            arrived = random.exponential(0.4, int(random.integers(0, 6)))
            counts += np.array([(arrived <= float(edge)).sum() for edge in EDGES])
            total += float(arrived.sum())
            running = float(random.normal(20, 4))
            if step % 211 == 5:
                running = (float("nan"), float("inf"), -float("inf"), -0.0)[step // 211 % 4]
            families[TOKENS].append(f"{TOKENS}{_quoted(labels)} {_written(tokens)} {at:.3f}")
            families[RUNNING].append(f"{RUNNING}{_quoted(labels)} {_written(running)} {at:.3f}")
            for edge, count in zip(EDGES, counts, strict=True):
                name = _quoted({**labels, "le": edge})
                families[LATENCY].append(f"{LATENCY}_bucket{name} {int(count)} {at:.3f}")
            families[LATENCY].append(f"{LATENCY}_count{_quoted(labels)} {int(counts[-1])} {at:.3f}")
            families[LATENCY].append(f"{LATENCY}_sum{_quoted(labels)} {_written(total)} {at:.3f}")
            if step % 3 == 0:
                families["odd_metric"].append(f"odd_metric{_quoted(labels)} {step} {at:.3f}")
    types = {TOKENS: "counter", RUNNING: "gauge", LATENCY: "histogram", "odd_metric": "gauge"}
    lines: list[str] = []
    for name, rows in families.items():
        lines.append(f"# TYPE {name.removesuffix('_total')} {types[name]}")
        lines += rows
    return "\n".join([*lines, "# EOF", ""])
