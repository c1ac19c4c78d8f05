"""The process of one engine run: `python -m signalstudy.replay.engine.child FOLDER`."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from signalstudy.replay.engine.run import run

if TYPE_CHECKING:
    from signalstudy.replay.engine.run import Job


def main() -> None:
    """Run the pickled job of a folder and leave what it found there; progress goes to stdout."""
    folder = Path(sys.argv[1])
    os.environ.setdefault("DYN_LOG", "error")
    job: Job = pickle.loads((folder / "job.pickle").read_bytes())  # noqa: S301 - we wrote it
    last = [0.0]

    def say(now: float) -> None:
        if now >= last[0]:
            last[0] = now + job.span_seconds / 50.0
            sys.stdout.write(f"{min(now / job.span_seconds, 1.0):.3f}\n")
            sys.stdout.flush()

    ran = run(job, folder, say)
    (folder / "report.jsonl").unlink(missing_ok=True)
    (folder / "ran.pickle").write_bytes(pickle.dumps(ran))


if __name__ == "__main__":
    main()
