"""Siamese and triplet networks learn a distance between digits; untrained or with shuffled classes they do not."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from helpers import SHIPPED, independent_of
from quality import all_of, unmet

import dlx
from dlx.data.published.digit_pairs import DigitPairs, DigitTriplets


def with_shuffled_targets(sets):
    return replace(sets, train=replace(sets.train, y=independent_of(sets.train.y)))


class ShuffledDigitPairs(DigitPairs):
    """Pairs of digits, each for training with the class of another pair."""

    kind: ClassVar[str] = "shuffled_digit_pairs"

    def load(self):
        return with_shuffled_targets(super().load())


class ShuffledDigitTriplets(DigitTriplets):
    """Triplets of digits, each for training with the class of another one."""

    kind: ClassVar[str] = "shuffled_digit_triplets"

    def load(self):
        return with_shuffled_targets(super().load())


WHOLE = {"zoo/siamese-digits": "digit_pairs", "zoo/triplets-digits": "digit_triplets"}
UNTRAINED = "train.optimizer.adam.lr=1e-20"


def metrics(spec, runs, *changes):
    changes = ["track.mlflow=false", "train.device=cpu", "~expect", *changes]
    return dlx.train(spec, changes, runs=runs, quiet=True).result


def accuracy(spec, runs, *changes):
    return metrics(spec, runs, *changes)["test/accuracy"]


def shuffled(name, kind, tmp_path):
    path = tmp_path / "shuffled.yaml"
    path.write_text(SHIPPED[name].read_text().replace(f"{{{kind}:", f"{{shuffled_{kind}:"))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_a_trained_distance_tells_digits_apart_and_no_other_does(tmp_path, name):
    assert not unmet(name, metrics(SHIPPED[name], tmp_path))
    assert unmet(name, metrics(SHIPPED[name], tmp_path, UNTRAINED)) == all_of(name)
    assert unmet(name, metrics(shuffled(name, WHOLE[name], tmp_path), tmp_path)) == all_of(name)


def test_thirty_steps_tell_three_digits_apart_and_none_do_with_the_classes_of_other_pairs(tmp_path):
    """Quick form of the test above, on 0, 1 and 4."""
    name, kind = "zoo/siamese-digits", "digit_pairs"
    few = ("data.{}.classes=[0,1,4]", "data.{}.per_digit=1", "train.steps=30", "~train.epochs")
    right = accuracy(SHIPPED[name], tmp_path, *(one.format(kind) for one in few))
    wrong = accuracy(shuffled(name, kind, tmp_path), tmp_path, *(one.format(f"shuffled_{kind}") for one in few))

    assert right > 0.9
    assert wrong < 0.75


def test_a_pair_from_a_file_is_predicted_and_a_file_without_the_second_picture_is_refused(tmp_path):
    spec = SHIPPED["zoo/siamese-digits"]
    changes = ["track.mlflow=false", "data.digit_pairs.per_digit=1", "train.steps=2", "~train.epochs", "~expect"]
    run = dlx.train(spec, changes, runs=tmp_path, quiet=True)
    sets = DigitPairs(valid=0, test=0.25).load()
    left, right = sets.test.x[:5], sets.test.more["right"][:5]
    np.savez(tmp_path / "both.npz", left=left, right=right)
    np.savez(tmp_path / "one.npz", left=left)
    np.savez(tmp_path / "unequal.npz", left=left, right=right[:3])

    assert len(dlx.predict(run, tmp_path / "both.npz").classes) == 5
    swapped = dlx.predict(run, tmp_path / "both.npz").probabilities
    np.savez(tmp_path / "both.npz", left=right, right=left)
    np.testing.assert_allclose(dlx.predict(run, tmp_path / "both.npz").probabilities, swapped, rtol=1e-5)
    for file, message in {
        "one": "one.npz lacks `right`: it holds left",
        "unequal": "unequal.npz differ in length: `left` 5, `right` 3",
    }.items():
        with pytest.raises(dlx.DlxError, match=message):
            dlx.predict(run, tmp_path / f"{file}.npz")
    with pytest.raises(dlx.DlxError, match="the network takes the inputs left, right, and here is one array"):
        dlx.predict(run, left)
