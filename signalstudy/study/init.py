"""write_study_file: a commented study.toml, filled in from what a source holds."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signalstudy.config import parse_config
from signalstudy.telemetry.discover import Discovery, discover
from signalstudy.telemetry.labels import POOL_WORDS
from signalstudy.telemetry.look import Look, look_at
from signalstudy.vocabulary.errors import ConfigurationError
from signalstudy.vocabulary.signals import find_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from signalstudy.telemetry.discover import RawSeries

MOSTLY = 0.9
MODEL_LABELS = ("model_name", "model", "served_model_name")
POOL_LABELS = ("pool", "engine_type", "role", "worker_type", "disaggregation_mode", "component")
REPLICA_LABELS = ("replica", "pod", "exported_pod", "instance")
HA_LABELS = ("prometheus_replica", "__replica__", "thanos_replica")
SPEAKING_LABELS = ("job", "pod", "container", "deployment", "service", "instance")
SHOWN = 12

Labels = dict[str, str]

REST = """
# [[objectives]]          # without one the threshold is not_applicable; limits on a bucket's edge
# signal = "ttft"         # are counted exactly{ttft}
# quantile = 0.95
# at_most_seconds = 1.0

# [[objectives]]
# signal = "tbt"{tbt}
# quantile = 0.95
# at_most_seconds = 0.05

# [provisioning]          # what a new replica costs; start-up is measured where it is seen
# startup_seconds = 120
# gpus_per_replica = 2

# [policy.pools.decode]   # what only you know, for each pool
# min_replicas = 2
# max_replicas = 16

