"""Nearest neighbours by features and by inputs."""

import numpy as np
import pytest
from analysis_planes import noisy_plane, subject

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.neighbours import Neighbours
from dlx.errors import SpecError

FIRST = "{linear: {out_features: 1, bias: false}, values: {weight: [[1, 0]]}}, {linear: 2}"
SECOND = FIRST.replace("[1, 0]", "[0, 1]")


def test_features_that_tell_the_class_have_neighbours_of_it_and_noise_has_not(tmp_path):
    good = Neighbours(seeds=1).run(subject(tmp_path, noisy_plane(), FIRST)).figures
    twin = Neighbours(seeds=1).run(subject(tmp_path, noisy_plane(), SECOND)).figures

    assert good["same_class_features"] == 1
    assert twin["same_class_features"] == pytest.approx(0.5, abs=0.12)
    assert good["same_class_inputs"] == pytest.approx(0.5, abs=0.12)  # the noise is a thousand times as large
    assert good["expected"] == pytest.approx(0.5, abs=0.01)


def test_neighbours_are_those_of_scikit_learn(tmp_path):
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((30, 4)), rng.standard_normal((50, 4))

    for distance, metric in (("l2", "euclidean"), ("l1", "manhattan"), ("cosine", "cosine")):
        theirs = NearestNeighbors(n_neighbors=3, metric=metric).fit(b).kneighbors(a, return_distance=False)
        assert Neighbours(k=3, distance=distance)._nearest(a, b).tolist() == theirs.tolist()


def test_pictures_stand_behind_their_query():
    from helpers import experiment_of

    from dlx.analysis.subject import of_spec

    digits = of_spec(
        experiment_of("name: d\ndata: {digits: {test: 0.2}}\nnetwork: {layers: [flatten, {linear: 10}]}\n")
    )
    found = Neighbours(k=3, seeds=2).run(digits)

    assert [len(panel.marks[0].pictures) for panel in found.panels[1:]] == [20, 20]  # five queries with three each
    assert found.figures["same_class_inputs"] > 0.9
    assert found.figures["same_class_features"] == found.figures["same_class_inputs"]  # `linear` takes the pixels
    assert found.seeds == 2


def test_a_layer_that_is_not_there_and_data_without_classes_are_told(tmp_path):
    with pytest.raises(SpecError, match="`layer` names `linear_3`, and plane has no such layer") as raised:
        analyze(Neighbours(layer="linear_3"), subject(tmp_path, noisy_plane(), FIRST))
    assert "linear_1" in raised.value.problems[0].hint
    with pytest.raises(SpecError, match=r"`layer` names `linear_\*`"):  # one layer, so that a pattern is none
        analyze(Neighbours(layer="linear_*"), subject(tmp_path, noisy_plane(), FIRST))

    x, _ = noisy_plane()
    values = subject(tmp_path, (x, x[:, 1]), "{linear: 1}", "objective: regression")
    with pytest.raises(
        SpecError, match="looks at examples with one class each, and the data of plane has targets of"
    ):
        analyze(Neighbours(), values)
