"""Start the calibration from any folder: `python benchmarks/calibration/run.py --services 100`."""

import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    # A process a core: threads of the linear algebra would wait for each other.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    runpy.run_module("benchmarks.calibration.calibrate", run_name="__main__")
