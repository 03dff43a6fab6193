"""Alignment: a longest common subsequence, with names and what comes in to choose between several."""

from itertools import pairwise

from helpers import network_of
from hypothesis import given
from hypothesis import strategies as st

from dlx.graph.comparison import align
from dlx.graph.comparison.align import align_nodes

words = st.lists(st.integers(0, 2), max_size=12)


def nothing(i, j):
    return 0


def by_definition(a, b):
    """The length of a longest common subsequence."""
    if not a or not b:
        return 0
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def check(found, a, b):
    assert all(a[i] == b[j] for i, j in found)
    assert all(i < m and j < n for (i, j), (m, n) in pairwise(found))


@given(words, words)
def test_no_matching_is_longer(a, b):
    for found in (align.matches(a, b, lambda i, j: (i + j) % 4), align._best(a, b, nothing), align._myers(a, b)):
        check(found, a, b)
        assert len(found) == by_definition(a, b)


@given(words, words)
def test_a_piecewise_matching_is_one(a, b):
    if a and b:
        check(align._piecewise(a, b, nothing), a, b)


def test_of_several_matchings_the_bonus_decides():
    assert align.matches([1, 7, 2], [3, 7, 5, 7, 4], lambda i, j: 3 * (j == 3)) == [(1, 3)]
    assert align.matches([1, 7, 2], [3, 7, 5, 7, 4], lambda i, j: 3 * (j == 1)) == [(1, 1)]


def test_long_lists_that_differ_at_two_ends_are_still_matched_whole():
    inside = [n % 7 for n in range(3_000)]
    assert align.matches([8, *inside], [*inside, 9], nothing) == [(n + 1, n) for n in range(3_000)]


def test_long_lists_that_have_nothing_in_common_end():
    assert align.matches([0] * 10_000, [1] * 10_000, nothing) == []


def names(a, b):
    return [(x.name if x else None, y.name if y else None) for x, y in align_nodes(a.nodes, b.nodes)]


def test_layers_are_paired_by_what_they_are_not_by_name():
    a = network_of("[1, 8, 8]", "[{conv: {out_channels: 4, kernel_size: 3}}, relu]")
    b = network_of(
        "[1, 8, 8]",
        """
        - conv: {out_channels: 1, kernel_size: 1}
        - conv: {out_channels: 4, kernel_size: 3}
        - relu
        """,
    )
    assert names(a, b) == [(None, "conv_1"), ("conv_1", "conv_2"), ("relu_1", "relu_1")]


def test_a_scope_around_the_same_layers_changes_nothing():
    a = network_of("[4]", "[{linear: 3}, relu, {linear: 2}]")
    b = network_of("[4]", "[{layers: [{linear: 3}, relu], name: body}, {linear: 2}]")
    assert names(a, b) == [("linear_1", "body/linear_1"), ("relu_1", "body/relu_1"), ("linear_2", "linear_1")]


def test_activations_stand_for_each_other_and_a_pool_for_none_of_them():
    a = network_of("[1, 8, 8]", "[relu, relu]")
    assert names(a, network_of("[1, 8, 8]", "[gelu, relu]")) == [("relu_1", "gelu_1"), ("relu_2", "relu_1")]
    pooled = network_of("[1, 8, 8]", "[{max_pool: 2}, relu]")
    assert names(a, pooled)[0] != ("relu_1", "max_pool_1")
