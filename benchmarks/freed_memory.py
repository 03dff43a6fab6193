"""Freed memory that the C library keeps for the next step, as dlx asks of it, against glibc's defaults.

    python benchmarks/freed_memory.py [--rounds N]

Each training is a process of its own on one thread, in turn with and without; where GLIBC_TUNABLES has a setting
of malloc, dlx leaves the allocator as it is. Counted are processor seconds (user and system) of a step behind the
first third, its page faults, and the most that the process held (VmHWM). The data are random pictures and letters.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import publish

PLAIN = {"GLIBC_TUNABLES": "glibc.malloc.arena_max=8"}
"""A setting without effect here, by which dlx sees that the user has set the allocator."""
STEPS = 15
CASES = {
    "conv net, 6 layers of 32 to 128 channels, 32x32, batch 256": """
data: {{arrays: {{path: {folder}/pictures.npz, test: 256}}}}
network:
  layers:
    - conv: {{out_channels: 32, kernel_size: 3, padding: 1}}
    - batch_norm
    - relu
    - conv: {{out_channels: 32, kernel_size: 3, padding: 1}}
    - batch_norm
    - relu
    - max_pool: 2
    - conv: {{out_channels: 64, kernel_size: 3, padding: 1}}
    - batch_norm
    - relu
    - conv: {{out_channels: 64, kernel_size: 3, padding: 1}}
    - batch_norm
    - relu
    - max_pool: 2
    - conv: {{out_channels: 128, kernel_size: 3, padding: 1}}
    - batch_norm
    - relu
    - conv: {{out_channels: 128, kernel_size: 3, padding: 1}}
    - batch_norm
    - relu
    - global_avg_pool
    - flatten
    - linear: 10
objective: classification
train: {{steps: {steps}, batch_size: 256, threads: 1, evaluate_every: 100000}}
track: {{mlflow: false}}
""",
    "GPT, 6 blocks of 384, window 256, batch 8": """
data: {{text: {{path: {folder}/letters.txt, window: 256, test: 2048}}}}
blocks:
  decoder:
    layers:
      - residual: {{layers: [layer_norm, {{multihead_attention: {{num_heads: 6, is_causal: true}}}}]}}
      - residual: {{layers: [layer_norm, {{linear: 1536}}, gelu, {{linear: 384}}]}}
network:
  layers:
    - embedding: {{embedding_dim: 384}}
    - position_embedding
    - repeat: {{times: 6, layers: [decoder]}}
    - layer_norm
    - linear: "${{data.vocabulary}}"
objective: language
train: {{steps: {steps}, batch_size: 8, threads: 1, optimizer: {{adamw: 1e-3}}}}
track: {{mlflow: false}}
""",
}
CHILD = """
import json, resource, sys
from pathlib import Path
from dlx.experiment import runner
from dlx.spec import load

marks = []

def callback(event):
    if getattr(event, "record", "") == "step":
        used = resource.getrusage(resource.RUSAGE_SELF)
        marks.append((event.step, used.ru_utime + used.ru_stime, used.ru_minflt))

runner.run(load(Path(sys.argv[1])), Path(sys.argv[2]), callback)
first, last = marks[len(marks) // 3], marks[-1]
steps = last[0] - first[0]
held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([(last[1] - first[1]) / steps, (last[2] - first[2]) / steps, held]))
"""


def write_data(folder: Path) -> None:
    """Write random pictures with labels, and random letters."""
    import numpy as np

    draw = np.random.default_rng(0)
    pictures = draw.random((256 * 4, 3, 32, 32), dtype=np.float32)
    np.savez(folder / "pictures.npz", x=pictures, y=draw.integers(0, 10, len(pictures)))
    letters = draw.choice(list("abcdefghijklmnopqrstuvwxyz "), 256 * 8 * (STEPS + 4))
    (folder / "letters.txt").write_text("".join(letters))


def measured(spec: Path, environment: dict[str, str]) -> list[float]:
    """Return processor seconds and page faults of a step, and the MiB that the process held at most."""
    command = [sys.executable, "-c", CHILD, str(spec), str(spec.parent / "runs")]
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(command, env=ours | environment, check=True, capture_output=True, text=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(title: str, rounds: Sequence[Sequence[float]], base: float) -> str:
    seconds, faults, held = (statistics.median(each) for each in zip(*rounds, strict=True))
    return f"| {title} | {seconds:.3f} | {seconds / base:.2f} | {faults:,.0f} | {held:,.0f} |"


def main() -> None:
    """Train each case in turn with glibc's defaults and as dlx sets it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="dlx-bench-") as folder:
        write_data(Path(folder))
        for number, (title, text) in enumerate(CASES.items()):
            spec = Path(folder, f"case-{number}.yaml")
            spec.write_text(f"dlx: 1\nname: case-{number}\n{text.format(folder=folder, steps=STEPS)}")
            both = [(measured(spec, PLAIN), measured(spec, {})) for _ in range(rounds)]
            plain, kept = zip(*both, strict=True)
            base = statistics.median(one[0] for one in plain)
            ratios = ", ".join(f"{b[0] / a[0]:.3f}" for a, b in both)
            lines += [
                f"## {title}",
                "| allocator | processor seconds a step | ratio | page faults a step | MiB held at most |\n"
                "|---|---|---|---|---|\n" + row("glibc's defaults", plain, base) + "\n" + row("dlx", kept, base),
                f"Ratios of the pairs: {ratios}.",
            ]
    publish("freed-memory", "Freed memory that stays for the next step", lines)


if __name__ == "__main__":
    main()
