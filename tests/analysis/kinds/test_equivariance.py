"""Equivariance of layers and invariance of the output to shifts."""

import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.equivariance import Equivariance
from dlx.analysis.subject import of_spec
from dlx.errors import SpecError

CIRCULAR = """
name: circular
network:
  inputs: [1, 24]
  layers:
    - conv: {out_channels: 3, kernel_size: 3, padding: 1, padding_mode: circular}
    - relu
    - global_max_pool
"""


def figures_of(text: str, **options):
    return Equivariance(**options).run(of_spec(experiment_of(text))).figures


def test_circular_padding_is_equivariant_and_a_maximum_over_all_positions_invariant():
    assert figures_of(CIRCULAR) == {
        "equivariance_error": pytest.approx(0, abs=1e-6),
        "invariance_error": 0,
        "same_answer": 1,
    }


def test_zeros_at_the_borders_break_it():
    found = figures_of(CIRCULAR.replace("circular}", "zeros}"))

    assert found["equivariance_error"] > 0.1
    assert found["invariance_error"] > 0.01


def test_the_error_of_zeros_at_the_borders_is_that_by_hand():
    """The kernel sums two neighbours. Of (1, 2, 3, 4) zeros give (1, 3, 5, 7); of (4, 1, 2, 3), one place on, they
    give (4, 5, 3, 5), and (7, 1, 3, 5) is expected: 9 + 16 = 25 of 84."""
    import torch

    from dlx.analysis.kinds.equivariance import _relative

    conv = torch.nn.Conv1d(1, 1, 2, padding="valid", bias=False)
    conv.weight.data[:] = 1
    conv.requires_grad_(False)
    x = torch.tensor([[[1.0, 2, 3, 4]]])
    padded = lambda one: conv(torch.nn.functional.pad(one, (1, 0)))  # noqa: E731

    assert _relative(padded(x.roll(1, -1)), padded(x).roll(1, -1)) == pytest.approx((25 / 84) ** 0.5)


def test_shifts_that_a_stride_does_not_divide_are_not_compared():
    text = CIRCULAR.replace("padding_mode: circular", "padding_mode: circular, stride: 2")
    found = Equivariance(shifts=[1, 2]).run(of_spec(experiment_of(text)))

    (row,) = [row for row in found.table[1] if row[0] == "conv_1"]
    assert row[1] is None
    assert row[2] == pytest.approx(0, abs=1e-6)
    assert found.figures["invariance_error"] > 0.001  # a shift of 1 falls between the strides


def test_max_pooling_is_only_approximately_invariant_and_flatten_not_at_all():
    """Problem 10.1 and section 10.1: pooling makes small shifts matter less."""
    pooled = figures_of(CIRCULAR.replace("- global_max_pool", "- max_pool: 4\n    - flatten"), shifts=[1])
    flat = figures_of(CIRCULAR.replace("- global_max_pool", "- flatten"), shifts=[1])

    assert 0.05 < pooled["invariance_error"] < flat["invariance_error"]


def test_networks_without_positions_and_shifts_beyond_them_are_told():
    with pytest.raises(SpecError, match="moves an input along its positions, and that of flat is of shape"):
        analyze(Equivariance(), of_spec(experiment_of("name: flat\nnetwork: {inputs: [6], layers: [{linear: 2}]}\n")))
    with pytest.raises(SpecError, match="a shift of 24 goes round an input of 24 positions"):
        analyze(Equivariance(shifts=[24]), of_spec(experiment_of(CIRCULAR)))
