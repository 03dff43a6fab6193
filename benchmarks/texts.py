"""Texts: a step of a char-LSTM and of a GPT against the best hand-written loop, its memory, and tokenizing.

    python benchmarks/texts.py [--rounds N] [--clock processor] [lstm] [gpt] [memory] [tokens]

The loops by hand (`loops/`, a process of its own) have all tokens in one tensor, a fused optimizer, gradients cleared
to None and no `.item()`; that of the LSTM goes on with its states from window to window, as dlx's does. Each is tried
on one thread and on all, and the quicker way counts. Of dlx the run of `dlx train` is timed behind the first third of
its steps, in which caches fill and it chooses its way; curve, records, checkpoints and the MLflow mirror are on.

memory: the most that a process of its own held (VmHWM) after a few steps of the GPT. tokens: 100 MB of words in lines
to a file of numbers, byte pairs of a vocabulary of 1,000: dlx with scan, training part and cache, against the library
that encodes the same lines, a thousand at once, into a file. The vocabulary stands ready for both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # what dlx sets; the other loops get it too

import numpy as np
from common import best_way, interleaved, loop, publish, table

CORES = len(os.sched_getaffinity(0))
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
FOLDER = Path(tempfile.mkdtemp(prefix="dlx-bench-"))
LETTERS = "".join(map(chr, range(32, 32 + 65)))
CASES: dict[str, dict[str, Any]] = {
    "lstm": {"title": "char-LSTM 128, window 64, batch 32, Adam", "window": 64, "batch": 32, "steps": 900},
    "gpt": {"title": "GPT of 10.8 M weights, window 256, batch 16, AdamW", "window": 256, "batch": 16, "steps": 24},
}
NETWORKS = {
    "lstm": """
network:
  layers:
    - embedding: {embedding_dim: 64}
    - lstm: 128
    - linear: "${data.vocabulary}"
""",
    "gpt": """
blocks:
  decoder:
    layers:
      - residual: {layers: [layer_norm, {multihead_attention: {num_heads: 6, is_causal: true}}]}
      - residual: {layers: [layer_norm, {linear: 1536}, gelu, {linear: 384}]}
network:
  layers:
    - embedding: {embedding_dim: 384}
    - position_embedding
    - repeat: {times: 6, layers: [decoder]}
    - layer_norm
    - linear: "${data.vocabulary}"
