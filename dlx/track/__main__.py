"""The mirror's own process: `python -m dlx.track RUN_DIR ... [--uri URI] [--experiment NAME] [--follow PID]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..runs import Run
from .mirror import follow
from .sync import sync


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dlx.track", description="Deliver runs to MLflow.")
    parser.add_argument("run_dir", nargs="+")
    parser.add_argument(
        "--uri", help="MLflow's tracking URI; else the spec's, the environment's, the runs' own store"
    )
    parser.add_argument("--experiment", help="MLflow's experiment; else the run's name")
    parser.add_argument("--follow", type=int, metavar="PID", help="go on until this process has ended the runs")
    asked = parser.parse_args()
    if asked.follow:
        return follow([Run(Path(folder)) for folder in asked.run_dir], asked.follow, asked.uri, asked.experiment)
    results = [sync(Run(Path(folder)), asked.uri, asked.experiment) for folder in asked.run_dir]
    print(*results, sep="\n")
    return 0 if all(result.complete for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
