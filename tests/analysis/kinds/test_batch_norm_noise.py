"""Batch norm as noise (Ihler, example 6-6)."""

import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.batch_norm_noise import BatchNormNoise
from dlx.analysis.subject import of_spec
from dlx.errors import DlxError, SpecError

POINTS = "name: p\nnetwork: {inputs: [2], layers: [{linear: 2}]}\n"


def test_batches_of_20_10_and_5_of_30_points_blur_them_more_and_more():
    found = BatchNormNoise().run(of_spec(experiment_of(POINTS))).figures

    # sqrt((30 - B) / (29 B)), drawing without replacement
    assert found["mean_blur_20"] == pytest.approx(0.1313, rel=0.08)
    assert found["mean_blur_10"] == pytest.approx(0.2626, rel=0.08)
    assert found["mean_blur_5"] == pytest.approx(0.4152, rel=0.08)
    assert found["blur_20"] < found["blur_10"] < found["blur_5"]


def test_a_batch_of_all_points_does_not_blur_them():
    found = BatchNormNoise(batch_sizes=[30]).run(of_spec(experiment_of(POINTS))).figures

    assert found["mean_blur_30"] == pytest.approx(0, abs=1e-9)
    assert found["blur_30"] == pytest.approx(0, abs=1e-9)


def test_the_values_of_a_layer_are_blurred_as_much_whatever_its_scale():
    text = POINTS.replace("{linear: 2}", "{linear: {out_features: 1, bias: false}, values: {weight: [[100, 0]]}}")
    found = BatchNormNoise(layer="linear_1", batch_sizes=[10]).run(of_spec(experiment_of(text)))

    assert found.figures["mean_blur_10"] == pytest.approx(0.2626, rel=0.1)
    assert found.notes == ("values are those of `linear_1`",)


def test_batches_larger_than_the_points_and_values_that_do_not_vary_are_told():
    subject = of_spec(experiment_of(POINTS))
    with pytest.raises(SpecError, match="a batch of 40 is not from 2 to all 30 points"):
        analyze(BatchNormNoise(batch_sizes=[40]), subject)
    zeros = POINTS.replace(
        "{linear: 2}", "{linear: {out_features: 2, bias: false}, values: {weight: [[0, 0], [0, 0]]}}"
    )
    with pytest.raises(DlxError, match="`linear_1` of p has no value that varies to normalise"):
        analyze(BatchNormNoise(layer="linear_1"), of_spec(experiment_of(zeros)))
