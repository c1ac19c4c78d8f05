"""What is printed: progress beside results, rows by form, errors as one sentence."""

from __future__ import annotations

import json

import pytest

from signalstudy.terminal import errors, print_rows, progress
from signalstudy.vocabulary.errors import ConfigurationError


def test_progress_goes_to_stderr_and_is_silent_when_asked(capsys):
    with progress(quiet=False) as say:
        say("reading\nlines")
    with progress(quiet=True) as say:
        say("nothing")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "reading\\nlines\n")


def test_rows_go_to_stdout_in_their_form(capsys):
    rows = [{"signal": "ttft", "value": 1.5}]
    print_rows(rows, "json")
    assert json.loads(capsys.readouterr().out) == rows
    print_rows(rows, "csv")
    assert capsys.readouterr().out == "signal,value\nttft,1.5\n"
    print_rows(rows, "table")
    assert capsys.readouterr().out.splitlines()[0].split() == ["signal", "value"]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigurationError("a.toml: wrong\nindeed"), 2, "error: a.toml: wrong\\nindeed"),
        (PermissionError(13, "Permission denied", "out"), 2, "error: out: Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("x"), 70, "internal error: ZeroDivisionError: x. Please report it"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(capsys, error, code, words):
    with pytest.raises(SystemExit) as ended, errors(debug=False):
        raise error
    told = capsys.readouterr()
    assert ended.value.code == code
    assert told.err.startswith(words)
    assert "Traceback" not in told.err
    assert told.out == ""


def test_debug_shows_the_traceback(capsys):
    with pytest.raises(SystemExit), errors(debug=True):
        raise ConfigurationError("a.toml: wrong")
    assert "Traceback" in capsys.readouterr().err


def test_without_an_error_nothing_is_said(capsys):
    with errors(debug=False):
        pass
    assert capsys.readouterr().err == ""