# [[exclude]]             # incidents and load tests are no evidence about production
# start = 2026-01-05T03:00:00Z
# end = 2026-01-05T04:00:00Z
# reason = "network outage"
"""


def write_study_file(where: str | None, target: Path) -> list[str]:
    """Write study.toml to `target` and give sentences on what was found; never overwrites.

    `where`: a server's address, a TSDB folder or files; None writes a form to fill in. Raises
    SignalStudyError where the source cannot be read, and then writes nothing.
    """
    if target.exists():
        raise ConfigurationError(
            f"{target}: is there already. Name another by --out, or remove it."
        )
    if where is None:
        look = Look("table", "data/*.parquet", ())
        text, said = study_text(look, target.parent), ["name your data under [[sources]]"]
    else:
        look = look_at(where)
        text, said = study_text(look, target.parent), [_sentence(look)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{target}: cannot be written: {error.strerror}") from None
    return [*said, f"wrote {target}; next: signalstudy check {target}"]


def _sentence(look: Look) -> str:
    metrics = {series.metric for series in look.series}
    return (
        f"{look.kind}: {len(look.series)} series of {len(metrics)} metrics that the study knows, "
        f"{look.unknown} metrics that it does not"
    )


def study_text(look: Look, folder: Path) -> str:
    """Give the text of study.toml for what was seen; it runs as it is."""
    name = _study_name(look)
    source = _source_lines(look, folder)
    labels = _label_lines(look)
    text = "\n".join(["[study]", f"name = {json.dumps(name)}", "", *source, "", *labels]) + "\n"
    comments = _found(look, text)
    edges = {quantity: _edges(look.series, quantity) for quantity in ("ttft", "tbt")}
    head = "# Written by `signalstudy init`. What it guessed is said; change what is wrong.\n"
    return head + "".join(f"# {line}\n" for line in comments) + "\n" + text + REST.format(**edges)


def _study_name(look: Look) -> str:
    if look.kind == "prometheus":
        word = re.sub(r"^https?://|[:/].*", "", look.where)
        word = "production" if re.fullmatch(r"[\d.]+|localhost", word) else word
    else:
        word = Path(look.where).absolute().name.split(".")[0].replace("*", "")
    return re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") or "study"


def _source_lines(look: Look, folder: Path) -> list[str]:
    lines = ["[[sources]]", f"kind = {json.dumps(look.kind)}"]
    if look.kind == "prometheus":
        lines += [f"url = {json.dumps(look.where)}", *look.span]
        lines.append("# match = ['{namespace=\"llm\"}']   # narrows what is fetched")
        lines.append('# token_env = "PROM_TOKEN"   # also username_env, password_env, ca_file, ...')
        return lines
    is_form = not look.series and look.kind == "table"
    path = (
        look.where if is_form else os.path.relpath(Path(look.where).absolute(), folder.absolute())
    )
    lines.append(f"path = {json.dumps(path, ensure_ascii=False)}")
    if look.kind not in ("requests", "points"):
        lines.append('# role = "pressure-test"   # where it is a deliberate ramp or sweep')
    return lines


def _scoped(series: Iterable[RawSeries], *scopes: str) -> list[Labels]:
    return [
        json.loads(one.labels)
        for one in series
        if any(entry.scope in scopes for entry in find_source(one.metric))
    ]


def _share(series: Sequence[Labels], name: str) -> float:
    return sum(bool(labels.get(name)) for labels in series) / max(len(series), 1)


def _values(series: Iterable[Labels], name: str) -> set[str]:
    return {labels[name] for labels in series if labels.get(name)}


def _first(series: Sequence[Labels], names: Iterable[str]) -> str | None:
    return next((name for name in names if _share(series, name) >= MOSTLY), None)


def _label_lines(look: Look) -> list[str]:
    """Propose [labels] from the engines' and gateways' series."""
    ours = _scoped(look.series, "engine", "gateway")
    engines = _scoped(look.series, "engine") or ours
    if not engines:
        return [
            "# [labels]   # no engine was seen: service, pool and replica are columns of theirs"
        ]
    service = _service(ours, engines, look.kind)
    said = "" if service else "   # one service, which bears the study's name"
    lines = ["[labels]", f"service = {json.dumps(service)}{said}"]
    pools: list[str] = []
    pool = _pool(ours)
    if pool is not None:
        lines.append(f"pool = {json.dumps([pool])}")
    else:
        pools = _pool_rules(engines)
        if not pools:
            lines.append("# no label says prefill or decode: every replica is taken as unified")
    replica = _first(engines, REPLICA_LABELS)
    if replica is not None:
        lines.append(
            f"replica = {json.dumps([replica, *(r for r in REPLICA_LABELS if r != replica)])}"
        )
    servers = [name for name in HA_LABELS if len(_values(ours, name)) > 1]
    if servers:
        lines.append(f"ha_replica = {json.dumps(servers)}   # a pair of servers: one is read")
    return [*lines, *(["", "[labels.pools]", *pools] if pools else [])]


def _service(ours: list[Labels], engines: list[Labels], kind: str) -> list[str]:
    """Propose what names a service: its own label, else namespace and model."""
    if kind == "table" and _share(ours, "service") >= MOSTLY:
        return ["service"]
    model = _first(ours, MODEL_LABELS)
    if model is None and any(len(_values(engines, name)) > 1 for name in MODEL_LABELS):
        model = _first(engines, MODEL_LABELS)  # gateways that name none are listed as not joined
    several = len(_values(ours, "namespace")) > 1 and _share(ours, "namespace") >= MOSTLY
    found = ["namespace"] * several + ([model] if model is not None else [])
    found = [name for name in found if len(_values(ours, name)) > 1]
    if not found and len(_values(ours, "service")) > 1 and _share(ours, "service") >= MOSTLY:
        return ["service"]
    return found  # without one there is one service, which bears the study's name


def _pool(ours: list[Labels]) -> str | None:
    for name in (*POOL_LABELS, *sorted({name for labels in ours for name in labels})):
        words = {value.strip().lower() for value in _values(ours, name)}
        if words & {"prefill", "decode"} and words <= set(POOL_WORDS):
            return name
    return None


def _pool_rules(engines: list[Labels]) -> list[str]:
    for name in SPEAKING_LABELS:
        values = _values(engines, name)
        if all(any(word in value for value in values) for word in ("prefill", "decode")):
            return [f'{word} = {{ {name} = ".*{word}.*" }}' for word in ("prefill", "decode")]
    return []


def _edges(series: Iterable[RawSeries], quantity: str) -> str:
    found = {
        float(one.le) * entry.factor
        for one in series
        if one.le is not None and one.metric.endswith("_bucket")
        for entry in find_source(one.metric)
        if entry.yields == quantity and re.fullmatch(r"[0-9.eE+-]+", one.le)
    }
    near = sorted(edge for edge in found if 0.001 <= edge <= 60)
    return f": {' '.join(f'{edge:g}' for edge in near)}" if near else ""


def _found(look: Look, text: str) -> list[str]:
    """Say what the proposed labels make of the series, and what they do not join."""
    if not look.series:
        return []
    import tomllib  # noqa: PLC0415 - only here

    document: dict[str, Any] = tomllib.loads(text)
    config = parse_config(document, place="study.toml", folder=Path())
    discovery = discover(look.series, config)
    engines = Counter(entry.engine for one in look.series for entry in find_source(one.metric)[:1])
    lines = ["Seen: " + ", ".join(f"{name} ({n} series)" for name, n in engines.most_common(SHOWN))]
    for service, pools in _services(discovery)[:SHOWN]:
        said = ", ".join(f"{pool} x {replicas}" for pool, replicas in pools.items())
        lines.append(f"Service {service}: {said} (pool x replicas seen)")
    lines += discovery.notes[:SHOWN]
    lines += _alone(discovery)
    if look.unknown:
        lines.append(f"{look.unknown} metrics are none that the study knows; [[signals]] adds some")
    return [line.replace("\n", " ") for line in lines]


def _services(discovery: Discovery) -> list[tuple[str, dict[str, int]]]:
    seen: dict[str, dict[str, set[str]]] = {}
    for row in discovery.series:
        replicas = seen.setdefault(row.service, {}).setdefault(row.pool, set())
        if row.replica is not None and row.scope == "engine":
            replicas.add(row.replica)
    return [
        (service, {pool: len(replicas) for pool, replicas in sorted(pools.items())})
        for service, pools in sorted(seen.items())
    ]


def _alone(discovery: Discovery) -> list[str]:
    """Name services that no engine speaks of: what a label could not join."""
    with_engine = {row.service for row in discovery.series if row.scope == "engine"}
    if not with_engine:
        return []
    lone = Counter(
        (row.service, row.metric) for row in discovery.series if row.service not in with_engine
    )
    return [
        f"Not joined: {count} series of {metric} stand alone in service {service}"
        for (service, metric), count in sorted(lone.items())[:SHOWN]
    ]
