"""Generated graphs of two blocks of nodes, for classification of graphs or of their nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from ...lazy import np
from ...shapes import Shape
from ..base import Dataset, Facts, Sets, Split, facts_of_fields
from ..base import Field as DataField
from ..file_reading import check_memory
from ..splits import assemble

if TYPE_CHECKING:
    from ..base import Labels

JOINED = ("own", "any", "other")
"""Names of the classes of graphs: the block in which most neighbours of a node are."""
NO_NODE = -100
"""Target of a position without a node, which does not count."""


class BlockGraphs(Dataset):
    """Graphs whose nodes are in two blocks, from the stochastic block model, for networks that take edges.

    A graph has `smallest` to `largest` nodes, half of them in each block, and an edge between
    two of them with a probability that gives every node `degree` neighbours on average. Of a graph of the class own a
    share `share` of them is in the node's own block, of other in the other block, and of any half in each: no class
    has more edges or nodes than another, and without edges none can be distinguished.

    Shapes: inputs nodes (largest, 2), the block as -1 or 1 plus noise and a 1; adjacency (largest, largest), true for
        each edge in both directions; mask (largest,), true for each node, the others are padding with nodes of 0.
        Targets by `targets`: joined, class 0 own, 1 any, 2 other; or block (largest,), the block 0 or 1 of each node
        of a graph of the class own, and -100 for padding.
    Errors: fewer nodes than neighbours; more graphs than there is memory for.
    Source: Holland, Laskey & Leinhardt 1983, Stochastic blockmodels: first steps; the graphs are our own.
    """

    kind: ClassVar[str] = "block_graphs"
    targets: Literal["graphs", "nodes"] = Field("graphs", description="what is classified")
    train: PositiveInt = Field(1000, description="graphs to train on")
    valid: NonNegativeInt | None = Field(None, description="graphs held out for validation")
    test: NonNegativeInt | None = Field(200, description="graphs held out for the test")
    smallest: PositiveInt = Field(12, le=1_000_000, description="nodes of a graph, at least")
    largest: PositiveInt = Field(24, le=1_000_000, description="nodes of a graph, at most; smaller ones are padded")
    degree: PositiveFloat = Field(4.0, description="neighbours of a node on average")
    share: float = Field(0.9, gt=0.5, le=1, description="of the neighbours in one block, where there is such a share")
    noise: NonNegativeFloat = Field(0.5, description="standard deviation of what is added to the block of a node")
    seed: NonNegativeInt = Field(0, description="of the graphs")

    source: ClassVar[str] = "generated graphs of a stochastic block model"

    @model_validator(mode="after")
    def _room_for_neighbours(self) -> Self:
        if self.smallest > self.largest:
            raise ValueError(f"`smallest` {self.smallest} is more than `largest` {self.largest} nodes")
        if 2 * self.degree * self.share > self.smallest - 2:
            of = f"{self.degree:g} * {self.share:g} neighbours in a block of {self.smallest} / 2 nodes"
            raise ValueError(f"there is no room for {of}: lower `degree`, or raise `smallest`")
        return self

    def facts(self) -> Facts:
        return facts_of_fields(self._fields(), examples=self.train)

    def _fields(self) -> Mapping[str, DataField]:
        inputs = {
            "nodes": DataField(Shape((self.largest, 2))),
            "adjacency": DataField(Shape((self.largest, self.largest), "bool")),
            "mask": DataField(Shape((self.largest,), "bool")),
        }
        if self.targets == "nodes":
            return inputs | {"block": DataField(Shape((self.largest,), "int"), "target", 2)}
        return inputs | {"joined": DataField(Shape((), "int"), "target", len(JOINED), JOINED)}

    def load(self) -> Sets:
        counts = self.train, self.valid or 0, self.test or 0
        values = Shape((self.largest * (self.largest + 3),))
        check_memory(sum(counts), values, "ask for fewer graphs, or a smaller `largest`")
        parts = [
            self._part(n, np.random.default_rng([self.seed, stream])) if n else None
            for stream, n in enumerate(counts)
        ]
        names = JOINED if self.targets == "graphs" else ()
        return assemble(parts, "none", f"{self.source}, seed {self.seed}", names, fields=self._fields())

    def _part(self, n: int, rng: np.random.Generator) -> Split:
        size = rng.integers(self.smallest, self.largest, n, endpoint=True)
        there = np.arange(self.largest) < size[:, None]
        block = _halves(size, self.largest, rng)
        joined = rng.permuted(np.arange(n) % len(JOINED)) if self.targets == "graphs" else np.zeros(n, np.int64)
        adjacency = self._edges(size, block, joined, rng)
        adjacency &= there[:, :, None] & there[:, None, :]
        value = 2 * block - 1 + self.noise * rng.standard_normal(block.shape)
        nodes = np.stack([value, np.ones_like(value)], 2) * there[:, :, None]
        y = joined.astype(np.int64) if self.targets == "graphs" else np.where(there, block, NO_NODE)
        return Split(nodes.astype(np.float32), y, more={"adjacency": adjacency, "mask": there})

    def _edges(self, size: Labels, block: Labels, joined: Labels, rng: np.random.Generator) -> Labels:
        """Draw the adjacency (n, largest, largest), padding included."""
        in_own = np.array([self.share, 0.5, 1 - self.share])[joined]
        same = block[:, :, None] == block[:, None, :]
        half = size[:, None, None] / 2
        own = self.degree * in_own[:, None, None] / (half - 1)
        other = self.degree * (1 - in_own[:, None, None]) / half
        above = np.triu(rng.uniform(size=same.shape) < np.where(same, own, other), 1)
        edges: Labels = above | above.transpose(0, 2, 1)
        return edges


def _halves(size: Labels, largest: int, rng: np.random.Generator) -> Labels:
    """Draw the block of each node (n, largest): half of the nodes of a graph are in each, of an odd one by chance."""
    n = len(size)
    rank = np.argsort(np.argsort(np.where(np.arange(largest) < size[:, None], rng.uniform(size=(n, largest)), 2)))
    odd = rng.integers(0, 2, n)
    blocks: Labels = (rank < ((size + odd) // 2)[:, None]).astype(np.int64)
    return blocks
