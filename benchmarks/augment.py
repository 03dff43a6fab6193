"""What augmentation costs: a step of ResNet-18 on 32x32 with and without, each change by itself, and kornia's.

`--steps 0` leaves the steps of the network out, which take seconds each on a small machine. kornia is measured where
it can be imported. On one thread of the CPU the thread's own time is taken, which other work on the machine does not
lengthen.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import torch
from common import ROOT, interleaved, publish, ratios, table

from dlx.augment import AUGMENTATIONS
from dlx.augment.pipeline import TrainingSetInfo, pipeline
from dlx.data.base import Facts
from dlx.graph import trace
from dlx.network import build
from dlx.objectives import default_objective
from dlx.spec import load
from dlx.spec.sections.train import Train
from dlx.training.batches.data_part import DataPart
from dlx.training.fit import Job, updates

BATCH = 128
EXAMPLES = 1024
SMALL = [
    "network.inputs.image=[3,32,32]",
    *(f"network.layers.conv_1.{field}" for field in ("kernel_size=3", "stride=1", "padding=1")),
    *(f"network.layers.max_pool_1.{field}" for field in ("kernel_size=1", "stride=1", "padding=0")),
]
"""ResNet-18 as it is for pictures of 32x32: a first layer of 3x3, and no pooling after it."""
RECIPES = {
    "none": [],
    "flip, crop": ["horizontal_flip", {"crop": {"padding": 4}}],
    "flip, crop, cutout, mixup": ["horizontal_flip", {"crop": {"padding": 4}}, {"cutout": 16}, "mixup"],
    "flip, affine, colours, erasing": [
        "horizontal_flip",
        {"affine": {"degrees": 15, "translate": 0.1, "scale": [0.9, 1.1], "shear": 10}},
        {"color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}},
        "random_erasing",
    ],
}
SINGLE = {
    "horizontal_flip": {},
    "crop": {"padding": 4},
    "resized_crop": {},
    "rotate": {"degrees": 15},
    "affine": {"degrees": 15, "translate": 0.1, "scale": [0.9, 1.1], "shear": 10},
    "elastic": {},
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "pca_color": {},
    "gaussian_blur": {},
    "gaussian_noise": {},
    "cutout": {"length": 16},
    "random_erasing": {},
    "mixup": {},
    "cutmix": {},
}


def pictures(device: torch.device) -> DataPart:
    torch.manual_seed(0)
    x, y = torch.rand(EXAMPLES, 3, 32, 32), torch.randint(10, (EXAMPLES,))
    return DataPart(x.to(device), y.to(device))


def seconds(function: Callable[[], object], device: torch.device) -> float:
    clock = time.thread_time if torch.get_num_threads() == 1 and device.type == "cpu" else time.perf_counter
    started = clock()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def steps(recipe: list[object], device: torch.device, part: DataPart) -> Callable[[], float]:
    """One step of ResNet-18 with a recipe."""
    graph = trace(load(ROOT / "specs" / "cs231n" / "resnet18.yaml", SMALL))
    options = {"steps": 10**6, "batch_size": BATCH, "optimizer": {"sgd": {"lr": 0.01, "momentum": 0.9}}}
    train = Train.model_validate({**options, "augment": recipe})
    job = Job(
        build(graph).to(device),
        default_objective(Facts(graph.inputs["image"], graph.output_shape()[0])),
        train,
        {"train": part},
    )
    losses: list[torch.Tensor] = []
    loop = updates(job, losses)
    return lambda: seconds(lambda: next(loop), device)


def alone(kinds: list[object], device: torch.device, part: DataPart) -> Callable[[], float]:
    """The change of one batch by itself."""
    train = Train.model_validate({"steps": 1, "augment": kinds})
    change = pipeline(train.augment, TrainingSetInfo(lambda: part.x))
    x, y = part.x[:BATCH], part.y[:BATCH]
    return lambda: seconds(lambda: change(x, y), device)


def theirs(device: torch.device, part: DataPart) -> dict[str, Callable[[], float]]:
    """The same changes by kornia, a draw for each example."""
    if find_spec("kornia") is None:
        return {}
    import kornia.augmentation as k

    made = {
        "horizontal_flip": k.RandomHorizontalFlip(),
        "crop": k.RandomCrop((32, 32), padding=4),
        "resized_crop": k.RandomResizedCrop((32, 32)),
        "rotate": k.RandomRotation(15.0, p=1.0),
        "affine": k.RandomAffine(15.0, (0.1, 0.1), (0.9, 1.1), 10.0, p=1.0),
        "elastic": k.RandomElasticTransform(p=1.0),
        "color_jitter": k.ColorJiggle(0.4, 0.4, 0.4, 0.1, p=1.0),
        "gaussian_blur": k.RandomGaussianBlur((5, 5), (0.1, 2.0), p=1.0),
        "gaussian_noise": k.RandomGaussianNoise(std=0.1, p=1.0),
        "random_erasing": k.RandomErasing(),
        "mixup": k.RandomMixUpV2(p=1.0),
        "cutmix": k.RandomCutMixV2(p=1.0, use_correct_lambda=True),
    }
    x, y = part.x[:BATCH], part.y[:BATCH]

    def of(kind: str, change: Callable[..., object]) -> Callable[[], float]:
        mixes = kind in {"mixup", "cutmix"}
        return lambda: seconds(lambda: change(x, y) if mixes else change(x), device)

    return {kind: of(kind, change) for kind, change in made.items()}


def compared(ours: dict[str, list[float]], others: dict[str, list[float]], step: float | None) -> str:
    """Each change by itself: its milliseconds, its part of a step, and kornia's."""
    from statistics import median

    rows = ["| change | ms | of a step | kornia ms | of kornia |", "|---|---|---|---|---|"]
    for kind, times in ours.items():
        mine = median(times)
        part = f"{mine / step:.4f}" if step else ""
        other = median(others[kind]) if kind in others else None
        rest = f"{other * 1e3:.2f} | {mine / other:.3f}" if other else " | "
        rows.append(f"| {kind} | {mine * 1e3:.2f} | {part} | {rest} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5, help="steps of each recipe")
    parser.add_argument("--rounds", type=int, default=21, help="rounds of each change by itself")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    part, sections, step = pictures(device), [], None
    if arguments.steps:
        jobs = {name: steps(recipe, device, part) for name, recipe in RECIPES.items()}
        times = interleaved(jobs, arguments.steps)
        step = sorted(times["none"])[len(times["none"]) // 2]
        options = ", ".join(f"{name} {value:.3f}" for name, value in ratios(times, "none").items())
        sections += [
            "## A step of ResNet-18, batch 128, 32x32",
            table(times, "none"),
            f"Target: at most 1.1. {options}.",
        ]
    assert set(SINGLE) <= set(AUGMENTATIONS)
    recipes = {name: alone(recipe, device, part) for name, recipe in RECIPES.items() if recipe}
    ours = {kind: alone([{kind: options}], device, part) for kind, options in SINGLE.items()} | recipes
    others = theirs(device, part)
    together = interleaved(
        {**{f"ours {k}": v for k, v in ours.items()}, **{f"theirs {k}": v for k, v in others.items()}},
        arguments.rounds,
    )
    split = [
        {name.split(" ", 1)[1]: v for name, v in together.items() if name.startswith(who)}
        for who in ("ours", "theirs")
    ]
    on_cpu = f"CPU threads: {torch.get_num_threads()}"
    where = on_cpu if device.type == "cpu" else torch.cuda.get_device_name(device)
    sections += [f"## The changes of a batch of 128 by themselves, {where}", compared(split[0], split[1], step)]
    publish("augment", "What augmentation costs", sections)


if __name__ == "__main__":
    sys.exit(main())
