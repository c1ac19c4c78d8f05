"""Start the benchmark from any folder: `python benchmarks/thresholds/run.py --tests 20`."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    runpy.run_module("benchmarks.thresholds.measure", run_name="__main__")
