"""OpenMetrics text with times is read as the samples that it holds."""

from __future__ import annotations

import lzma

import numpy as np
import pytest

from signalstudy.vocabulary.errors import TableError
from tests.telemetry.scripted_server import LABELS, SAMPLES
from tests.telemetry.written import as_dump, read, sample, study, written

TOKENS = LABELS["__name__"]
INNER = 'pool="decode", replica="d0", service="chat"'
GOOD = "".join(f"{TOKENS}{{{INNER}}} {v!r} {t / 1000:.3f}\n" for t, v in SAMPLES)


def opened(file):
    return {"kind": "openmetrics", "path": file}


def increments(telemetry):
    return telemetry.samples("chat", "production").sort("key", "time_ms").rows()


def of_text(folder, text, name="a.txt"):
    folder.mkdir(exist_ok=True)
    content = text if isinstance(text, bytes) else text.encode()
    return read(folder, study(opened(written(folder, content, name))))


def test_text_and_a_dump_of_the_same_samples_are_the_same(tmp_path):
    rows = [sample(TOKENS, t / 1000 - 1_767_571_200, v) for t, v in SAMPLES]
    dump = {"kind": "tsdb-dump", "path": written(tmp_path, as_dump(rows), "dump.txt")}
    expected = increments(read(tmp_path, study(dump)))
    assert len(expected) == 59
    plain = of_text(tmp_path / "a", GOOD)
    assert increments(plain) == expected
    packed = of_text(tmp_path / "b", lzma.compress(GOOD.encode()), "a.txt.xz")
    assert increments(packed) == expected


def test_comments_exemplars_quotes_and_strangers_do_not_matter(tmp_path):
    dressed = "# TYPE vllm:generation_tokens counter\n# HELP x y\n\n"
    for i, line in enumerate(GOOD.splitlines()):
        labels = TOKENS + "{" + INNER.replace(", ", ",") + r',note="a } # \" b"}'
        dressed += line.replace(f"{TOKENS}{{{INNER}}}", labels)
        dressed += ' # {trace_id="x"} 1.0 1767571200.0\n' if i % 2 else "\r\n"
        dressed += f'odd_metric{{a="b"}} {i} {i}\nup 1 {i}.5\n'
    telemetry = of_text(tmp_path / "a", dressed + "# EOF\n")
    values = [row[2] for row in increments(telemetry)]
    assert values == [100.0] * 59


def test_a_name_may_stand_quoted_among_the_labels(tmp_path):
    quoted = GOOD.replace(f"{TOKENS}{{", f'{{"{TOKENS}", ')
    assert len(increments(of_text(tmp_path / "a", quoted))) == 59


def test_what_is_no_number_is_counted(tmp_path):
    odd = f"{TOKENS}{{{INNER}}} NaN 1767572000\n{TOKENS}{{{INNER}}} +Inf 1767572010\n"
    telemetry = of_text(tmp_path / "a", GOOD + odd)
    assert "1 samples are NaN and are set aside" in telemetry.notes
    assert len(increments(telemetry)) == 59


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hello", "is no sample"),
        (f"{TOKENS}{{{INNER}}} 1", "has no time"),
        ("up 1", "has no time"),
        (f"{TOKENS}{{{INNER}}} one 1767571200", "is no sample"),
        (f"{TOKENS}{{{INNER}}} 1 soon", "is no sample"),
        (f"{TOKENS}{{{INNER}}} 1 1767571200000", "is no sample"),
        (f"{TOKENS}{{{INNER} 1 2", "is no sample"),
        (f"{TOKENS}{{a=b}} 1 2", "cannot read the labels"),
        ('{a="b"} 1 2', "cannot read the labels"),
        ("\x00\x02", "is no sample"),
    ],
)
def test_a_line_that_is_no_sample_is_named(tmp_path, line, said):
    with pytest.raises(TableError, match=rf"a\.txt.*{said}") as caught:
        of_text(tmp_path, GOOD + line + "\n")
    assert ("line 61" in str(caught.value)) == ("labels" not in said)
    assert not (tmp_path / "study").exists()


def test_an_empty_file_is_named(tmp_path):
    with pytest.raises(TableError, match="is empty"):
        of_text(tmp_path, b"")


def test_damaged_text_is_an_error_or_other_numbers_never_more(tmp_path):
    random = np.random.default_rng(9)
    errors = 0
    for _ in range(40):
        content = bytearray(GOOD.encode())
        for _ in range(int(random.integers(1, 4))):
            content[random.integers(0, len(content))] = int(random.integers(0, 256))
        try:
            of_text(tmp_path, bytes(content))
        except TableError:
            errors += 1
    assert errors > 0
