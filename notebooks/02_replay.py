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
# # Prove a policy before shipping it
#
# A study says which signal to follow and at what value. Would that policy have kept the objectives
# on the day that was recorded, and at what cost? `replay_policy` drives the policy's own decision
# function with that day's demand, through a fluid queue per pool.

# %%
import tempfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import signalstudy as ss
from signalstudy.shipped import shipped

folder = Path(tempfile.mkdtemp()) / "study"
study = ss.run_study(shipped("sample") / "study.toml", out=folder, service="chat")
chat = study.services["chat"]

# %% [markdown]
# ## Against what really happened, and against others
#
# `fixed-peak` is the cheapest fixed fleet that keeps 0.99 of the requests, `clairvoyant` the
# cheapest plan that knows the day ahead. The HPA on GPU utilization gets the targets that suit it
# best on the first half of the day.

# %%
replay = ss.replay_policy(
    chat.policy, chat, against=["fixed-peak", "clairvoyant", "hpa-gpu-utilization"], draws=10
)
replay

# %%
ss.plot(replay, against="cost")

# %%
ss.plot(replay)

# %% [markdown]
# The policy costs less than any fixed fleet and more than the clairvoyant. The HPA pays for a
# signal that decode hardly moves.

# %%
runs = {run.name: run for run in replay.runs}
cost = {name: run.gpu_hours.value for name, run in runs.items()}
kept = {name: run.slo_attainment_ratio.value for name, run in runs.items()}
assert cost["clairvoyant"] < cost["chat"] < cost["fixed-peak"]
assert cost["hpa-gpu-utilization"] > 1.5 * cost["chat"]
assert kept["chat"] > kept["recorded"] + 0.1
assert kept["chat"] > 0.98

# %% [markdown]
# ## When did it go wrong, and what did it see?

# %%
[moment.sentence() for moment in runs["chat"].worst_moments]

# %% [markdown]
# ## A target above what a replica bears
#
# Served tokens cannot exceed capacity: with such a target the policy never asks for enough, and
# without guards nothing tells it. The replay shows it before anyone ships it.

# %%
document = deepcopy(chat.policy.document)
capacity = chat.threshold.per_replica.value
document["spec"]["proportional"]["targetPerReplica"]["value"] = 1.5 * capacity
document["spec"]["guards"] = []
greedy = replace(chat.policy, name="greedy", document=document)
starved = ss.replay_policy(greedy, chat, draws=0).runs[1]
starved.flags

# %%
assert any(flag.startswith("Starves") for flag in starved.flags)
assert starved.slo_attainment_ratio.value < kept["chat"] - 0.1
