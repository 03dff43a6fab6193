"""From what size on a second CPU thread pays: a training step with one thread and with all, by MACs of a batch.

`dlx.training.device.ONE_THREAD_BELOW` and `SPINS` are chosen from this table. With `--busy`, as many other processes
as cores keep them busy; `GOMP_SPINCOUNT=10000 python benchmarks/threads.py --busy` shows what dlx sets.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import pairwise

import torch
from common import interleaved, publish, ratios
from torch import nn


def mlp(*sizes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet(channels: int, positions: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2) if positions > 16 else nn.Identity(),
        nn.Conv2d(6, 16, 5, padding=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, 120),
        nn.ReLU(),
        nn.Linear(120, 10),
    )


def conv4() -> nn.Module:
    layers: list[nn.Module] = []
    for a, b in ((3, 32), (32, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


NETS = {
    "40-100-100-10 at 100": (lambda: mlp(40, 100, 100, 10), (100, 40)),
    "784-100-10 at 10": (lambda: mlp(784, 100, 10), (10, 784)),
    "784-100-10 at 100": (lambda: mlp(784, 100, 10), (100, 784)),
    "784-500-500-10 at 32": (lambda: mlp(784, 500, 500, 10), (32, 784)),
    "784-500-500-10 at 128": (lambda: mlp(784, 500, 500, 10), (128, 784)),
    "LeNet on 8x8 at 32": (lambda: lenet(1, 16), (32, 1, 8, 8)),
    "LeNet on 28x28 at 8": (lambda: lenet(1, 196), (8, 1, 28, 28)),
    "LeNet on 28x28 at 64": (lambda: lenet(1, 196), (64, 1, 28, 28)),
    "small conv on 32x32 at 64": (lambda: lenet(3, 256), (64, 3, 32, 32)),
    "four conv layers on 32x32 at 64": (conv4, (64, 3, 32, 32)),
}


def macs(net: nn.Module, shape: tuple[int, ...]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        net(torch.zeros(shape))
    return int(counter.get_total_flops() // 2)


def step_seconds(net: nn.Module, shape: tuple[int, ...], threads: int) -> float:
    torch.set_num_threads(threads)
    x, y = torch.randn(shape), torch.randint(0, 10, shape[:1])
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < 0.4:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        count += 1
    return (time.perf_counter() - started) / count


def main() -> None:
    """One thread and all threads, in turn, for each network."""
    cores, busy = len(os.sched_getaffinity(0)), "--busy" in sys.argv
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(cores if busy else 0)]
    rows = ["| network and batch | MACs of a batch | one thread, us | all / one |", "|---|---|---|---|"]
    for title, (make, shape) in NETS.items():
        net = make()
        jobs = {
            "one": lambda net=net, shape=shape: step_seconds(net, shape, 1),
            "all": lambda net=net, shape=shape: step_seconds(net, shape, cores),
        }
        times = interleaved(jobs, 5)
        one = sorted(times["one"])[2]
        rows.append(f"| {title} | {macs(net, shape):,} | {one * 1e6:,.0f} | {ratios(times, 'one')['all']:.2f} |")
    spins = os.environ.get("GOMP_SPINCOUNT", "default")
    about = f"{'Busy' if busy else 'Idle'} cores, GOMP_SPINCOUNT {spins}."
    name = "-".join(["threads", *(["busy", spins] if busy else [])])
    publish(name, f"One CPU thread against {cores}, a training step", [about, "\n".join(rows)])
    for process in others:
        process.kill()


if __name__ == "__main__":
    main()
