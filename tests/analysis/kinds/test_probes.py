"""Linear probes of layers."""

import numpy as np
import pytest
from analysis_planes import quadrants, subject

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.probes import Probes
from dlx.errors import SpecError

DIAGONALS = (
    "{linear: {out_features: 4, bias: false}, values: {weight: [[1, 1], [-1, -1], [1, -1], [-1, 1]]}}, "
    "relu, {linear: 2}"
)
"""|x + y| - |x - y| = 2 min(|x|, |y|) sign(xy): linear in the values behind the ReLUs, by hand."""


def accuracies(made):
    return dict(made.table[1])


def test_classes_that_no_line_separates_are_separated_behind_the_layer_that_folds_the_plane(tmp_path):
    found = Probes(seeds=1, C=100.0, iterations=1000).run(subject(tmp_path, quadrants(), DIAGONALS))
    twin = Probes(seeds=1).run(subject(tmp_path, quadrants(), DIAGONALS.replace("relu", "identity")))

    assert accuracies(found)["relu_1"] > 0.95
    assert found.figures["input"] == accuracies(found)["input"] < 0.65
    assert accuracies(found)["linear_1"] < 0.65
    assert twin.figures["best"] < 0.65


def test_shuffled_classes_are_answered_as_by_a_guess(tmp_path):
    x, y = quadrants()
    found = Probes(seeds=1).run(subject(tmp_path, (x, np.random.default_rng(1).permutation(y)), DIAGONALS))

    assert found.figures["best"] < 0.65


def test_large_layers_are_projected_and_still_separate(tmp_path):
    found = Probes(seeds=1, features=3, C=100.0, iterations=1000)
    accuracy = accuracies(found.run(subject(tmp_path, quadrants(), DIAGONALS)))["relu_1"]

    assert 0.65 < accuracy <= 1  # three sums of four values


def test_a_probe_that_has_not_settled_is_told(tmp_path):
    found = Probes(seeds=1, iterations=1, C=1e6).run(subject(tmp_path, quadrants(), DIAGONALS))

    assert "the probe of `relu_1` had not settled after 1 iterations" in found.notes


def test_a_spec_without_data_is_told():
    from helpers import experiment_of

    from dlx.analysis.subject import of_spec

    with pytest.raises(SpecError, match="`probes` looks at examples with classes, and bare names no `data`"):
        analyze(Probes(), of_spec(experiment_of("name: bare\nnetwork: {inputs: [2], layers: [{linear: 2}]}\n")))