""",
}
OPTIMIZERS = {"lstm": "{adam: 1e-3}", "gpt": "{adamw: 1e-3}"}


# ---- dlx -----------------------------------------------------------------------------------------------------------


def text_of(name: str) -> str:
    """Return random characters for the steps of a case, and a few for a test part."""
    path = FOLDER / f"{name}.txt"
    case = CASES[name]
    if not path.exists():
        count = case["batch"] * (case["steps"] + 2) * case["window"] + 1
        path.write_text("".join(np.random.default_rng(0).choice(list(LETTERS), count)))
    return path.read_text()


def steady(times: list[float]) -> float:
    """Seconds a step behind the first third; dlx tells of several at once, so the count begins where it has told."""
    first = len(times) // 3
    step = (times[-1] - times[first]) / (len(times) - 1 - first)
    while times[first + 1] - times[first] < step / 10:
        first += 1
    return (times[-1] - times[first]) / (len(times) - 1 - first)


def spec_of(name: str) -> Path:
    case = CASES[name]
    text_of(name)
    carry = "carry: true, " if name == "lstm" else ""
    data = f"{{text: {{path: {name}.txt, window: {case['window']}, {carry}test: {case['batch'] * case['window']}}}}}"
    train = f"{{steps: {case['steps']}, batch_size: {case['batch']}, optimizer: {OPTIMIZERS[name]}}}"
    path = FOLDER / f"{name}.yaml"
    path.write_text(f"dlx: 1\nname: {name}\ndata: {data}{NETWORKS[name]}objective: language\ntrain: {train}\n")
    return path


def dlx_run(name: str, chosen: dict[str, str], clock: Callable[[], float]) -> float:
    """Seconds a step of `dlx train`."""
    from dlx.experiment import runner
    from dlx.show.training import progress
    from dlx.spec import load

    times: list[float] = []
    loaded = load(spec_of(name))
    with progress() as shown:

        def callback(event: Any) -> None:
            if getattr(event, "record", "") == "step":
                times.append(clock())
            shown(event)

        results = runner.run(loaded, FOLDER / "runs", callback)
    runner.finish_tracking(loaded, results)  # its mirror would otherwise run beside whoever comes next
    lock = results.results[0].run.read_json("lock.json")
    chosen[name] = f"dlx chose {lock['threads']} of {CORES} threads, and its step is {lock['way']['step']}."
    return steady(times)


def loop_of(name: str) -> str:
    return f"{name}_step"


def steps_of(name: str, rounds: int, clock: str) -> list[str]:
    """Return the lines of one case."""
    chosen: dict[str, str] = {}
    way, _ = best_way(loop_of(name), "--steps", str(CASES[name]["steps"] // 3))
    hand = partial(loop, loop_of(name), way, "--clock", clock, figure="step")
    every = interleaved({"hand-written": hand, "dlx": lambda: dlx_run(name, chosen, CLOCKS[clock])}, rounds)
    title = f"## {CASES[name]['title']}: milliseconds a step"
    return [title, f"{chosen[name]} The loop by hand takes {way}.", table(every, "hand-written", 1e-3, "ms")]


# ---- memory and tokens ---------------------------------------------------------------------------------------------


def held(who: str) -> int:
    """Bytes that a process of its own held at most."""
    if who == "hand-written":
        return int(loop(loop_of("gpt"), CORES, "--steps", "6", figure="held"))
    code = "import texts; texts.measure_memory()"
    completed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return int(json.loads(completed.stdout.splitlines()[-1]))


def measure_memory() -> None:
    CASES["gpt"]["steps"] = 6
    dlx_run("gpt", {}, time.perf_counter)
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps(int(line.split()[1]) * 1024))


def memory() -> list[str]:
    """Return the lines of the memory."""
    found = {who: [held(who) for _ in range(3)] for who in ("hand-written", "dlx")}
    base = statistics.median(found["hand-written"])
    rows = ["| what | most that the process held, MB | of hand-written |", "|---|---|---|"]
    for who, values in found.items():
        middle = statistics.median(values)
        rows.append(f"| {who} | {middle / 1e6:,.0f} | {middle / base:.3f} |")
    return ["## Memory: six steps of the GPT", "\n".join(rows)]


def large_text(size: int) -> Path:
    """Return a file of so many bytes: lines of twelve words, of which few are frequent."""
    path, rng = FOLDER / "large.txt", np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 10))) for _ in range(20_000)]
    with path.open("w") as file:
        while file.tell() < size:
            drawn = np.minimum(rng.zipf(1.2, (10_000, 12)), len(words)) - 1
            file.write("\n".join(" ".join([words[i] for i in line]) for line in drawn) + "\n")
    return path


def tokens(rounds: int) -> list[str]:
    """Return the lines of tokenizing: both have the vocabulary, and write a file."""
    from dlx.data.text.text import Text
    from dlx.data.text.token_files import token_file, tokenizer_of

    path = large_text(100_000_000)
    data = Text.model_validate({"path": str(path), "tokens": {"bpe": {"size": 1000}}})
    os.environ["DLX_CACHE"] = str(FOLDER / "cache")
    tokenizer = tokenizer_of(data)

    def ours() -> float:
        for old in (FOLDER / "cache" / "text").glob("*.npy"):
            old.unlink()
        started = time.perf_counter()
        token_file(data, "train", tokenizer)
        return time.perf_counter() - started

    def library() -> float:
        from tokenizers import Tokenizer as Library

        encode = Library.from_str(tokenizer.document)
        started = time.perf_counter()
        with path.open() as lines, (FOLDER / "numbers.bin").open("wb") as out:
            while some := lines.readlines(64_000):
                for one in encode.encode_batch_fast(some):
                    out.write(np.array(one.ids, np.uint16).tobytes())
        return time.perf_counter() - started

    times = interleaved({"the library alone": library, "dlx": ours}, rounds, warm_up=0)
    title = f"## {path.stat().st_size / 1e6:.0f} MB to byte pairs: seconds"
    return [title, table(times, "the library alone")]


def main() -> None:
    """Everything that is asked for, in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: other work weighs less")
    parser.add_argument("what", nargs="*", default=["lstm", "gpt", "memory", "tokens"])
    asked = parser.parse_args()
    jobs = {name: lambda name=name: steps_of(name, asked.rounds, asked.clock) for name in CASES}
    every = {**jobs, "memory": memory, "tokens": lambda: tokens(asked.rounds)}
    publish("texts", "Texts", [line for name in asked.what for line in every[name]()])


if __name__ == "__main__":
    main()
