"""The paths through a residual network by their length, and the gradient that each length brings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from ...errors import Problem
from ...graph import Graph
from ...lazy import np
from ...spec.analyses import Analysis
from ..loss_at import loss_of_outputs
from ..measures.gradient_paths import gradients_by_length, mean_norm, path_gradients
from ..measures.over_seeds import LEAST_TO_LARGEST, sizes_over_seeds
from ..measures.residual_blocks import ResidualBlock, paths_by_length, residual_blocks
from ..measures.walk import projection
from ..result import Lines, Panel, Result

if TYPE_CHECKING:
    from torch import Tensor, fx

    from ...data.batch import Batch
    from ..subject import Subject

MOST_BLOCKS = 200
"""Blocks up to which the gradient of each length is worked out."""


class Paths(Analysis):
    """Paths through a residual network by the number of blocks that each passes by their branch, and their gradient.

    n blocks in a row make 2^n paths, C(n, k) of length k: blocks and paths are counted on the graph. The gradient is
    dL/dx at the value x where the first block begins, the mean over examples of its norm; L sums the outputs with
    standard normal weights, or is the loss of a run with data. Two lines: `single paths` is the mean norm that
    one path of that length brings, of `samples` random ones, times their number; `sum of paths` the norm of all that
    paths of that length bring together, exactly, where parts of it cancel out. Figures: `share_of_paths` and
    `share_of_gradient` of the lengths from `shortest` to `longest`, the latter of single paths, and the mean length
    of both.
    Books: in a trained network of 54 blocks almost all of the gradient comes by lengths 5 to 17, 0.45 % of the paths.
    """

    kind: ClassVar[str] = "paths"
    source: ClassVar[str] = (
        "Veit, Wilber & Belongie 2016, arXiv:1605.06431, section 4; Prince 2023, Understanding Deep Learning, "
        "section 11.2 and notes of chapter 11"
    )
    example: ClassVar[str] = "dlx analyze paths udl/residual-54 --set shortest=5 --set longest=17"
    figures: ClassVar[tuple[str, ...]] = (
        "blocks",
        "paths",
        "shortest",
        "longest",
        "share_of_paths",
        "share_of_gradient",
        "mean_length_of_paths",
        "mean_length_of_gradient",
    )

    shortest: int | None = Field(
        None, ge=0, description="least length of the shares; else the 5th percentile of the gradient"
    )
    longest: int | None = Field(
        None, ge=0, description="greatest length of the shares; else the 95th percentile of the gradient"
    )
    samples: PositiveInt = Field(4, le=100_000, description="random paths of each length")
    examples: PositiveInt = Field(32, description="inputs that the gradient is of, at most")
    seeds: PositiveInt = Field(3, description="draws of the weights of a spec")

    def problems(self, subject: Subject) -> list[Problem]:
        """Return that there are no blocks, too many of them, or lengths that no path has."""
        blocks = self._blocks(subject.graph)
        if not blocks:
            hint = "A block ends in `add`, one input of which comes by a shortcut: `residual: {layers: [...]}`."
            return [Problem(f"{subject.name} has no residual block, and one path length", hint)]
        found = []
        if len(blocks) > MOST_BLOCKS:
            hint = "Claim their number by `expect: {paths: ...}`, or take fewer blocks by an override."
            found.append(
                Problem(
                    f"{subject.name} has {len(blocks)} residual blocks, and `paths` goes up to {MOST_BLOCKS}", hint
                )
            )
        shortest, longest = self.shortest or 0, len(blocks) if self.longest is None else self.longest
        if not shortest <= longest <= len(blocks):
            hint = f"Take lengths from 0 to {len(blocks)}, the shorter one first."
            found.append(
                Problem(f"lengths {shortest} to {longest} are not among those of {len(blocks)} blocks", hint)
            )
        return found

    def _blocks(self, graph: Graph) -> tuple[ResidualBlock, ...]:
        """Return the blocks before the first output."""
        before, open_ = set[str](), [next(iter(graph.outputs.values()))]
        while open_:
            name = open_.pop()
            if name in graph.by_name and name not in before:
                before.add(name)
                open_ += graph.by_name[name].inputs
        return tuple(block for block in residual_blocks(graph) if block.join in before)

    def run(self, subject: Subject) -> Result:
        """Take the gradient apart by length, in each network."""
        graph, batch = subject.graph, subject.examples(self.examples)
        blocks = self._blocks(graph)
        counts = paths_by_length(graph, blocks, next(iter(graph.outputs.values())))
        counts += [0] * (len(blocks) + 1 - len(counts))
        each = [self._gradients(subject, one, batch, blocks) for one in subject.several(self.seeds)]
        single = sizes_over_seeds([np.array(norms) * [float(count) for count in counts] for norms, _ in each])
        together = sizes_over_seeds([sums for _, sums in each])
        lengths, total = np.arange(len(counts)), float(sum(counts))
        paths = Panel(
            "paths", "length", "share of the paths", (Lines("paths", lengths, [count / total for count in counts]),)
        )
        brought = Panel("gradient of single paths", "length", "norm", (Lines("single paths", lengths, *single),))
        summed = Panel("gradient of their sum", "length", "norm", (Lines("sum of paths", lengths, *together),))
        rows = [[k, counts[k], float(single[0][k]), float(together[0][k])] for k in range(len(counts))]
        return Result(
            {"blocks": len(blocks), "paths": sum(counts), **self._shares(counts, single[0])},
            (paths, brought, summed),
            (("length", "paths", "gradient of single paths", "gradient of their sum"), rows),
            notes=(LEAST_TO_LARGEST,) if len(each) > 1 else (),
            seeds=len(each),
        )

    def _gradients(
        self, subject: Subject, network: fx.GraphModule, batch: Batch, blocks: Sequence[ResidualBlock]
    ) -> tuple[list[float], list[float]]:
        """Return the mean norm of single paths, and the norm of their sum, by length."""
        network.train(not subject.trained)
        loss, at = projection(), blocks[0].start
        if subject.trained and subject.has_data:
            loss = loss_of_outputs(subject, batch)
        norms = path_gradients(network, batch.inputs, loss, blocks, at, self.samples)
        sums: list[Tensor] = gradients_by_length(network, batch.inputs, loss, blocks, at)
        found = [mean_norm(gradient) for gradient in sums]
        return [sum(one) / len(one) for one in norms], found + [0.0] * (len(norms) - len(found))

    def _shares(self, counts: Sequence[int], gradient: Any) -> dict[str, float | int]:
        """Return the shares of a range of lengths, and mean lengths."""
        total = float(gradient.sum()) or 1.0
        below = np.array(list(accumulate(map(float, gradient)))) / total
        shortest = self.shortest if self.shortest is not None else int(np.searchsorted(below, 0.05))
        longest = self.longest if self.longest is not None else int(np.searchsorted(below, 0.95))
        chosen = slice(shortest, max(longest, shortest) + 1)
        lengths, paths = np.arange(len(counts)), sum(counts)
        return {
            "shortest": shortest,
            "longest": max(longest, shortest),
            "share_of_paths": sum(counts[chosen]) / paths,
            "share_of_gradient": float(gradient[chosen].sum() / total),
            "mean_length_of_paths": sum(k * count for k, count in enumerate(counts)) / paths,
            "mean_length_of_gradient": float((lengths * gradient).sum() / total),
        }
