"""StudyConfig: read and check study.toml, the only place where strangers' text becomes a study."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from signalstudy.source import (
    HAS_SPAN,
    SOURCE_KINDS,
    Instant,
    Names,
    PositiveSeconds,
    ServerQuery,
    Source,
    Strict,
)
from signalstudy.vocabulary.durations import duration_seconds
from signalstudy.vocabulary.errors import ConfigurationError, unknown_name
from signalstudy.vocabulary.objectives import OBJECTIVE_SIGNALS, Objective

POOLS = ("prefill", "decode", "unified", "gateway")


def _expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from None
    return value


def _objective_signal(value: Any) -> Any:
    if value not in OBJECTIVE_SIGNALS:
        error = unknown_name("", "signal", str(value), OBJECTIVE_SIGNALS)
        raise ValueError(str(error).removeprefix(": "))
    return value


def _quantile(value: Any) -> Any:
    if isinstance(value, int | float) and 1 < value < 100:
        raise ValueError(f"a quantile is a share; p{value:g} is {value / 100:g}")
    return value


Expression = Annotated[str, AfterValidator(_expression)]


class StudySection(Strict):
    """[study]: what it is called and at which step it works."""

    name: Annotated[str, Field(min_length=1, max_length=300)]
    seed: Annotated[int, Field(ge=0)] = 0
    step_seconds: PositiveSeconds | None = None


class LabelsSection(Strict):
    """[labels]: which labels say service, pool, replica, hardware and version."""

    service: Names = ("service",)
    pool: Names = ("pool", "engine_type")
    replica: Names = ("replica", "pod", "exported_pod", "instance")
    hardware: Names = ("hardware", "modelName")
    version: Names = ("version", "model_version", "model_name")
    ha_replica: Names = ("prometheus_replica",)
    sum_over: Names = ("engine", "dp_rank")
    one_of: Names = ("tp_rank", "pp_rank")
    pools: dict[Literal["prefill", "decode", "unified", "gateway"], dict[str, Expression]] = Field(
        default_factory=dict
    )


class ObjectiveSection(Strict):
    """One [[objectives]]: a latency, a quantile and a limit."""

    signal: Annotated[Literal["ttft", "tbt", "e2e"], BeforeValidator(_objective_signal)]
    quantile: Annotated[float, Field(gt=0, lt=1), BeforeValidator(_quantile)]
    at_most_seconds: PositiveSeconds
    service: Expression | None = None

    def applies_to(self, service: str) -> bool:
        """Whether this objective is one of `service`'s."""
        return self.service is None or re.fullmatch(self.service, service) is not None

    @property
    def objective(self) -> Objective:
        """The same without the filter."""
        return Objective(self.signal, self.quantile, self.at_most_seconds)


class ProvisioningSection(Strict):
    """[provisioning]: what a replica is and how long it takes to start."""

    startup_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    gpus_per_replica: (
        Annotated[float, Field(gt=0)]
        | dict[Literal["prefill", "decode", "unified"], Annotated[float, Field(gt=0)]]
        | None
    ) = None

    def gpus_of(self, pool: str) -> float | None:
        """GPUs of one replica of `pool`, None where nobody said."""
        if isinstance(self.gpus_per_replica, dict):
            return {str(name): gpus for name, gpus in self.gpus_per_replica.items()}.get(pool)
        return self.gpus_per_replica


class TargetRef(Strict):
    """What a scaler is to scale."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None


class PolicyPool(Strict):
    """[policy.pools.<pool>]: what only the user knows."""

    min_replicas: Annotated[int, Field(ge=0)] | None = None
    max_replicas: Annotated[int, Field(ge=1)] | None = None
    target: TargetRef | None = None

    @model_validator(mode="after")
    def _in_order(self) -> PolicyPool:
        if (
            self.min_replicas is not None
            and self.max_replicas is not None
            and self.min_replicas > self.max_replicas
        ):
            raise ValueError(
                f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}"
            )
        return self


class PolicySection(Strict):
    """[policy]: bounds and scale targets per pool."""

    pools: dict[Literal["prefill", "decode", "unified"], PolicyPool] = Field(default_factory=dict)


class Exclusion(Strict):
    """One [[exclude]]: a span that is no production evidence."""

    start: Instant
    end: Instant
    reason: str = ""

    @model_validator(mode="after")
    def _in_order(self) -> Exclusion:
        if self.end <= self.start:
            raise ValueError("end is not after start")
        return self


class SignalSection(Strict):
    """One [[signals]]: a further candidate, named by its metric or computed by a server."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=120)]
    metric: str | None = None
    promql: str | None = None
    kind: Literal["gauge", "counter", "histogram"] = "gauge"
    unit: str = ""
    pool: Literal["prefill", "decode", "unified", "gateway"] | None = None
    aggregation: Literal["sum", "mean"] | None = None

    @model_validator(mode="after")
    def _has_a_metric(self) -> SignalSection:
        if (self.metric is None) == (self.promql is None):
            raise ValueError("name the metric, or promql where kind 'prometheus' is read")
        if self.promql is not None and self.kind != "gauge":
            raise ValueError("what promql gives is a gauge")
        return self


