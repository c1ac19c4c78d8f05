"""Timing of a named model on a named GPU, as aiconfigurator-core predicts it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from signalstudy.replay.engine.profile import ENGINE, Profile
from signalstudy.vocabulary.errors import ConfigurationError
from signalstudy.vocabulary.spoken import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

PREFIX = "aiconfigurator:"
FORM = "aiconfigurator:MODEL@GPU, such as aiconfigurator:meta-llama/Meta-Llama-3.1-70B@h200_sxm"
BACKEND = "vllm"
PROMPTS = np.unique(np.rint(np.geomspace(16, 131_072, 40)))
CONTEXTS = np.unique(np.rint(np.geomspace(64, 131_072, 24)))
BATCHES = np.array([1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 224, 256], dtype=float)
KV_POINTS = 61


def is_named_model(profile: str) -> bool:
    """Say whether a profile names a model and a GPU instead of a file."""
    return profile.startswith(PREFIX)


def profile_of(named: str, gpus_per_replica: int) -> Profile:
    """Predict how long passes last; tensor parallel over the GPUs of a replica, by vLLM.

    Batches are predicted at each context length and read as KV tokens = batch x context. Raises
    ConfigurationError where the package is missing, or knows neither model nor GPU.
    """
    model, _, system = named.removeprefix(PREFIX).rpartition("@")
    if not model or not system:
        raise ConfigurationError(f"--profile {named}: write {FORM}.")
    if importlib.util.find_spec("aiconfigurator_core") is None:
        raise ConfigurationError(
            f"--profile {named}: aiconfigurator-core is not installed: "
            "pip install 'signalstudy[aiconfigurator]'."
        )
    handle = _compiled(named, model, system, gpus_per_replica)
    prefill = np.array([handle.predict_prefill_latency(1, int(tokens)) for tokens in PROMPTS])
    kv_tokens = np.linspace(0.0, ENGINE["num_gpu_blocks"] * ENGINE["block_size"], KV_POINTS)
    decode = np.empty((KV_POINTS, CONTEXTS.size))
    for column, context in enumerate(CONTEXTS.tolist()):
        lasts = [handle.predict_decode_latency(int(batch), int(context)) for batch in BATCHES]
        decode[:, column] = np.interp(kv_tokens / context, BATCHES, lasts)
    return Profile(
        prefill_tokens=PROMPTS,
        prefill_ms=np.maximum.accumulate(prefill),
        kv_tokens=kv_tokens,
        context_tokens=CONTEXTS,
        decode_ms=decode,
        source=f"{model} on {gpus_per_replica} x {system} with {BACKEND}, as aiconfigurator-core "
        "predicts it",
    )


def _compiled(named: str, model: str, system: str, gpus: int) -> Any:
    engine = importlib.import_module("aiconfigurator_core.sdk.engine")  # an optional extra

    logging.getLogger("aiconfigurator_core").setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            handle = engine.EngineHandle.compile(model, system, BACKEND, tp_size=gpus)
            handle.predict_decode_latency(1, 64)
    except Exception as error:  # noqa: BLE001 - it raises whatever it likes about a name
        raise ConfigurationError(
            f"--profile {named}: aiconfigurator-core cannot predict it: {one_line(error)[:300]}"
        ) from None
    return handle
