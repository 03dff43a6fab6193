"""Nearest neighbours by L_n distances, and ties."""

import numpy as np
import pytest

from dlx.analysis.measures.votes import TIE, distances, voted


@pytest.mark.parametrize(("n", "by_hand"), [(1, 7), (2, 5), (3, 91 ** (1 / 3)), (np.inf, 4)])
def test_distances_of_three_and_four(n, by_hand):
    assert distances([[0.0, 0.0]], [[3.0, -4.0]], n).item() == pytest.approx(by_hand)


def test_the_nearest_point_answers_by_its_distance():
    points, classes = np.array([[3.0, 3.0], [0.0, 5.0]]), np.array([0, 1])

    # from the origin: L1 is 6 against 5, L2 is 4.24 against 5
    assert voted([[0.0, 0.0]], points, classes, 1, n=1).tolist() == [1]
    assert voted([[0.0, 0.0]], points, classes, 1, n=2).tolist() == [0]


def test_a_place_between_two_classes_is_a_tie_and_one_beside_it_is_not():
    points, classes = np.array([[-1.0], [1.0]]), np.array([0, 1])

    assert voted([[0.0], [-0.1], [0.1]], points, classes, 1).tolist() == [TIE, 0, 1]


def test_equal_votes_are_a_tie():
    points, classes = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([0, 1, 1, 0])

    assert voted([[0.0]], points, classes, 2).tolist() == [TIE]
    assert voted([[0.0]], points, classes, 3).tolist() == [1]


def test_equally_far_points_that_do_not_change_the_answer_are_no_tie():
    points = np.array([[1.0], [-1.0], [2.0], [-2.0]])

    # the third of three is one of two at distance 2: class 0 has both nearer ones already
    assert voted([[0.0]], points, np.array([0, 0, 0, 1]), 3).tolist() == [0]
    # two open places, classes 1 and 2 at distance 2: 1 against 1 against 1, or no other way out
    assert voted([[0.0]], np.array([[1.0], [2.0], [-2.0]]), np.array([0, 1, 2]), 3).tolist() == [TIE]
    # one open place among two of class 1: whichever is taken, it has 1 + 1 against 1
    points = np.array([[1.0], [-1.0], [2.0], [-2.0]])
    assert voted([[0.0]], points, np.array([0, 1, 1, 1]), 3).tolist() == [1]


def test_answers_are_those_of_scikit_learn_where_nothing_is_tied():
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    points, queries, classes = rng.standard_normal((60, 3)), rng.standard_normal((200, 3)), rng.integers(0, 2, 60)

    for n in (1, 2, 3):
        theirs = KNeighborsClassifier(5, p=n).fit(points, classes).predict(queries)
        assert voted(queries, points, classes, 5, n).tolist() == theirs.tolist()


def test_a_point_does_not_vote_for_itself_where_it_is_left_out():
    points, classes = np.array([[0.0], [1.0], [1.5]]), np.array([0, 1, 1])

    assert voted(points, points, classes, 1).tolist() == [0, 1, 1]
    assert voted(points, points, classes, 1, leave_out=True).tolist() == [1, 1, 1]
