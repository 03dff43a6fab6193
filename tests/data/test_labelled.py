"""Training examples without a class: which they are, and that nothing else changes."""

import numpy as np
import pytest
from helpers import experiment_of

from dlx.data import DATASETS
from dlx.data.labelled import NONE
from dlx.errors import DataError, SpecError
from dlx.training.prepared import prepare


def sets_of(**options):
    return DATASETS["digits"](**options).load()


def test_the_first_training_examples_keep_their_class_and_other_parts_all_of_theirs():
    whole, few = sets_of(valid=100, test=500), sets_of(valid=100, test=500, labelled={"count": 40})
    assert np.array_equal(few.train.y[:40], whole.train.y[:40])
    assert (few.train.y[40:] == NONE).all()
    for name in ("x", "rows"):
        assert np.array_equal(getattr(few.train, name), getattr(whole.train, name))
    assert np.array_equal(few.test.y, whole.test.y)
    assert np.array_equal(few.valid.y, whole.valid.y)
    assert few.notes[-1] == "labelled: 40 of 1,197 training examples; the others have no class"


def test_without_the_others_the_parts_and_their_scale_are_the_same():
    options = {"valid": 100, "test": 500, "standardize": "feature"}
    whole = sets_of(**options)
    alone = sets_of(**options, labelled={"count": 40, "others": "drop"})
    assert np.array_equal(alone.train.x, whole.train.x[:40])
    assert np.array_equal(alone.train.y, whole.train.y[:40])
    assert np.array_equal(alone.test.x, whole.test.x)
    assert alone.notes[-1] == "labelled: 40 of 1,197 training examples; the others are dropped"


@pytest.mark.parametrize("kind", ["mnist1d", "synthetic", "digits"])
def test_a_bare_number_is_the_count(kind):
    shape = "shape: [4], classes: 3, " if kind == "synthetic" else ""
    experiment = experiment_of(
        f"data: {{{kind}: {{{shape}labelled: 30}}}}\nnetwork: {{layers: [flatten, {{linear: 3}}]}}"
    )
    assert (experiment.data.load().train.y >= 0).sum() == 30


def test_more_than_there_are_is_a_mistake():
    with pytest.raises(DataError, match="keeps the classes of 2,000 examples, and the training part has 1,259"):
        sets_of(labelled={"count": 2000})


def test_targets_that_are_no_classes_have_none_to_hide():
    text = "data: {synthetic: {shape: [4], classes: null, target: [2], labelled: 5}}\n"
    text += "network: {layers: [{linear: 2}]}"
    with pytest.raises(DataError, match="`labelled` is of data with one class an example, and this has"):
        experiment_of(text).data.load()


def test_classification_alone_refuses_examples_without_a_class():
    text = """\
data: {digits: {labelled: 40, valid: 0.1}}
network: {layers: [flatten, {linear: 10}]}
train: {epochs: 1}
"""
    with pytest.raises(SpecError, match=r"no position of the target `target` counts in 1,\d+ examples of"):
        prepare(experiment_of(text))
