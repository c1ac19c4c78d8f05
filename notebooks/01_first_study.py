# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first study
#
# Which metric should the autoscaler of a chat service follow, and at what value? We ask the sample
# that ships with signalstudy: one day of a prefill/decode-disaggregated service, simulated, so that
# the right answers are known (`sample/truth.json`).

# %%
import json
import tempfile
from pathlib import Path

import signalstudy as ss
from signalstudy.shipped import shipped

sample = shipped("sample")
study = ss.run_study(sample / "study.toml", out=Path(tempfile.mkdtemp()) / "study", service="chat")
chat = study.services["chat"]

# %% [markdown]
# ## The verdict
#
# One line a signal, best first. A verdict is `proportional` (may drive), `guard` (may stop),
# `rejected`, `undetermined` (these data cannot tell) or `unavailable`, each with its reason.

# %%
chat.ranking

# %%
{f"{s.pool}.{s.signal}": s.reason for s in chat.ranking.signals if s.verdict == "rejected"}

# %% [markdown]
# ## Why: signals against demand
#
# A signal fit for proportional control lies on a line through the origin. Decode GPU utilization is
# pinned; TTFT is flat and then a cliff.

# %%
ss.plot(chat.timeline, against="demand")

# %% [markdown]
# ## At what value
#
# The threshold is fitted on request counts: how many of n requests were over the limit at which
# work per replica. `low` is the bound to build on.

# %%
chat.threshold

# %%
ss.plot(chat.threshold)

# %% [markdown]
# ## What the scaler gets

# %%
print(json.dumps(chat.policy.document["spec"]["proportional"], indent=2))

# %% [markdown]
# ## Was it right?
#
# The knees were measured by running the simulator at constant rates. The study saw one day of
# traffic, and its intervals hold them.

# %%
truth = json.loads((sample / "truth.json").read_text())
knees = {knee["pool"]: knee["per_replica"] for knee in truth["knees"] if knee["service"] == "chat"}

verdicts = {(s.pool, s.signal): s.verdict for s in chat.ranking.signals}
assert verdicts["decode", "decode_tokens_per_second"] == "proportional"
assert verdicts["prefill", "prefill_uncached_tokens_per_second"] == "proportional"
assert verdicts["decode", "gpu_utilization_ratio"] == "rejected"
assert verdicts["prefill", "ttft_mean_seconds"] == "guard"
for pool, knee in knees.items():
    capacity = chat.threshold.capacities[pool].per_replica
    print(pool, "true", round(knee), "fitted", capacity)
    assert capacity.low <= knee <= capacity.high, "the interval misses the knee"
    assert capacity.low >= 0.8 * knee, "the safe bound is needlessly low"
