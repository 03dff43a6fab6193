"""The mirror's own process: `python -m dlx.track RUN_DIR [--uri URI] [--experiment NAME] [--follow PID]`."""

from __future__ import annotations

import argparse
import os
import sys

from ..runs import Run
from .mirror import follow
from .sync import sync


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dlx.track", description="Deliver a run to MLflow.")
    parser.add_argument("run_dir")
    parser.add_argument(
        "--uri", help="MLflow's tracking URI; else the spec's, the environment's, the runs' own store"
    )
    parser.add_argument("--experiment", help="MLflow's experiment; else the run's name")
    parser.add_argument("--follow", type=int, metavar="PID", help="go on until this process has ended the run")
    asked = parser.parse_args()
    if asked.follow:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the training's
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        if hasattr(os, "nice"):
            os.nice(10)
        return follow(Run(asked.run_dir), asked.follow, asked.uri, asked.experiment)
    result = sync(Run(asked.run_dir), asked.uri, asked.experiment)
    print(result)
    return 0 if result.complete else 1


if __name__ == "__main__":
    sys.exit(main())
