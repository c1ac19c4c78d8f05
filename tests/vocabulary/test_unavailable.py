from __future__ import annotations

from signalstudy.vocabulary.unavailable import unavailable_signals


def missing(present, named=None):
    return {(pool, name): said for pool, name, said in unavailable_signals(present, named)}


def test_what_is_worth_having_is_named_with_what_exports_it():
    found = missing({"decode": {"decode_tokens_per_second"}})
    assert "DCGM_FI_PROF_SM_ACTIVE" in found["decode", "sm_activity_ratio"]
    assert ("decode", "decode_tokens_per_second") not in found


def test_what_the_gateway_has_is_missing_nowhere():
    assert ("decode", "tbt_p99_seconds") in missing({"decode": ()})
    assert ("decode", "tbt_p99_seconds") not in missing(
        {"decode": (), "gateway": {"tbt_p50_seconds"}}
    )


def test_a_signal_of_the_users_own_that_finds_nothing_is_said_so():
    named = {"kv_transfer": "vllm:kv_transfer_total", "lora": "vllm:lora"}
    found = missing({"decode": {"lora_p50"}}, named)
    assert "study.toml names 'vllm:kv_transfer_total'" in found["decode", "kv_transfer"]
    assert ("decode", "lora") not in found
