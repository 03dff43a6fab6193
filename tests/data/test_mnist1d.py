"""The generator of MNIST-1D."""

from __future__ import annotations

import random

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data.generated.mnist1d import MNIST1D, smoothed
from dlx.errors import DataError


def test_the_default_settings_give_the_published_numbers(shared_data):
    made = MNIST1D().signals()
    with np.load(shared_data / "mnist1d_published.npz", allow_pickle=False) as published:
        x = np.concatenate([published["x"], published["x_test"]])
        y = np.concatenate([published["y"], published["y_test"]])
        t = published["t"]

    assert made.x.dtype == np.float64
    np.testing.assert_allclose(made.x, x, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(made.y, y)
    np.testing.assert_allclose(made.t, t, rtol=0, atol=1e-12)


def test_the_published_split_is_kept(shared_data):
    sets = MNIST1D().load()
    with np.load(shared_data / "mnist1d_published.npz", allow_pickle=False) as published:
        np.testing.assert_allclose(sets.train.x[:, 0], published["x"], atol=1e-6)
        np.testing.assert_allclose(sets.test.x[:, 0], published["x_test"], atol=1e-6)
        np.testing.assert_array_equal(sets.test.y, published["y_test"])


def test_other_settings_give_the_numbers_of_the_original_package():
    """Printed by mnist1d 0.0.2.post1: make_dataset with num_samples 30, train_split 2/3 and these arguments."""
    short = MNIST1D(train=20, test=10, padding=[0, 3], max_translation=9, seed=5).signals()
    first = [0.3761347800705623, 0.3709996654047963, 0.3658645507390302, 0.36798632953230026, 0.39671671767536915]
    np.testing.assert_allclose(short.x[0, :5], first, rtol=0, atol=1e-12)
    assert short.y[:5].tolist() == [5, 4, 5, 8, 7]

    loud = MNIST1D(
        train=20,
        test=10,
        padding=[4, 9],
        max_translation=12,
        template_len=20,
        final_seq_length=5,
        scale_coeff=0.9,
        shear_scale=1.5,
        corr_noise_scale=0.5,
        iid_noise_scale=0.1,
        shuffle_seq=True,
        seed=7,
    ).signals()
    last = [-0.9202565072200436, 0.3468184213689345, -1.5649145659991652, -0.050455904292612715, 0.35222690159742986]
    np.testing.assert_allclose(loud.x[-1], last, rtol=0, atol=1e-12)
    assert loud.y[-3:].tolist() == [3, 1, 9]


def test_smoothing_is_scipy_s_gaussian_filter():
    ndimage = pytest.importorskip("scipy.ndimage")
    for length in (3, 8, 72):
        noise = np.random.default_rng(length).normal(size=(4, length))
        theirs = np.stack([ndimage.gaussian_filter(row, 2) for row in noise])
        np.testing.assert_allclose(smoothed(noise), theirs, rtol=0, atol=1e-14)


def test_the_random_state_of_others_is_left_alone():
    random.seed(1)
    np.random.seed(1)
    python, numpy = random.getstate(), np.random.get_state()[1].tolist()
    MNIST1D(train=20, test=10).load()
    assert random.getstate() == python
    assert np.random.get_state()[1].tolist() == numpy


def test_classes_are_equally_frequent_and_any_count_can_be_had():
    made = MNIST1D(train=33, test=4).signals()
    assert np.bincount(made.y).tolist() == [4] * 10
    sets = MNIST1D(train=33, test=4).load()
    assert (len(sets.train), sets.valid, len(sets.test)) == (33, None, 4)
    np.testing.assert_array_equal(sets.test.y, made.y[33:37])


def test_validation_takes_the_last_training_examples():
    whole, sets = MNIST1D(train=40, test=0).load(), MNIST1D(train=40, valid=0.25, test=0).load()
    assert (len(sets.train), len(sets.valid), sets.test) == (30, 10, None)
    np.testing.assert_array_equal(np.concatenate([sets.train.x, sets.valid.x]), whole.train.x)


def test_one_position_without_noise_is_no_reason_to_divide_by_zero():
    options = {"corr_noise_scale": 0, "iid_noise_scale": 0, "shear_scale": 0, "scale_coeff": 0, "max_translation": 1}
    assert np.isfinite(MNIST1D(train=10, test=0, final_seq_length=1, **options).signals().x).all()


def test_validation_must_leave_something_to_train_on():
    with pytest.raises(DataError) as raised:
        MNIST1D(train=100, valid=200).facts()
    assert str(raised.value) == (
        "  no examples are left to train on: `valid` 200 out of `train` 100\n"
        "  Take less for `valid`, or generate more for `train`."
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"padding": [60, 36]}, "`padding` runs from 60 down to 36: give the smaller number first"),
        (
            {"padding": [0, 3], "max_translation": 48},
            (
                "`max_translation` 48 is longer than the signal of 15 positions (`template_len` 12 + `padding` 3): "
                "give 15 at most"
            ),
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options, sentence):
    with pytest.raises(ValidationError) as raised:
        MNIST1D(**options)
    assert raised.value.errors()[0]["msg"] == f"Value error, {sentence}"
