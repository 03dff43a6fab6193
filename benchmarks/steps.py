"""A training step of two small networks: dlx with tracking on, against the best hand-written torch loop and peers.

The hand-written loop (`loops/`, the first steps of several trainings) has its data in one tensor, one permutation an
epoch, uses fused kernels, clears gradients to None and never asks for `.item()`. Every contestant gets one thread
and the same data, batch and steps.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import numpy as np
import torch
from common import HERE, interleaved, loop, publish, table
from torch import nn

sys.path.insert(0, str(HERE / "loops"))  # as for the loops themselves, each a process of its own

CASES: dict[str, dict[str, Any]] = {
    "40-100-100-10, batch 100, Adam": {
        "loop": "sixteen_40_100_100_10",
        "sizes": [40, 100, 100, 10],
        "examples": 4000,
        "batch": 100,
        "epochs": 50,
        "activation": "relu",
        "optimizer": "adam",
        "lr": 1e-3,
    },
    "784-100-10, batch 10, SGD": {
        "loop": "sixteen_784_100_10",
        "sizes": [784, 100, 10],
        "examples": 10_000,
        "batch": 10,
        "epochs": 2,
        "activation": "sigmoid",
        "optimizer": "sgd",
        "lr": 0.1,
    },
}


def data(case: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((case["examples"], case["sizes"][0]), dtype=np.float32)
    return x, rng.integers(0, case["sizes"][-1], case["examples"])


def steps(case: dict[str, Any]) -> int:
    return case["epochs"] * (case["examples"] // case["batch"])


def torch_net(case: dict[str, Any]) -> nn.Module:
    return importlib.import_module(case["loop"]).network()


def torch_optimizer(case: dict[str, Any], net: nn.Module) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[case["optimizer"]]
    return kind(net.parameters(), lr=case["lr"], fused=True)


def hand_written(case: dict[str, Any]) -> float:
    """Seconds a step of the best loop with autograd, in a process of its own."""
    return loop(case["loop"], 1, "--steps", str(steps(case)), figure="step")


def spec_text(case: dict[str, Any]) -> str:
    layers = []
    for width in case["sizes"][1:]:
        layers += [f"    - linear: {width}", f"    - {case['activation']}"]
    return "\n".join(
        [
            "dlx: 1",
            "name: bench",
            "data:",
            f"  synthetic: {{shape: [{case['sizes'][0]}], train: {case['examples']}, test: 10}}",
            "network:",
            "  layers:",
            *layers[:-1],
            f"train: {{epochs: {case['epochs']}, batch_size: {case['batch']}, threads: 1,",
            f"  optimizer: {{{case['optimizer']}: {case['lr']}}}}}",
        ]
    )


def dlx_run(case: dict[str, Any]) -> float:
    """Seconds a step of the whole of fit: curve, evaluations, checkpoints, metrics.jsonl and the MLflow mirror on."""
    from dlx.experiment import runner
    from dlx.spec import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.yaml"
        path.write_text(spec_text(case))
        loaded = load(path)
        results = runner.run(loaded, RUNS)
        runner.finish_tracking(loaded, results)  # its mirror would otherwise run beside whoever comes next
    return results.results[0].seconds / results.results[0].steps


RUNS = Path(tempfile.mkdtemp(prefix="dlx-bench-"))


def lightning_run(case: dict[str, Any]) -> float:
    """Lightning with its logger, checkpoints, bar and summary switched off."""
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch_net(case)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch_optimizer(case, self.net)

    x, y = (torch.from_numpy(a) for a in data(case))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=case["batch"], shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=case["epochs"],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Module()
    started = time.perf_counter()
    trainer.fit(module, loader)
    return (time.perf_counter() - started) / steps(case)


def keras_run(case: dict[str, Any]) -> float:
    """Keras on torch, `fit` without a bar."""
    import keras

    x, y = data(case)
    net = keras.Sequential(
        [keras.Input((case["sizes"][0],))]
        + [keras.layers.Dense(n, activation=case["activation"]) for n in case["sizes"][1:-1]]
        + [keras.layers.Dense(case["sizes"][-1])]
    )
    kind = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[case["optimizer"]]
    net.compile(kind(case["lr"]), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    started = time.perf_counter()
    net.fit(x, y, batch_size=case["batch"], epochs=case["epochs"], verbose=0)
    return (time.perf_counter() - started) / steps(case)


def skorch_run(case: dict[str, Any]) -> float:
    """skorch without its printed log and validation split."""
    import skorch

    x, y = data(case)
    net = skorch.NeuralNetClassifier(
        torch_net(case),
        criterion=nn.CrossEntropyLoss,
        optimizer={"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[case["optimizer"]],
        lr=case["lr"],
        batch_size=case["batch"],
        max_epochs=case["epochs"],
        train_split=None,
        verbose=0,
        iterator_train__shuffle=True,
    )
    started = time.perf_counter()
    net.fit(x, y)
    return (time.perf_counter() - started) / steps(case)


def main() -> None:
    """Every contestant in turn, on both networks."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    contestants: dict[str, Callable[[dict[str, Any]], float]] = {"hand-written": hand_written, "dlx": dlx_run}
    if "--no-peers" not in sys.argv:
        contestants |= {"skorch": skorch_run, "lightning": lightning_run, "keras": keras_run}
    sections = []
    for title, case in CASES.items():
        jobs = {name: (lambda run=run, case=case: run(case)) for name, run in contestants.items()}
        times = interleaved(jobs, rounds=7 if len(contestants) < 3 else 5)
        sections += [f"## {title}: microseconds a step", table(times, "hand-written", 1e-6, "us")]
    publish("steps", "A training step of two small networks", sections)


if __name__ == "__main__":
    main()
