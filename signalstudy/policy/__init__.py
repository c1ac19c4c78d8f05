"""The policy: its document, and `decide`, the function that gives it meaning."""

from signalstudy.policy.decide import decide
from signalstudy.policy.read import read_policy
from signalstudy.policy.state import Decision, Observation, Reading, State, advance

__all__ = ["Decision", "Observation", "Reading", "State", "advance", "decide", "read_policy"]
