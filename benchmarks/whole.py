"""A whole training, from the start of the process to its result: dlx as a user runs it, a torch loop, and peers.

    python benchmarks/whole.py [--rounds N] [--examples N] [--no-peers]

784-100-10 with a sigmoid, SGD at 0.1, batch 10, 2 epochs of 50,000 examples, then the accuracy on 10,000 others. Each
contestant is a process of its own, with as many threads as it takes by default (the loop by hand: one), and makes the
same numbers with NumPy from the same seeds: in dlx, `data: synthetic`.

dlx is `dlx train SPEC` with all that it keeps: curve, evaluations, checkpoints, metrics.jsonl, and the MLflow mirror.
Its result is there when it says so, with the metrics above, and the prompt is back; when its mirror has delivered all
of it, the model included, is a row of its own. Its pictures are waited for outside the clock. All is warm:
the round that is not counted has made them. The torch loop is that of loops/; Lightning has
its logger, checkpoints, bar and summary switched off; Keras runs on torch, `fit` without a bar. These three keep
nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import HERE, ROOT, has_arrived, interleaved, publish, table

sys.path.insert(0, str(HERE / "loops"))  # as for the loops themselves, each a process of its own

if TYPE_CHECKING:
    import numpy as np

LONGEST = 600.0
"""Seconds after which a mirror is given up."""
INPUTS, HIDDEN, CLASSES, BATCH, EPOCHS, RATE, TEST = 784, 100, 10, 10, 2, 0.1, 10_000
SPEC = f"""\
dlx: 1
name: whole
data: {{synthetic: {{shape: [{INPUTS}], classes: {CLASSES}, train: %d, test: {TEST}}}}}
network: {{layers: [{{linear: {HIDDEN}}}, sigmoid, {{linear: {CLASSES}}}]}}
train: {{epochs: {EPOCHS}, batch_size: {BATCH}, optimizer: {{sgd: {{lr: {RATE}}}}}}}
"""
Arrays = tuple["np.ndarray", "np.ndarray"]


def data(examples: int) -> tuple[Arrays, Arrays]:
    """To train on and to test on: normal inputs, classes from a random linear teacher, as dlx draws them."""
    import numpy as np

    teacher = np.random.default_rng([0, 3]).standard_normal((CLASSES, INPUTS), np.float32)

    def part(stream: int, count: int) -> Arrays:
        x = np.random.default_rng([0, stream]).standard_normal((count, INPUTS), np.float32)
        return x, np.einsum("ni,oi->no", x, teacher).argmax(1)

    return part(0, examples), part(2, TEST)


# ---- what runs in a process of its own, and comes to an accuracy ---------------------------------------------------


def torch_net() -> Any:
    from sixteen_784_100_10 import network

    return network()


def hand_written(examples: int) -> float:
    """The best loop with autograd: on one thread, on which these small steps take a quarter of the time, or less."""
    import torch
    from measure import sgd, trained
    from sixteen_784_100_10 import logits

    torch.set_num_threads(1)
    train, (test_x, test_y) = ([torch.from_numpy(a) for a in part] for part in data(examples))
    weights = list(torch_net().parameters())
    for _ in trained(logits, weights, sgd(weights, RATE), train, BATCH, EPOCHS):
        pass
    with torch.inference_mode():
        return float((logits(weights, test_x).argmax(1) == test_y).float().mean())


def lightning_run(examples: int) -> float:
    """Lightning with its logger, checkpoints, bar and summary switched off."""
    import lightning
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch_net()

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def test_step(self, batch: Any) -> None:
            self.log("accuracy", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=RATE, fused=True)

    train, test = (TensorDataset(*map(torch.from_numpy, part)) for part in data(examples))
    module = Module()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(train, batch_size=BATCH, shuffle=True))
    return float(trainer.test(module, DataLoader(test, batch_size=1000), verbose=False)[0]["accuracy"])


def keras_run(examples: int) -> float:
    """Keras on torch, `fit` without a bar."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    train, (test_x, test_y) = data(examples)
    net = keras.Sequential(
        [keras.Input((INPUTS,)), keras.layers.Dense(HIDDEN, activation="sigmoid"), keras.layers.Dense(CLASSES)]
    )
    net.compile(keras.optimizers.SGD(RATE), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.fit(*train, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return float((net.predict(test_x, batch_size=1000, verbose=0).argmax(1) == test_y).mean())


PEERS: dict[str, Callable[[int], float]] = {
    "hand-written": hand_written,
    "lightning": lightning_run,
    "keras": keras_run,
}


# ---- whole processes -----------------------------------------------------------------------------------------------


def peer_seconds(name: str, examples: int, accuracies: dict[str, float]) -> float:
    """Wall seconds of a peer's process."""
    command = [sys.executable, __file__, "--contestant", name, "--examples", str(examples)]
    started = time.perf_counter()
    completed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    spent = time.perf_counter() - started
    accuracies[name] = json.loads(completed.stdout.splitlines()[-1])
    return spent


def dlx_seconds(examples: int, home: Path, accuracies: dict[str, float], ends: list[float]) -> float:
    """Wall seconds of `dlx train` until its prompt is back; those until MLflow has the run join `ends`."""
    spec, runs = home / "whole.yaml", home / "runs"
    spec.write_text(SPEC % examples)
    env = {**os.environ, "DLX_CACHE": str(home / "cache"), "DLX_MIRROR_IDLE": "600"}
    command = [sys.executable, "-m", "dlx", "train", str(spec), "--runs", str(runs), "--json"]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=env)
    completed = time.perf_counter() - started
    about = json.loads(done.stdout)
    accuracies["dlx"] = about["metrics"]["test/accuracy"]
    while not has_arrived(Path(about["dir"])):
        assert time.perf_counter() - started < LONGEST
        time.sleep(0.01)
    ends.append(time.perf_counter() - started)
    # a mirror that draws would run beside whoever comes next
    waiting = [sys.executable, "-m", "dlx", "runs", "sync", "--wait", about["dir"]]
    subprocess.run(waiting, check=True, capture_output=True, cwd=ROOT, env=env)
    return completed


def main() -> None:
    """Every contestant in turn; or, in a process of its own, one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--no-peers", action="store_true", help="without Lightning and Keras")
    parser.add_argument("--contestant", choices=PEERS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.contestant:
        warnings.simplefilter("ignore")
        print(json.dumps(PEERS[asked.contestant](asked.examples)))
        return
    accuracies: dict[str, float] = {}
    ends: list[float] = []
    missing = [name for name in ("lightning", "keras") if asked.no_peers or find_spec(name) is None]
    with tempfile.TemporaryDirectory() as folder:
        jobs: dict[str, Callable[[], float]] = {
            name: lambda name=name: peer_seconds(name, asked.examples, accuracies)  # type: ignore[misc]
            for name in PEERS
            if name not in missing
        }
        jobs["dlx"] = lambda: dlx_seconds(asked.examples, Path(folder), accuracies, ends)
        times = interleaved(jobs, asked.rounds)
    times["dlx, until MLflow has it"] = ends[-asked.rounds :]
    accuracy_text = ", ".join(f"{name} {accuracy:.3f}" for name, accuracy in accuracies.items())
    notes = [
        f"Accuracy in the last round: {accuracy_text}.",
        *([f"Left out: {', '.join(missing)}."] if missing else []),
    ]
    title = f"## 784-100-10, batch 10, {EPOCHS} epochs of {asked.examples:,}: seconds of a process"
    publish("whole", "A whole training, from start to result", [title, table(times, "hand-written"), *notes])


if __name__ == "__main__":
    main()
