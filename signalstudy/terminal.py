"""How results, progress and errors reach a person or a pipe."""

from __future__ import annotations

import contextlib
import shutil
import sys
import traceback
from typing import TYPE_CHECKING, Any

import click

from signalstudy.vocabulary.errors import SignalStudyError
from signalstudy.vocabulary.spoken import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORMATS = ("table", "json", "csv")
EXIT_WRONG_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED = 2, 70, 130


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show what is being done on stderr, on one line where that is a terminal."""
    if quiet:
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where it is shown

    console = Console(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        yield lambda sentence: click.echo(one_line(sentence), err=True)
        return
    with console.status("") as status:
        yield lambda sentence: status.update(one_line(sentence))


def print_rows(rows: list[dict[str, Any]], form: str) -> None:
    """Print rows as a table, JSON or CSV, a table as wide as the terminal."""
    from signalstudy.vocabulary.rows import render_rows  # noqa: PLC0415

    width = shutil.get_terminal_size((120, 40)).columns
    click.echo(render_rows(rows, form, width=width), nl=False)


@contextlib.contextmanager
def errors(*, debug: bool) -> Iterator[None]:
    """Turn what users can cause into one sentence and exit 2; never a traceback without --debug."""
    try:
        yield
    except SignalStudyError as error:
        if debug:
            traceback.print_exc()
        click.echo(f"error: {one_line(error)}", err=True)
        sys.exit(EXIT_WRONG_INPUT)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nothing is left to say
        sys.exit(0)
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except PermissionError as error:
        click.echo(f"error: {error.filename}: {error.strerror}", err=True)
        sys.exit(EXIT_WRONG_INPUT)
    except (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
            ValueError) as error:  # fmt: skip
        if debug:
            traceback.print_exc()
        click.echo(
            f"internal error: {type(error).__name__}: {error}. Please report it with the output of "
            "the same command and --debug.",
            err=True,
        )
        sys.exit(EXIT_INTERNAL)
