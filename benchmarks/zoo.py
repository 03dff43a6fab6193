"""`dlx verify` over the whole zoo and `dlx inspect` of its deepest network, whole processes, against import torch."""

from __future__ import annotations

import json
import subprocess
import sys

from common import ROOT, interleaved, process_seconds, publish, table

DEEPEST = str(ROOT / "specs/udl/resnet1001.yaml")
DLX = [sys.executable, "-m", "dlx"]


def main() -> None:
    """Time the commands in turn."""
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "dlx verify": [*DLX, "verify"],
        "dlx inspect resnet1001": [*DLX, "inspect", DEEPEST],
        "dlx explain resnet1001": [*DLX, "explain", DEEPEST],
        "dlx diff resnet101 resnet152": [*DLX, "diff", "specs/cs231n/resnet101.yaml", "specs/cs231n/resnet152.yaml"],
    }
    completed = subprocess.run([*DLX, "verify", "--json"], check=True, capture_output=True, cwd=ROOT, text=True)
    zoo = json.loads(completed.stdout)
    jobs = {name: (lambda command=command: process_seconds(command)) for name, command in commands.items()}
    publish(
        "zoo",
        "The zoo: whole processes against importing torch",
        [
            table(interleaved(jobs, rounds=5), "import torch"),
            f"{len(zoo['specs'])} specs, {zoo['receipts']} receipts.",
        ],
    )


if __name__ == "__main__":
    main()
