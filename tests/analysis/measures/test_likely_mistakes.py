"""Likely label mistakes by confident learning."""

import numpy as np
import pytest

from dlx.analysis.measures.mistakes import likely_mistakes

BY_HAND = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.45, 0.55], [0.8, 0.2]])
LABELS = np.array([0, 0, 0, 1, 1, 1])
"""Thresholds by hand: class 0 (0.9 + 0.7 + 0.2) / 3 = 0.6, class 1 (0.9 + 0.55 + 0.2) / 3 = 0.55."""


def test_thresholds_and_the_confident_joint_are_those_by_hand():
    found = likely_mistakes(BY_HAND, LABELS)

    assert found.thresholds.tolist() == pytest.approx([0.6, 0.55])
    assert found.joint.tolist() == [[2, 1], [1, 2]]
    assert (found.where.tolist(), found.suggested.tolist()) == ([2, 5], [1, 0])  # both margins are -0.6: in order


def test_flipped_labels_are_found_and_shuffled_probabilities_find_no_more_than_chance():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 5, 1000)
    sure = rng.dirichlet(np.ones(5), 1000) * 0.4 + 0.6 * np.eye(5)[true]
    flipped = rng.choice(1000, 100, replace=False)
    labels = true.copy()
    labels[flipped] = (labels[flipped] + rng.integers(1, 5, 100)) % 5

    found, blind = likely_mistakes(sure, labels), likely_mistakes(rng.permutation(sure), labels)

    assert len(found.where) == 84  # cleanlab 2.9.0 finds the same 84, and the same joint: compute_confident_joint
    assert len(set(found.where) & set(flipped)) >= 75  # those whose true class has less than its mean stay
    assert np.isin(found.where, flipped).mean() > 0.9
    assert (found.suggested == true[found.where]).mean() > 0.9
    assert np.isin(blind.where, flipped).mean() < 0.2  # a tenth of all labels are flipped


def test_a_class_without_examples_is_never_suggested():
    found = likely_mistakes(np.array([[0.1, 0.2, 0.7], [0.2, 0.1, 0.7]]), np.array([0, 1]))

    assert np.isnan(found.thresholds[2])
    assert 2 not in found.suggested
