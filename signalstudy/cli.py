"""The command line: arguments in, results to stdout, progress to stderr; no logic."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from signalstudy.terminal import FORMATS, errors, print_rows, progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalstudy.study.study import Study

EXIT_NOTHING_QUALIFIES = EXIT_LINT_ERROR = 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="signalstudy")
def commands() -> None:
    """Find which metric an LLM autoscaler should follow, and at what value."""


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every command on a study takes."""
    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
        click.option(
            "--format",
            "form",
            type=click.Choice(FORMATS),
            default="table",
            help="Form of the result on stdout.",
        ),
        click.option("--service", help="Only this service."),
        click.option(
            "--out",
            type=click.Path(path_type=Path),
            help="Folder of the study; default ./<study name>-study.",
        ),
    ):
        command = option(command)
    return command


_last = click.option(
    "--last", metavar="6h", help="Only the last part of servers' and TSDB folders' history."
)


@commands.command()
@_common
def demo(out: Path | None, service: str | None, form: str, *, quiet: bool, debug: bool) -> None:
    """Run the whole study on the sample that ships with the package, in ./demo-study."""
    from signalstudy.shipped import shipped  # noqa: PLC0415 - heavy only when used

    with errors(debug=debug):
        path, folder = shipped("sample") / "study.toml", out or Path("demo-study")
        _run(path, folder, service, form, last=None, quiet=quiet, strict=False)


