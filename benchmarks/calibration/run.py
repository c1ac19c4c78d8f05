"""Start the calibration from any folder: `python benchmarks/calibration/run.py --services 100`."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    runpy.run_module("benchmarks.calibration.calibrate", run_name="__main__")
