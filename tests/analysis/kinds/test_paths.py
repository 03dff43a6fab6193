"""Paths of a residual network by length, and the gradient that each brings."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.paths import Paths
from dlx.analysis.result import Result
from dlx.analysis.subject import of_spec
from dlx.errors import SpecError

CHAIN = """
name: chain
network:
  inputs: {{x: [1]}}
  layers:
    - repeat: {{times: {times}, layers: [{{residual: {{layers: [{branch}]}}}}]}}
"""
BRANCH = "{{linear: {{out_features: 1, bias: false}}, values: {{weight: {weight}}}}}"


def found(times: int = 4, weight: float = 10, branch: str = BRANCH, **options: Any) -> Result:
    text = CHAIN.format(times=times, branch=branch.format(weight=weight))
    return analyze(Paths.model_validate({"seeds": 1, "examples": 2} | options), of_spec(experiment_of(text))).result


def test_paths_and_gradient_of_four_blocks_are_those_of_equation_11_6():
    """y = (1 + 10)^4 x: 1, 4, 6, 4, 1 paths of 10^k each (UDL, section 11.2)."""
    result = found(shortest=3, longest=4)

    size = result.table[1][0][2]  # the gradient of y along the random direction
    assert [row[1] for row in result.table[1]] == [1, 4, 6, 4, 1]
    for column in (2, 3):  # all paths of a length are alike here, so that nothing cancels
        assert [row[column] / size for row in result.table[1]] == pytest.approx([1, 40, 600, 4000, 10_000], rel=1e-5)
    assert result.figures == pytest.approx(
        {
            "blocks": 4,
            "paths": 16,
            "shortest": 3,
            "longest": 4,
            "share_of_paths": 5 / 16,
            "share_of_gradient": 14_000 / 14_641,
            "mean_length_of_paths": 2,
            "mean_length_of_gradient": 4 * 10 / 11,
        },
        rel=1e-5,
    )


@pytest.mark.parametrize("weight", [0.1, 1, 3])
def test_the_mean_length_of_the_gradient_follows_the_size_of_the_branches(weight: float):
    """Of n blocks 1 + w each brings w / (1 + w) of its gradient by the branch."""
    figures = found(times=9, weight=weight).figures

    assert figures["mean_length_of_gradient"] == pytest.approx(9 * weight / (1 + weight), rel=1e-4)
    assert figures["mean_length_of_paths"] == 4.5  # the paths stay


def test_lengths_5_to_17_of_54_blocks_are_half_a_percent_of_the_paths():
    """0.45 %: Veit et al. 2016, section 4.3. Of 50 blocks they are more."""
    options = {"shortest": 5, "longest": 17, "samples": 1, "weight": 0.2}

    assert found(54, **options).figures["share_of_paths"] == pytest.approx(81_725_384_002_200 / 2**54)
    assert found(54, **options).figures["share_of_gradient"] == pytest.approx(0.9569, abs=1e-3)  # of (1 + 0.2)^54
    assert found(50, **options).figures["share_of_paths"] == pytest.approx(0.0164, abs=1e-4)


def test_without_a_range_it_is_the_one_that_brings_nearly_all_of_the_gradient():
    figures = found(times=9, weight=1).figures

    assert (figures["shortest"], figures["longest"]) == (2, 7)  # 5 % and 95 % of a binomial of nine halves
    assert figures["share_of_gradient"] == pytest.approx(figures["share_of_paths"])


def test_branches_against_each_other_cancel_in_the_sum_and_not_in_single_paths():
    result = found(branch="{{linear: 2}}, relu, {{linear: 1}}", times=3, samples=3, seeds=2)

    single, together = ([row[i] for row in result.table[1]] for i in (2, 3))
    assert all(sum_ <= one * 1.5 for one, sum_ in zip(single, together, strict=True))
    assert result.seeds == 2


def test_a_plain_network_and_lengths_that_no_path_has_are_refused():
    with pytest.raises(SpecError) as plain:
        analyze(Paths(), of_spec(experiment_of("name: plain\nnetwork: {inputs: [4], layers: [{linear: 4}, relu]}")))
    with pytest.raises(SpecError) as long:
        found(shortest=5, longest=17)

    assert plain.value.problems[0].message == "plain has no residual block, and one path length"
    assert "`residual: {layers: [...]}`" in plain.value.problems[0].hint
    assert long.value.problems[0].message == "lengths 5 to 17 are not among those of 4 blocks"
    assert long.value.problems[0].hint == "Take lengths from 0 to 4, the shorter one first."