class StudyConfig(Strict):
    """Everything a study.toml says. Paths are absolute after reading."""

    study: StudySection
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    labels: LabelsSection = LabelsSection()
    objectives: tuple[ObjectiveSection, ...] = ()
    provisioning: ProvisioningSection = ProvisioningSection()
    policy: PolicySection = PolicySection()
    exclude: tuple[Exclusion, ...] = ()
    signals: tuple[SignalSection, ...] = ()

    def objectives_of(self, service: str) -> tuple[Objective, ...]:
        """Give the objectives that hold for `service`."""
        return tuple(o.objective for o in self.objectives if o.applies_to(service))


def read_config(path: str | Path, *, last: str | None = None) -> StudyConfig:
    """Read study.toml; `last`, such as 6h, keeps the last part of its servers and TSDB folders.

    Raises ConfigurationError with the place and the choices. Relative paths of sources become
    absolute, relative to the file.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path}: there is no such file. `signalstudy demo` shows one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as text: {error}") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from None
    config = parse_config(document, place=file.name, folder=file.parent)
    return config if last is None else _shortened(config, last)


def _shortened(config: StudyConfig, last: str) -> StudyConfig:
    try:
        seconds = duration_seconds(last)
    except ValueError as error:
        raise ConfigurationError(f"--last: {error}") from None
    if seconds < 1:
        raise ConfigurationError(f"--last: {last} is below a second")
    sources = tuple(source.lasting(last) for source in config.sources)
    if sources == config.sources and all(s.kind not in HAS_SPAN for s in sources):
        raise ConfigurationError(
            f"--last: shortens sources of kind {' or '.join(HAS_SPAN)}, and there is none"
        )
    return config.model_copy(update={"sources": sources})


def parse_config(document: dict[str, Any], *, place: str, folder: Path) -> StudyConfig:
    """Check a document that has the form of study.toml; `place` names it in messages."""
    _refuse_unknown_kinds(document, place)
    try:
        config = StudyConfig.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError(_sentence(error, place)) from None
    now = datetime.now(UTC)
    queries = {own.name: ServerQuery(promql=own.promql) for own in config.signals if own.promql}
    if queries and all(source.kind != "prometheus" for source in config.sources):
        raise ConfigurationError(
            f"{place}, [[signals]]: promql wants a source of kind 'prometheus', and there is none"
        )
    sources = tuple(source.resolved(folder, now, queries) for source in config.sources)
    signals = tuple(
        own.model_copy(update={"metric": own.metric or own.name}) for own in config.signals
    )
    return config.model_copy(update={"sources": sources, "signals": signals})


def _refuse_unknown_kinds(document: dict[str, Any], place: str) -> None:
    sources = document.get("sources")
    if not isinstance(sources, list):
        return
    for number, source in enumerate(sources, start=1):
        kind = source.get("kind") if isinstance(source, dict) else None
        where = f"{place}, [[sources]] {number}"
        if kind is not None and kind not in SOURCE_KINDS:
            raise ConfigurationError(str(unknown_name(where, "kind", str(kind), SOURCE_KINDS)))


def _section(location: tuple[str | int, ...]) -> tuple[str, list[str]]:
    """Turn pydantic's location into what stands in the file, and what is left of it."""
    parts = [str(p) for p in location]
    if len(location) >= 2 and isinstance(location[1], int):
        return f"[[{parts[0]}]] {location[1] + 1}", parts[2:]
    if location and len(location) >= 2:
        return f"[{'.'.join(parts[:-1])}]", parts[-1:]
    return "", parts


def _known_keys(location: tuple[str | int, ...]) -> list[str]:
    """List the keys that are allowed where `location` points to an unknown one."""
    model: Any = StudyConfig
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            break
        model = _model_in(fields[part].annotation) or model
    return sorted(getattr(model, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _sentence(error: ValidationError, place: str) -> str:  # noqa: PLR0911 - a case a line
    """Reword the first of pydantic's errors as one sentence with place and choices."""
    found = error.errors()
    # A slip in a key makes a missing one as well: the slip says more.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    location = tuple(first["loc"])
    section, rest = _section(location)
    where = f"{place}, {section}" if section else place
    key = rest[-1] if rest else ""
    if first["type"] == "extra_forbidden":
        return str(unknown_name(where, "key", str(location[-1]), _known_keys(location)))
    if first["type"] == "missing":
        if location == ("study",):
            return f'{place}: there is no [study] with a name. Write: [study] and name = "chat".'
        if location == ("sources",):
            return (
                f"{place}: there is no [[sources]]. Name at least one, with kind "
                f"({', '.join(SOURCE_KINDS)}) and path."
            )
        return f"{where}: {key!r} is missing. Known: {', '.join(_known_keys(location))}."
    if location == ("sources",):
        kinds = ", ".join(SOURCE_KINDS)
        return f"{place}: sources must be [[sources]] tables, at least one. Kinds: {kinds}."
    message = str(first["msg"]).removeprefix("Value error, ")
    if message.startswith("min_replicas"):
        return f"{place}, [{'.'.join(map(str, location))}]: {message}"
    if message.startswith(("unknown ", "end ")):
        return f"{where}: {message}"
    if location[:2] == ("provisioning", "gpus_per_replica"):
        choices = "a number above 0, or one a pool: { prefill = 2, decode = 4 }"
        return f"{place}, [provisioning]: gpus_per_replica is {choices}"
    given = first.get("input")
    shown = repr(given) if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {key + ' = ' if key else ''}{shown[:120]}: {message}".replace(": :", ":")
