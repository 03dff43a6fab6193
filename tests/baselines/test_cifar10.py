"""Nearest neighbours and the linear SVM on real pictures, and the same on shuffled labels."""

import numpy as np
import pytest
from helpers import SHIPPED

from dlx.experiment import baselines
from dlx.spec import load
from dlx.spec.baseline_list import with_baselines

SPEC = """\
name: s
data: {{{}}}
network: {{layers: [flatten, {{linear: 10}}]}}
train: {{epochs: 1}}
track: {{mlflow: false}}
"""
KINDS = [
    "knn={n_neighbors: 5, preprocess: [{color_histogram: {channels: hsv}}, standardize]}",
    "svm={C: 1e-2, preprocess: [{concat: [hog, color_histogram]}, standardize]}",
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, shared_data):
    """2,000 pictures to learn from and 500 held out, as arrays."""
    folder = tmp_path_factory.mktemp("cifar10")
    path = shared_data / "cifar10-train.parquet"
    (folder / "whole.yaml").write_text(
        SPEC.format(f"images: {{path: {path}, train: 2000, valid: 500, split: order}}")
    )
    sets = load(folder / "whole.yaml").data.load()
    arrays = {"x": sets.train.x, "y": sets.train.y, "valid_x": sets.valid.x, "valid_y": sets.valid.y}
    np.savez(folder / "real.npz", **arrays)
    np.savez(folder / "shuffled.npz", **arrays | {"y": np.random.default_rng(0).permutation(sets.train.y)})
    return folder


def accuracies(folder, name):
    path = folder / f"{name}.yaml"
    path.write_text(SPEC.format(f"arrays: {{path: {name}.npz}}").replace("name: s", f"name: {name}"))
    found = baselines.run(with_baselines(load(path), KINDS), folder / "runs")
    return [{m.name: m.mean for m in group.metrics}["valid/accuracy"] for group in found.groups]


def test_features_by_hand_tell_real_pictures_apart_and_shuffled_labels_teach_nothing(pictures):
    real, shuffled = accuracies(pictures, "real"), accuracies(pictures, "shuffled")

    assert real[0] > 0.2  # by colours
    assert real[1] > 0.33  # by edges and colours
    assert max(shuffled) < 0.16  # chance is 0.1, with a deviation of 0.013


def test_the_command_in_the_shipped_spec_names_data_that_there_is():
    changes = ["+data=cifar10", "data.images.train=5000", "data.images.valid=1000"]
    made = load(SHIPPED["cs231n/baselines-cifar10"], changes)
    assert not made.problems
    assert (made.data.kind, made.data.train, made.data.valid) == ("images", 5000, 1000)
