"""The shortest names of keys."""

import pytest

from dlx.utils.short_names import short_names


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["train.optimizer.adam.lr", "vars.width"], ["lr", "width"]),
        (["train.optimizer.adam.lr", "train.optimizer.sgd.lr"], ["adam.lr", "sgd.lr"]),
        (["lr", "train.lr"], ["lr", "train.lr"]),
        (["xlr", "a.lr"], ["xlr", "lr"]),
    ],
)
def test_a_key_is_called_by_as_much_of_its_end_as_distinguishes_it(keys, names):
    assert list(short_names(keys).values()) == names
