"""The map of `loss_landscape` against as many plain evaluations by hand, and exact linear regions: processor time.

    python benchmarks/landscape.py [--images 1000] [--points 9] [--pairs 3] [--slow]

Both sides of a pair run one after the other in one process, on one thread; the ratio is the median of the pairs.
`--slow` is one pair of 25 x 25 points, 625 evaluations each.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from dlx.analysis import analyze
from dlx.training.batches.data_part import examples_at_once

SPEC = "udl/resnet20"
DATA = "+data={synthetic: {shape: [3, 32, 32], classes: 10, train: %d, valid: 0, test: 10}}"
REGIONS = (
    "network.layers=[{linear: 50}, relu, {linear: 50}, relu, {linear: 1}]",
    "network.inputs={x: [2]}",
)


def landscape(images: int, points: int, pairs: int) -> list[float]:
    """Return the ratio of the map to plain evaluations, for each pair."""
    changes = [DATA % images, "+objective=classification", "+train={steps: 1, threads: 1, device: cpu}"]
    subject = analyze.subject_of([SPEC], changes)
    analysis = analyze.with_options("loss_landscape", [f"points={points}", f"examples={images}"])
    batch = subject.examples(images, part="train")
    size = examples_at_once(batch.inputs[0].shape[1:], batch.inputs[0].device, images)
    ratios = []
    for _ in range(pairs):
        start = time.process_time()
        analyze.analyze(analysis, subject)
        ours = time.process_time() - start
        network = subject.network()
        start = time.process_time()
        with torch.no_grad():
            for _ in range(points**2):
                for piece in batch.pieces(size):
                    torch.nn.functional.cross_entropy(network(*piece.inputs), piece.y)
        ratios.append(ours / (time.process_time() - start))
    return ratios


def regions() -> float:
    """Return the seconds of processor time of the exact picture of a 2-50-50-1 network, without its drawing."""
    subject = analyze.subject_of(["udl/shallow-2-3-1"], [*REGIONS, "~expect", "~analyses"])
    start = time.process_time()
    analyze.analyze(analyze.with_options("linear_regions", ["seeds=1"]), subject)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 1000), ("points", 9), ("pairs", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--slow", action="store_true", help="25 x 25 points, one pair")
    asked = parser.parse_args()
    if asked.slow:
        asked.points, asked.pairs = 25, 1
    torch.set_num_threads(1)
    print(f"exact regions of 2-50-50-1: {regions():.2f} s of processor time")
    each = landscape(asked.images, asked.points, asked.pairs)
    print(f"map / plain evaluations: {statistics.median(each):.3f} ({', '.join(f'{one:.3f}' for one in each)})")


if __name__ == "__main__":
    main()
