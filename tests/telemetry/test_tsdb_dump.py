"""Dumps whose lines look like samples and are none."""

from __future__ import annotations

import pytest

from signalstudy.vocabulary.errors import TableError
from tests.telemetry.written import GOOD, as_dump, read, study, written


@pytest.mark.parametrize("time_ms", [9 * 10**18, -9 * 10**18, 10**15, 10**30])
def test_a_time_that_no_calendar_has_is_named(tmp_path, time_ms):
    odd = as_dump(GOOD) + b'{__name__="vllm:num_requests_running"} 1 %d\n' % time_ms
    with pytest.raises(TableError, match=rf"line {len(GOOD) + 1} is no sample"):
        read(tmp_path, study({"kind": "tsdb-dump", "path": written(tmp_path, odd, "a.txt")}))


@pytest.mark.parametrize(
    "histogram",
    [
        b"{count:3,  sum:1.5, (0.5,1]:3}",
        b"{count:x, sum:1.5, (0.5,1]:3}",
        b"{count:3, sum:1.5, (0.5,1]:::3}",
        b"{count:3, sum:1.5, (NaN,1]:3}",
        b"{count:3}",
    ],
)
def test_a_histogram_that_is_none_is_named(tmp_path, histogram):
    name = b'{__name__="vllm:time_to_first_token_seconds"}'
    rows = name + b" {count:3, sum:1.5, (0.5,1]:3} 1767571200000\n"
    odd = rows + name + b" " + histogram + b" 1767571210000\n"
    with pytest.raises(TableError, match=r"cannot read the histogram '\{count:"):
        read(tmp_path, study({"kind": "tsdb-dump", "path": written(tmp_path, odd, "a.txt")}))
