"""Texts: a step of a char-LSTM and of a GPT against the best hand-written loop, its memory, and tokenizing.

    python benchmarks/texts.py [--rounds N] [--clock processor] [lstm] [gpt] [memory] [tokens]

The loops by hand have all tokens in one tensor, contiguous batches, a fused optimizer, gradients cleared to None and
no `.item()`; that of the LSTM goes on with its states from window to window, as dlx's does. Each runs on one thread
and on all, and the one whose median is lower counts. Of dlx the run of `dlx train` is timed behind the first third of
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # what dlx sets; the other loops get it too

import numpy as np
import torch
from common import interleaved, publish, table
from torch import nn
from torch.nn import functional as F

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


# ---- the same by hand ----------------------------------------------------------------------------------------------


class Characters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(65, 64), nn.LSTM(64, 128, batch_first=True)
        self.out = nn.Linear(128, 65)

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        y, state = self.cell(self.embedding(x), state)
        return self.out(y), tuple(one.detach() for one in state)


class Block(nn.Module):
    def __init__(self, width: int = 384, heads: int = 6) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(self.first(x)).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(y.transpose(1, 2).reshape(n, t, c))
        return x + self.down(F.gelu(self.up(self.second(x))))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.meanings, self.places = nn.Embedding(65, 384), nn.Parameter(torch.randn(256, 384) * 0.02)
        self.blocks, self.norm = nn.Sequential(*[Block() for _ in range(6)]), nn.LayerNorm(384)
        self.out = nn.Linear(384, 65)

    def forward(self, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        return self.out(self.norm(self.blocks(self.meanings(x) + self.places))), state


HANDS = {"lstm": Characters, "gpt": GPT}


def characters(n: int) -> str:
    return "".join(np.random.default_rng(0).choice(list(LETTERS), n))


def batches(case: dict[str, Any], tokens: torch.Tensor, carry: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of windows: of the LSTM one behind the other in each stream, of the GPT drawn ones."""
    window, batch, steps = case["window"], case["batch"], case["steps"]
    windows = tokens[: batch * steps * window].view(-1, window)
    after = tokens[1 : batch * steps * window + 1].view(-1, window)
    order = (
        torch.arange(batch * steps).view(batch, steps).T if carry else torch.randperm(batch * steps).view(-1, batch)
    )
    for index in order:
        yield windows[index], after[index]


def by_hand(name: str, threads: int, clock: Callable[[], float]) -> float:
    """Seconds a step of the loop with autograd."""
    case = CASES[name]
    torch.set_num_threads(threads)
    tokens = torch.from_numpy(np.frombuffer(text_of(name).encode(), np.uint8).astype(np.int64) - 32)
    net, times, state = HANDS[name](), [], None
    kind = torch.optim.Adam if name == "lstm" else torch.optim.AdamW
    optimizer = kind(net.parameters(), lr=1e-3, fused=True)
    for x, y in batches(case, tokens, carry=name == "lstm"):
        optimizer.zero_grad(set_to_none=True)
        logits, state = net(x, state)
        F.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
        optimizer.step()
        times.append(clock())
    return steady(times)


# ---- dlx -----------------------------------------------------------------------------------------------------------


def text_of(name: str) -> str:
    """Return random characters for the steps of a case, and a few for a test part."""
    path = FOLDER / f"{name}.txt"
    case = CASES[name]
    if not path.exists():
        path.write_text(characters(case["batch"] * (case["steps"] + 2) * case["window"] + 1))
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


def steps_of(name: str, rounds: int, clock: Callable[[], float]) -> list[str]:
    """Return the lines of one case."""
    chosen: dict[str, str] = {}
    jobs: dict[str, Callable[[], float]] = {
        f"best on {n}": (lambda n=n: by_hand(name, n, clock)) for n in sorted({1, CORES})
    }
    times = interleaved(jobs | {"dlx": lambda: dlx_run(name, chosen, clock)}, rounds)
    tried = [times.pop(f"best on {n}") for n in sorted({1, CORES})]
    every = {"hand-written": min(tried, key=statistics.median), **times}
    title = f"## {CASES[name]['title']}: milliseconds a step"
    return [title, chosen[name], table(every, "hand-written", 1e-3, "ms")]


# ---- memory and tokens ---------------------------------------------------------------------------------------------


def held(who: str) -> int:
    """Bytes that a process of its own held at most."""
    code = f"import texts; texts.measure_memory({who!r})"
    completed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return int(json.loads(completed.stdout.splitlines()[-1]))


def measure_memory(who: str) -> None:
    CASES["gpt"]["steps"] = 6
    if who == "dlx":
        dlx_run("gpt", {}, time.perf_counter)
    else:
        by_hand("gpt", CORES, time.perf_counter)
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
    jobs = {name: lambda name=name: steps_of(name, asked.rounds, CLOCKS[asked.clock]) for name in CASES}
    every = {**jobs, "memory": memory, "tokens": lambda: tokens(asked.rounds)}
    publish("texts", "Texts", [line for name in asked.what for line in every[name]()])


if __name__ == "__main__":
    main()
