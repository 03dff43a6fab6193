"""The data on the doctor's table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from doctored import NUMBERS, make_probe, outcome, sets

from dlx.analysis.doctor.check import CHECKS
from dlx.data.tables.table import Table

BASE = sets()
X, Y = BASE.train.x, BASE.train.y


@pytest.mark.parametrize("check", ["inputs", "targets", "class balance", "duplicates", "leakage"])
def test_healthy_data_is_found_healthy(check):
    found = outcome(check, data=BASE)
    assert (found.verdict, found.finding) == ("ok", "")


def test_inputs_that_are_no_numbers_are_counted():
    x = X.copy()
    x[[3, 5], 0] = [np.nan, np.inf]
    found = outcome("inputs", data=sets(train=(x, Y)))
    assert found.verdict == "wrong"
    assert found.finding == "values that are nan or infinite stand in 2 of 200 training examples"
    assert found.mark.line == 5


def test_inputs_that_are_all_equal_are_reported():
    found = outcome("inputs", data=sets(train=(np.zeros_like(X), Y)))
    assert found.finding == "all inputs are the same number: there is nothing to tell examples apart by"


def test_inputs_as_bytes_of_a_picture_are_large():
    found = outcome("inputs", data=sets(train=(X * 64 + 127, Y)))
    assert found.verdict == "look"
    assert "initial weights are made for 0 and 1" in found.finding
    assert found.hint == "Bring them there: a `batch_norm` as the first layer."  # this data has no `standardize`


def test_a_class_without_examples_is_named():
    found = outcome("targets", data=sets(train=(X[Y != 1], Y[Y != 1])))
    assert found.verdict == "look"
    assert found.finding == "no training example is of class 1: 2 of 3 classes can be learned"


def test_a_class_that_is_none_is_named_with_its_part():
    y = BASE.test.y.copy()
    y[7] = 3
    found = outcome("targets", data=sets(test=(BASE.test.x, y)))
    assert found.verdict == "wrong"
    assert found.finding == "class 3 stands in test, and there are 3 classes, from 0 on"


def test_numbers_as_targets_are_measured():
    assert outcome("targets", "[{linear: 1}]", NUMBERS).verdict == "ok"
    y = np.full((200, 1), 2.5, np.float32)
    found = outcome("targets", "[{linear: 1}]", sets(train=(X, y), valid=None, test=None))
    assert found.finding == "all targets are 2.5: there is nothing to learn"
    y = np.linspace(0, 1000, 200, dtype=np.float32)[:, None]
    found = outcome("targets", "[{linear: 1}]", sets(train=(X, y), valid=None, test=None))
    assert found.verdict == "look"
    assert "targets have standard deviation 290" in found.finding
    y[4] = np.nan
    found = outcome("targets", "[{linear: 1}]", sets(train=(X, y), valid=None, test=None))
    assert found.finding == "targets that are nan or infinite stand in 1 of 200 training examples"


def test_a_test_of_other_classes_than_training_is_seen():
    few = np.flatnonzero(BASE.test.y == 0)
    found = outcome("class balance", data=sets(test=(BASE.test.x[few], BASE.test.y[few])))
    assert found.verdict == "look"
    assert found.finding.endswith("of train and 100.0% of test")
    assert found.hint == "Draw parts from one pool, by class."


def test_a_class_that_drowns_the_others_is_said_with_the_accuracy_of_guessing():
    y = np.zeros(200, np.int64)
    y[:6], y[6:20] = 1, 2
    found = outcome("class balance", data=sets(train=(X, y), valid=None, test=None))
    assert found.verdict == "look"
    assert found.finding == "class 0 has 180 training examples and class 1 has 6"
    weighed = "`loss: {cross_entropy: {weight: [0.37, 11, 4.8]}}` under the objective"  # 200 / (3 n) of 180, 6, 14
    assert found.hint == f"An accuracy of 90.0% is had by always saying 0: weigh the classes: {weighed}."


def test_classes_are_called_by_their_names(tmp_path):
    kinds = ["rose"] * 60 + ["lily"] * 40 + ["Rose "]
    rows = [f"{i * 7 % 13},{kind}" for i, kind in enumerate(kinds)]
    (tmp_path / "a.csv").write_text("\n".join(["width,kind", *rows]))
    data = f"{{table: {{path: {tmp_path / 'a.csv'}, target: kind}}}}"
    found = outcome("class balance", "[{linear: 3}]", data)
    assert found.finding == "class 2 (`rose`) has 60 training examples and class 0 (`Rose `) has 1"
    assert found.hint == (
        "An accuracy of 59.4% is had by always saying 2 (`rose`): find more examples of the small ones, or leave "
        "them out: a weight adds none."
    )


def test_copies_within_train_are_counted_and_those_at_odds():
    x, y = np.concatenate([X, X[:10]]), np.concatenate([Y, Y[:10]])
    found = outcome("duplicates", data=sets(train=(x, y)))
    assert (found.verdict, found.figure) == ("look", "10 of 210")
    assert found.finding == "10 of 210 training examples are copies of others"
    y[200] = (y[200] + 1) % 3
    found = outcome("duplicates", data=sets(train=(x, y)))
    assert found.finding.endswith("are copies of others, 1 of them with another target")


def test_pairs_that_share_one_picture_are_no_copies_and_the_same_pair_twice_is():
    """Of two inputs both count; `left` alone is there four times."""
    layers = "[{flatten: , from: left, name: a}, {flatten: , from: right}, {concat: , from: [a, prev]}, {linear: 2}]"
    probe = make_probe(layers, "{digit_pairs: {classes: [0, 1], test: 0.5}}")
    assert CHECKS["duplicates"](probe).verdict == CHECKS["leakage"](probe).verdict == "ok"
    one = probe.sets.train.take(np.arange(20))
    twice = probe.sets.train.take(np.tile(np.arange(20), 2))
    probe = replace(probe, sets=replace(probe.sets, train=twice, test=one))
    assert CHECKS["duplicates"](probe).figure == "20 of 40"
    assert CHECKS["leakage"](probe).verdict == "wrong"


def test_a_test_set_that_is_trained_on_is_leakage():
    found = outcome("leakage", data=sets(test=(X[:40], Y[:40])))
    assert found.verdict == "wrong"
    assert found.figure == "0 of 50 in valid, 40 of 40 in test"
    assert found.finding == "40 of 40 examples in test are training examples too"
    assert "memory" in found.hint


def test_one_copy_in_many_is_worth_a_look():
    x = np.concatenate([np.random.default_rng(1).standard_normal((199, 6)).astype(np.float32), X[:1]])
    found = outcome("leakage", data=sets(test=(x, np.arange(200) % 3)))
    assert (found.verdict, found.finding) == ("look", "1 of 200 examples in test are training examples too")


def test_without_held_out_parts_nothing_can_leak():
    assert outcome("leakage", data=sets(valid=None, test=None)).verdict == "not run"


def table(folder, **fields):
    """Noise in rows that are sorted by class, and the number of each row."""
    rng = np.random.default_rng(0)
    rows = [f"{3 * i},{v:.4f},{'abc'[i // 70]}" for i, v in enumerate(rng.normal(size=200))]
    (folder / "a.csv").write_text("\n".join(["id,noise,y", *rows]))
    fields = {"path": folder / "a.csv", "target": "y", "test": 0.2, **fields}
    return Table(**fields).load()


def test_an_input_that_counts_rows_sorted_by_class_gives_them_away(tmp_path):
    found = outcome("row order", "[{linear: 3}]", table(tmp_path))
    assert (found.verdict, found.figure) == ("wrong", "1 of 2 inputs")
    assert found.finding == (
        "the input number 0 rises from row to row of the file, and the rows are sorted by class: its order alone "
        "tells the classes apart"
    )
    assert outcome("row order", "[{linear: 3}]", table(tmp_path, drop=["id"])).verdict == "ok"


def test_an_input_that_counts_rows_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("\n".join(["day,y", *(f"{-i},{i * 7 % 5}" for i in range(40))]))
    found = outcome("row order", "[{linear: 1}]", f"{{table: {{path: {tmp_path / 'a.csv'}, target: y}}}}")
    assert found.verdict == "look"
    assert found.finding == "the input `day` falls from row to row of the file"
    assert "`split: order`" in found.hint
    assert outcome("row order").verdict == "not run"
