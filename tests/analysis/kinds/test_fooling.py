"""Images of noise that a classifier is sure of, and a network without weights that none fools."""

import pytest

from dlx.analysis.kinds.fooling import Fooling
from dlx.analysis.subject import of_run


def test_noise_becomes_certain_of_every_class_and_is_still_no_digit(digits_run):
    """The noise it begins with is the twin: the network is not as sure of it."""
    found = Fooling(steps=120).run(of_run(digits_run)).figures

    assert found["fooled"] == 1
    assert found["confidence_least"] > 0.99 > found["noise_confidence"] + 0.1
    assert found["distance"] > 0.8, "as far from the nearest digit as two digits are from each other"


def test_without_updates_nothing_is_fooled(digits_run):
    one = Fooling(classes=[3], steps=1).run(of_run(digits_run)).figures

    assert one["fooled"] == 0


def test_classes_are_those_of_the_data(digits_run):
    subject = of_run(digits_run)

    assert Fooling(classes=[3, "7"]).problems(subject) == []
    (problem,) = Fooling(classes=[10]).problems(subject)
    assert problem.message == f"the data of {digits_run.key} has no class `10`"
    assert problem.hint == "Its 10 classes count from 0 to 9."
    assert len(Fooling(classes=["three", "seven"]).problems(subject)) == 2
    assert Fooling(classes=[3, "7"], steps=5).run(subject).panels[0].marks[0].x == ["3", "7"]


def test_the_share_is_of_classes_beyond_the_certainty(digits_run):
    few = Fooling(steps=10, certainty=0.999_999).run(of_run(digits_run)).figures
    all_ = Fooling(steps=10, certainty=0.05).run(of_run(digits_run)).figures

    assert few["fooled"] < all_["fooled"]
    assert few["confidence"] == pytest.approx(all_["confidence"])