@commands.command()
@click.option("--from", "source", help="A server's address, a TSDB folder, or files.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("study.toml"))
@click.option("--quiet", is_flag=True, help="Write the file and say nothing.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def init(source: str | None, out: Path, *, quiet: bool, debug: bool) -> None:
    """Write a commented study.toml, filled in from what the source holds."""
    from signalstudy.study.init import write_study_file  # noqa: PLC0415 - heavy only when used

    with errors(debug=debug):
        said = write_study_file(source, out)
        if not quiet:
            click.echo("\n".join(said))


@commands.command()
@click.argument("path", metavar="STUDY.TOML", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Exit 1 where some service has no signal.")
@_last
@_common
def run(
    path: Path,
    out: Path | None,
    service: str | None,
    form: str,
    *,
    last: str | None,
    quiet: bool,
    debug: bool,
    strict: bool,
) -> None:
    """Do everything, then write the report."""
    with errors(debug=debug):
        _run(path, out, service, form, last=last, quiet=quiet, strict=strict)


def _run(
    path: Path,
    out: Path | None,
    service: str | None,
    form: str,
    *,
    last: str | None,
    quiet: bool,
    strict: bool,
) -> None:
    from signalstudy.config import read_config  # noqa: PLC0415 - heavy only when used
    from signalstudy.report.stream import run_and_report  # noqa: PLC0415
    from signalstudy.study.run import default_folder  # noqa: PLC0415

    folder = out if out is not None else default_folder(read_config(path, last=last), last)
    with progress(quiet=quiet) as say:
        study, page, moved = run_and_report(path, folder, service=service, last=last, progress=say)
    _print_all(study, form)
    for sentence in moved:
        click.echo(sentence, err=True)
    if not quiet:
        click.echo(f"Report: {page}", err=True)
    _exit_by(study, strict=strict)


def _exit_by(study: Study, *, strict: bool = False) -> None:
    """End with 1 where no service (`strict`: not every one) has a signal that qualifies."""
    qualified = [found.ranking.best is not None for found in study.services.values()]
    if not any(qualified) or (strict and not all(qualified)):
        sys.exit(EXIT_NOTHING_QUALIFIES)


@commands.command()
@click.argument("path", metavar="STUDY.TOML", type=click.Path(path_type=Path))
@_last
@_common
def check(
    path: Path,
    out: Path | None,
    service: str | None,
    form: str,
    *,
    last: str | None,
    quiet: bool,
    debug: bool,
) -> None:
    """Say whether a study is sound and its data are there and usable; no statistics."""
    with errors(debug=debug):
        from signalstudy.study.check import check_study  # noqa: PLC0415 - heavy only when used

        with progress(quiet=quiet) as say:
            rows = check_study(path, out=out, service=service, last=last, progress=say)
        print_rows(rows, form)


def _stage(name: str, about: str) -> None:
    """Make the command that prints one stage's result."""

    @commands.command(name, help=about)
    @click.argument("path", metavar="STUDY.TOML", type=click.Path(path_type=Path))
    @_common
    def stage(
        path: Path, out: Path | None, service: str | None, form: str, *, quiet: bool, debug: bool
    ) -> None:
        from signalstudy.study import stages  # noqa: PLC0415 - heavy only when used

        with errors(debug=debug):
            study, _ = _study(path, out, service, quiet=quiet)
            if name == "policy" and form != "csv":
                click.echo(stages.policies_text(study, form), nl=False)
            else:
                print_rows(getattr(stages, f"{name}_rows")(study), form)
            _exit_by(study)


_stage("evidence", "Print every measure of every signal.")
_stage("rank", "Print the signals in order, with verdict and reason.")
_stage("fit", "Print capacities, targets and the P/D ratio.")
_stage("policy", "Print the policy of every service as YAML documents.")


@commands.command()
@click.argument("path", metavar="STUDY.TOML", type=click.Path(path_type=Path))
@_common
def report(
    path: Path,
    out: Path | None,
    service: str | None,
    form: str,  # noqa: ARG001 - every command on a study takes the same options
    *,
    quiet: bool,
    debug: bool,
) -> None:
    """Write the report; its first page goes to a pipe or file, its path to a terminal."""
    with errors(debug=debug):
        from signalstudy.report.write import write_report  # noqa: PLC0415 - heavy only when used

        study, folder = _study(path, out, service, quiet=quiet)
        page = write_report(study, folder)
        click.echo(str(page) if sys.stdout.isatty() else page.read_text("utf-8"))
        _exit_by(study)


@commands.command()
@click.argument("path", metavar="STUDY.TOML", type=click.Path(path_type=Path))
@click.option("--signal", "name", required=True, metavar="POOL.SIGNAL", help="The signal.")
@click.option("--measure", metavar="MEASURE", help="Only this number; all of them without it.")
@_common
def explain(
    path: Path,
    name: str,
    measure: str | None,
    out: Path | None,
    service: str | None,
    *,
    form: str,
    quiet: bool,
    debug: bool,
) -> None:
    """Say how a number came about: window, rows, formula, interval, and PromQL to paste."""
    with errors(debug=debug):
        from signalstudy.study import explain as stage  # noqa: PLC0415 - heavy only when used

        with progress(quiet=quiet) as say:
            found = stage.explain_study(
                path, name, measure=measure, out=out, service=service, progress=say
            )
        if form == "table":
            click.echo(stage.explanation_text(found), nl=False)
        else:
            print_rows(stage.explanation_rows(found), form)


@commands.command("export")
@click.argument("path", metavar="POLICY.YAML", type=click.Path(path_type=Path))
@click.option("--to", required=True, help="The scaler: hpa, keda, aibrix, kthena, and more.")
@click.option(
    "--query",
    "queries",
    multiple=True,
    metavar="SIGNAL=PROMQL",
    help="The query of a signal, of POOL.up or POOL.replicas; may be repeated.",
)
@click.option("--format", "form", type=click.Choice(("yaml", "json")), default="yaml")
@click.option("--quiet", is_flag=True, help="Nothing is said beside the result anyway.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def export_policy(
    path: Path,
    to: str,
    queries: tuple[str, ...],
    *,
    form: str,
    quiet: bool,  # noqa: ARG001 - scripts give it to every command
    debug: bool,
) -> None:
    """Write a policy in the form that a scaler consumes."""
    with errors(debug=debug):
        from signalstudy.policy.read import read_policy  # noqa: PLC0415 - heavy only when used
        from signalstudy.scalers.export import as_json, export, parse_queries  # noqa: PLC0415

        text = export(read_policy(path), to, parse_queries(queries))
        click.echo(as_json(text) if form == "json" else text, nl=False)


@commands.command("lint")
@click.argument(
    "paths", metavar="FILE.YAML...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--on",
    metavar="STUDY.TOML",
    type=click.Path(path_type=Path),
    help="Hold the files against this study; its study.json will do.",
)
@_common
def lint_files(
    paths: tuple[Path, ...],
    on: Path | None,
    out: Path | None,
    service: str | None,
    form: str,
    *,
    quiet: bool,
    debug: bool,
) -> None:
    """Say what of a policy or a manifest will not work as intended; exit 1 on an error."""
    with errors(debug=debug):
        from signalstudy.lint.finding import findings_text  # noqa: PLC0415 - heavy only when used
        from signalstudy.lint.lint import lint  # noqa: PLC0415
        from signalstudy.policy.read import read_text  # noqa: PLC0415
        from signalstudy.study.facts import study_facts  # noqa: PLC0415

        texts = {str(path): read_text(path) for path in paths}
        facts = None
        if on is not None:
            with progress(quiet=quiet) as say:
                facts = study_facts(on, service=service, out=out, progress=say)
        findings = lint(texts, facts=facts)
        if form == "table":
            click.echo(findings_text(findings), nl=False)
        else:
            print_rows([dataclasses.asdict(finding) for finding in findings], form)
        if any(finding.severity == "error" for finding in findings):
            sys.exit(EXIT_LINT_ERROR)


@commands.command("replay")
@click.argument("paths", metavar="POLICY.YAML...", nargs=-1, type=Path)
@click.option("--candidates", is_flag=True, help="Replay a policy for every usable signal as well.")
@click.option("--on", required=True, type=Path, metavar="STUDY.TOML", help="Whose demand.")
@click.option("--engine", default="recorded", help="recorded (demand) or dynamo (requests).")
@click.option("--trace", type=Path, metavar="FILE", help="dynamo: requests, .jsonl or .parquet.")
@click.option("--profile", metavar="FILE.npz", help="dynamo: timing; or aiconfigurator:MODEL@GPU.")
@click.option("--scale", default=1.0, help="dynamo: times the requests of the trace.")
@click.option("--jobs", type=click.IntRange(1), help="dynamo: runs side by side.")
@click.option("--from", "since", metavar="TIME", help="Replay from this time (ISO 8601, UTC).")
@click.option("--to", "until", metavar="TIME", help="Replay up to this time.")
@click.option("--against", default="", metavar="NAME|FILE,...|all", help="Rivals or manifests.")
@click.option("--inventory", type=Path, metavar="FILE", help="GPUs and switches to place on.")
@click.option("--draws", type=click.IntRange(0), default=100, help="Draws for the intervals.")
@click.option("--attainment", type=click.FloatRange(0, 1), help="What fixed-peak must reach.")
@_common
def replay_policies(form: str, *, quiet: bool, debug: bool, **options: Any) -> None:
    """Say what policies would have done with a study's demand, and what rivals would."""
    with errors(debug=debug):
        from signalstudy.report.write import write_replay  # noqa: PLC0415 - heavy only when used
        from signalstudy.study.replays import printed, replay_files, replay_folder  # noqa: PLC0415

        with progress(quiet=quiet) as say:
            found = replay_files(**options, progress=say)
            page = write_replay(found, replay_folder(options["on"], options["out"]))
            say(f"written: {page}")
        width = shutil.get_terminal_size((120, 40)).columns
        click.echo(printed(found, form, width=width), nl=False)


@commands.command()
@click.option("--format", "form", type=click.Choice(FORMATS), default="table")
@click.option("--quiet", is_flag=True, help="Nothing is said beside the result anyway.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def signals(form: str, *, quiet: bool, debug: bool) -> None:  # noqa: ARG001 - as above
    """Print the catalogue: canonical name, unit, engine metrics."""
    from signalstudy.vocabulary.signals import catalogue_rows  # noqa: PLC0415

    rows: list[dict[str, Any]] = [
        {name: row[name] for name in ("signal", "unit", "metrics")} for row in catalogue_rows()
    ]
    print_rows(rows, form)


def _study(path: Path, out: Path | None, service: str | None, *, quiet: bool) -> tuple[Study, Path]:
    from signalstudy.config import read_config  # noqa: PLC0415 - heavy only when used
    from signalstudy.study.run import default_folder, run_study  # noqa: PLC0415

    folder = out if out is not None else default_folder(read_config(path))
    with progress(quiet=quiet) as say:
        return run_study(path, out=folder, service=service, progress=say), folder


def _print_all(study: Study, form: str) -> None:
    from signalstudy.study import stages  # noqa: PLC0415 - heavy only when used

    if form == "json":
        click.echo(stages.study_json(study), nl=False)
    elif form == "csv":
        print_rows(stages.rank_rows(study), form)
    else:
        click.echo(stages.study_text(study), nl=False)


def main() -> None:
    """Run the command line."""
    commands(prog_name="signalstudy")


if __name__ == "__main__":
    main()
