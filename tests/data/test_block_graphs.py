"""Graphs of the stochastic block model: edges, blocks, padding, and what their nodes alone do not tell."""

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data import DATASETS


def graphs(**options):
    sets = DATASETS["block_graphs"](train=900, **options).load()
    return sets.train, sets.train.more["adjacency"], sets.train.more["mask"]


def test_edges_go_both_ways_between_nodes_that_are_there():
    _, edges, mask = graphs()

    assert (edges == edges.transpose(0, 2, 1)).all()
    assert not edges[:, np.arange(24), np.arange(24)].any()
    assert not (edges & ~(mask[:, :, None] & mask[:, None, :])).any()
    assert set(mask.sum(1)) == set(range(12, 25))
    assert (np.diff(mask.astype(int), axis=1) <= 0).all()  # nodes first, then padding


def test_classes_differ_in_the_block_of_their_neighbours_and_not_in_their_number():
    train, edges, mask = graphs(noise=0)
    block = train.x[:, :, 0]
    same = block[:, :, None] == block[:, None, :]
    share = [(edges & same)[train.y == c].sum() / edges[train.y == c].sum() for c in range(3)]
    degree = [edges[train.y == c].sum() / mask[train.y == c].sum() for c in range(3)]

    assert share == pytest.approx([0.9, 0.5, 0.1], abs=0.02)
    assert degree == pytest.approx([4, 4, 4], abs=0.1)
    assert np.bincount(train.y).tolist() == [300, 300, 300]


def test_half_of_the_nodes_are_in_each_block_and_padding_is_zero():
    train, _, mask = graphs(noise=0)
    value, one = np.moveaxis(train.x, 2, 0)

    assert (one == mask).all()
    assert set(np.unique(value[mask])) == {-1, 1}
    assert (np.abs(value.sum(1)) == mask.sum(1) % 2).all()
    assert not value[~mask].any()


def test_the_targets_of_nodes_are_their_blocks_and_padding_does_not_count():
    train, edges, mask = graphs(targets="nodes", noise=0)

    assert (train.y[~mask] == -100).all()
    assert (2 * train.y[mask] - 1 == train.x[:, :, 0][mask]).all()
    same = train.y[:, :, None] == train.y[:, None, :]
    assert (edges & same).sum() / edges.sum() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smallest": 30}, "`smallest` 30 is more than `largest` 24 nodes"),
        ({"degree": 8}, "there is no room for 8 * 0.9 neighbours in a block of 12 / 2 nodes"),
    ],
)
def test_graphs_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValidationError) as refused:
        DATASETS["block_graphs"](**options)
    assert message in str(refused.value)
