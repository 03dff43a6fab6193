"""Nearest neighbours by L_n distances, with ties."""

import numpy as np
import pytest
from analysis_planes import subject

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.distances import Distances
from dlx.errors import SpecError


def test_two_points_tie_on_the_line_between_them(tmp_path):
    """Of two points on one axis all places are answered but those halfway: one column of an odd map."""
    x = np.array([[-1, 0], [1, 0]] * 4, np.float32)
    found = Distances(k=[1], n=[2], resolution=21).run(subject(tmp_path, (x, np.arange(8) % 2), "{linear: 2}"))
    (heat, _) = found.panels[0].marks

    assert found.figures["tied_k1_l2"] == pytest.approx(1 / 21)
    assert (heat.values[:, 10] == 2).all()
    assert (heat.values[:, :10] == 0).all()
    assert (heat.values[:, 11:] == 1).all()
    assert heat.classes[-1] == "tie"


def test_answers_are_those_of_scikit_learn_and_one_neighbour_is_best_on_the_training_part(tmp_path):
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 5)).astype(np.float32)
    y = (x[:, 0] + 0.5 * rng.standard_normal(200) > 0).astype(np.int64)
    made = subject(tmp_path, (x, y), "{linear: 2}")
    train, test = made.part("train"), made.part("test")

    found = Distances(n=[1, 2, "inf"]).run(made).figures

    for n, p in ((1, 1), (2, 2), ("inf", np.inf)):
        for k in (1, 3, 5):
            theirs = KNeighborsClassifier(k, p=p).fit(train.x.numpy(), train.y.numpy())
            assert found[f"accuracy_k{k}_l{n}"] == pytest.approx(theirs.score(test.x.numpy(), test.y.numpy()))
            assert found[f"training_k{k}_l{n}"] <= found[f"training_k1_l{n}"] == 1
    blind = Distances(k=[3]).run(subject(tmp_path, (x, rng.permutation(y)), "{linear: 2}")).figures
    assert blind["accuracy_k3_l2"] < 0.7 < found["accuracy_k3_l2"]


def test_data_without_classes_is_told(tmp_path):
    x = np.zeros((8, 2), np.float32)
    made = subject(tmp_path, (x, x[:, 0]), "{linear: 1}", "objective: regression")
    with pytest.raises(SpecError, match="`distances` looks at examples with one class each"):
        analyze(Distances(), made)
