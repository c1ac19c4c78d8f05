"""A Profile: how long the simulated engine's passes last, and how large a replica is."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.vocabulary.errors import TableError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

AXES = ("prefill_isl", "prefill_ttft_ms", "decode_active_kv_tokens", "decode_context_length")
TABLE = "decode_itl"
ENGINE = {
    "num_gpu_blocks": 5000,
    "block_size": 64,
    "max_num_seqs": 256,
    "max_num_batched_tokens": 8192,
    "kv_transfer_bytes_per_token": 327_680,
    "kv_transfer_bandwidth": 200.0,
}
"""A replica where a profile says nothing of it: 320,000 KV tokens, at most 256 running requests,
8,192 tokens a pass; KV of 80 layers x 8 heads x 128 x 2 x 2 bytes, moved at 200 GB/s."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A pass over n new prompt tokens lasts `prefill_ms` (p,), read at `prefill_tokens` (p,).

    A decode pass lasts `decode_ms` (k, c), read at `kv_tokens` (k,), the tokens that all running
    requests hold, and at `context_tokens` (c,), those of one. `engine`: sizes by the engine's own
    names. `source`: where it is from, for people.
    """

    prefill_tokens: Floats
    prefill_ms: Floats
    kv_tokens: Floats
    context_tokens: Floats
    decode_ms: Floats
    engine: dict[str, float] = field(default_factory=lambda: dict(ENGINE))
    source: str = ""

    @property
    def kv_capacity_tokens(self) -> float:
        """Tokens that the KV cache of a replica holds."""
        return self.engine["num_gpu_blocks"] * self.engine["block_size"]

    @property
    def seconds_per_token(self) -> float:
        """Seconds a new prompt token, in a pass over a thousand of them."""
        return float(np.interp(1000.0, self.prefill_tokens, self.prefill_ms)) / 1e6

    def write(self, path: Path) -> None:
        """Write the arrays as the engine's `dynamo_profile` reads them."""
        np.savez(
            path,
            prefill_isl=self.prefill_tokens,
            prefill_ttft_ms=self.prefill_ms,
            decode_active_kv_tokens=self.kv_tokens,
            decode_context_length=self.context_tokens,
            decode_itl=self.decode_ms,
        )

    def arguments(self) -> dict[str, Any]:
        """Give the sizes of the engine as it wants them: whole numbers but for the bandwidth."""
        whole = {name: int(value) for name, value in self.engine.items()}
        return whole | {"kv_transfer_bandwidth": float(self.engine["kv_transfer_bandwidth"])}


def read_profile(path: Path) -> Profile:
    """Read an NPZ in the form of Dynamo's profiler; errors name the array and what is wrong.

    Beside the timing arrays it may hold the sizes of a replica as single numbers, by the names of
    ENGINE.
    """
    place = f"--profile {path.name}"
    if not path.is_file():
        raise TableError(f"--profile: there is no file {path}")
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as arrays:
            found = {name: np.asarray(arrays[name]) for name in arrays.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError):
        raise TableError(f"{place}: this is no NPZ of numbers.") from None
    needed = (*AXES, TABLE)
    missing = [name for name in needed if name not in found]
    if missing:
        raise TableError(
            f"{place}: there is no array {missing[0]!r}. Needed: {', '.join(needed)}; found: "
            f"{', '.join(sorted(found)) or 'none'}."
        )
    for name in needed:
        if found[name].dtype.kind not in "fiu":
            raise TableError(f"{place}: {name} holds no numbers.")
        found[name] = found[name].astype(float)
    engine = {name: _size(place, name, found.get(name), usual) for name, usual in ENGINE.items()}
    _check(place, found)
    return Profile(
        prefill_tokens=found["prefill_isl"],
        prefill_ms=found["prefill_ttft_ms"],
        kv_tokens=found["decode_active_kv_tokens"],
        context_tokens=found["decode_context_length"],
        decode_ms=found[TABLE],
        engine=engine,
        source=path.name,
    )


def _size(place: str, name: str, given: Any, usual: float) -> float:
    if given is None:
        return usual
    if given.size != 1 or given.dtype.kind not in "fiu" or not given.item() > 0:
        raise TableError(f"{place}: {name} must be one number above 0.")
    return float(given.item())


def _check(place: str, found: dict[str, Floats]) -> None:
    for name in AXES:
        if found[name].ndim != 1 or found[name].size < 2:
            raise TableError(f"{place}: {name} must have one dimension and at least two points.")
    for name in ("prefill_isl", "decode_active_kv_tokens", "decode_context_length"):
        if not (np.diff(found[name]) > 0.0).all():
            raise TableError(f"{place}: {name} must rise from point to point.")
    if found["prefill_ttft_ms"].size != found["prefill_isl"].size:
        raise TableError(
            f"{place}: prefill_ttft_ms has {found['prefill_ttft_ms'].size} points, prefill_isl "
            f"{found['prefill_isl'].size}: one time for each length."
        )
    shape = (found["decode_active_kv_tokens"].size, found["decode_context_length"].size)
    if found[TABLE].shape != shape:
        raise TableError(
            f"{place}: {TABLE} is {found[TABLE].shape}; decode_active_kv_tokens x "
            f"decode_context_length ask for {shape}."
        )
    for name in ("prefill_ttft_ms", TABLE):
        if not (np.isfinite(found[name]).all() and (found[name] > 0.0).all()):
            raise TableError(f"{place}: {name} must hold times above 0 only.")
