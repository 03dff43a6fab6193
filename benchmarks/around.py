"""Everything around the training of `make train`: the whole process less the training itself, over `import torch`.

The store is warm: a first run has made it. Start, imports, data, network, run folder, checkpoint and MLflow (metrics,
artifacts and the model, waited for until delivered) are all in.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time

from common import ROOT, interleaved, process_seconds, publish, table

SPEC = str(ROOT / "specs/digits/lenet.yaml")


def main() -> None:
    """Time whole runs and importing torch in turn."""
    runs = tempfile.mkdtemp(prefix="dlx-around-")
    inside: list[float] = []

    def around() -> float:
        started = time.perf_counter()
        completed = subprocess.run(
            [sys.executable, "-m", "dlx", "train", SPEC, "--json", "--runs", runs],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        document = json.loads(completed.stdout)
        waiting = [sys.executable, "-m", "dlx", "runs", "sync", "--wait", document["dir"], "--runs", runs]
        subprocess.run(waiting, check=True, capture_output=True, cwd=ROOT)
        whole = time.perf_counter() - started
        inside.append(document["seconds"])
        return whole - document["seconds"]

    times = interleaved(
        {"import torch": lambda: process_seconds([sys.executable, "-c", "import torch"]), "around": around}, 5
    )
    over = [a - b for a, b in zip(times["around"], times["import torch"], strict=True)]
    publish(
        "around",
        "What stands around the training of `make train`",
        [
            table(times, "import torch"),
            f"Over import torch: median {sorted(over)[len(over) // 2]:.2f} s; training itself {min(inside):.1f} s.",
        ],
    )


if __name__ == "__main__":
    main()
