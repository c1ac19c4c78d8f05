"""The study builders of tests/report, for tests in this folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[1] / "report" / "studies.py"


@pytest.fixture(scope="session")
def studies():
    """Give the module that builds Study nouns from NumPy."""
    spec = importlib.util.spec_from_file_location("signalstudy_test_studies", STUDIES)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
