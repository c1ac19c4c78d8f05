"""Spread parts of the calibration over processes, each result as soon as its turn comes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")


@contextmanager
def spread(jobs: int) -> Iterator[Callable[..., Callable[[], Any]]]:
    """Give a function that starts another in one of `jobs` processes and gives how to await it.

    With one job nothing is started, and work is done when it is awaited.
    """
    if jobs <= 1:
        yield lambda function, *inputs: lambda: function(*inputs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield lambda function, *inputs: pool.submit(function, *inputs).result
