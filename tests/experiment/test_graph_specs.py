"""Networks of graphs learn from edges: without them, or with targets of other graphs, they do not."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from helpers import SHIPPED, independent_of
from quality import all_of, unmet

import dlx
from dlx.data.generated.block_graphs import BlockGraphs

NAMES = ("zoo/graph-classes", "zoo/graph-nodes")


class GraphsWithoutEdges(BlockGraphs):
    """Graphs in which no node has a neighbour."""

    kind: ClassVar[str] = "graphs_without_edges"

    def load(self):
        sets = super().load()

        def bare(part):
            edges = np.zeros_like(part.more["adjacency"])
            return replace(part, more={**part.more, "adjacency": edges})

        return replace(sets, train=bare(sets.train), test=bare(sets.test))


class ShuffledGraphs(BlockGraphs):
    """Graphs, each for training with a target that is not its own."""

    kind: ClassVar[str] = "shuffled_graphs"

    def load(self):
        sets = super().load()
        y = sets.train.y
        y = np.roll(y, 1, axis=0) if self.targets == "nodes" else independent_of(y)
        return replace(sets, train=replace(sets.train, y=y))


def metrics(name, kind, tmp_path, *changes):
    path = tmp_path / f"{kind}.yaml"
    path.write_text(SHIPPED[name].read_text().replace("{block_graphs:", f"{{{kind}:"))
    changes = ["track.mlflow=false", "~expect", *(one.format(kind) for one in changes)]
    return dlx.train(path, changes, runs=tmp_path, quiet=True).result


ONE_HOP = ("~network.layers.2", "~network.layers.3")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bare", "shuffled"), [(NAMES[0], 0.4, 0.4), (NAMES[1], 0.71, 0.6)])
def test_edges_are_what_is_learned(tmp_path, name, bare, shuffled):
    assert not unmet(name, metrics(name, "block_graphs", tmp_path))
    for kind, most in {"graphs_without_edges": bare, "shuffled_graphs": shuffled}.items():
        twin = metrics(name, kind, tmp_path)
        assert unmet(name, twin) == all_of(name)
        assert twin["test/accuracy"] < most


@pytest.mark.slow
def test_one_layer_sees_no_farther_than_the_neighbours(tmp_path):
    twin = metrics(NAMES[1], "block_graphs", tmp_path, *ONE_HOP)
    assert unmet(NAMES[1], twin) == all_of(NAMES[1])


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("block_graphs", 0.9, 1), ("graphs_without_edges", 0.2, 0.45), ("shuffled_graphs", 0.2, 0.45)],
)
def test_fifty_steps_classify_graphs_by_their_edges(tmp_path, kind, low, high):
    """Quick form of the test above, on graphs with little noise."""
    few = ("train=400", "test=200", "share=1", "noise=0.1")
    changes = (*("data.{}." + one for one in few), "train.epochs=4", "train.optimizer.adam.lr=0.03")
    assert low <= metrics(NAMES[0], kind, tmp_path, *changes)["test/accuracy"] <= high
