"""Digits 0 to 4 help with 5 to 9 at ten examples of each: more than chance, and only where the first stage trains."""

import pytest
from helpers import SHIPPED
from scipy.stats import ttest_rel

from dlx.experiment import runner
from dlx.spec import load

UNTRAINED = "stages.pretrain.train={steps: 1, optimizer: {sgd: 1e-20}}"


def accuracies(tmp_path, name, *changes):
    """The accuracies on the test part, seed by seed."""
    results = runner.run(load(SHIPPED[name], ["track.mlflow=false", *changes]), tmp_path / "runs").results
    return [one.metrics["test/accuracy"] for one in results]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zoo/transfer-digits", "zoo/fine-tuning-digits"])
def test_a_trained_first_stage_beats_an_untrained_one_over_the_seeds(tmp_path, name):
    trained, untrained = accuracies(tmp_path, name), accuracies(tmp_path, name, UNTRAINED)
    difference = ttest_rel(trained, untrained).confidence_interval(0.95)
    assert difference.low > 0
    # without the first stage at all it is the training from scratch, whose seeds are those of an untrained stage
    if name == "zoo/transfer-digits":
        scratch = accuracies(tmp_path, name, "~stages.pretrain")
        assert ttest_rel(trained, scratch).confidence_interval(0.95).low > 0


def test_the_stage_before_gives_ten_examples_of_each_class_and_the_trunk_goes_on():
    experiment = load(SHIPPED["zoo/transfer-digits"])
    tuned = experiment.stages[-1].experiment.data.load()
    assert sorted(tuned.train.y.tolist()) == [*[0] * 10, *[1] * 10, *[2] * 10, *[3] * 10, *[4] * 10]
    assert tuned.class_names == ("5", "6", "7", "8", "9")
    first = experiment.stages[0].experiment.data.load()
    assert (len(first.train), first.class_names) == (700, ("0", "1", "2", "3", "4"))
