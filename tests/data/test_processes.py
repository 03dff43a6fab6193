"""Generated series: autoregressive processes, seasons, symbols to remember, waves."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data import DATASETS
from dlx.data.generated.mu_law import decoded, encoded


class TestARProcess:
    """`ar_process`, whose moments are those of theory."""

    def test_each_value_follows_from_those_before(self):
        """What is left after the recursion is the noise: of mean 0, of the deviation asked for, uncorrelated."""
        source = DATASETS["ar_process"](coefficients=[1.5, -0.75], std=2, length=20_000)
        y = source.load().series[0][:, 0]
        noise = y[2:] - 1.5 * y[1:-1] + 0.75 * y[:-2]
        assert noise.std() == pytest.approx(2, rel=3 / np.sqrt(2 * len(noise)))
        assert abs(noise.mean()) < 3 * 2 / np.sqrt(len(noise))
        assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 3 / np.sqrt(len(noise))

    def test_the_variance_is_that_of_theory(self):
        """(1 - c2) / ((1 + c2) ((1 - c2)^2 - c1^2)) = 8.615 (Box et al., section 3.2.4)."""
        y = DATASETS["ar_process"](length=200_000).load().series[0][:, 0]
        assert y.var() == pytest.approx(1.75 / (0.25 * (1.75**2 - 1.5**2)), rel=0.03)

    def test_a_process_that_grows_is_refused(self):
        with pytest.raises(ValidationError, match=r"is not stationary: its values grow by 1.1 a step"):
            DATASETS["ar_process"](coefficients=[1.1])

    def test_pad_stands_alone(self):
        with pytest.raises(ValidationError, match="`pad` is of the whole series, and `test` holds a part of it out"):
            DATASETS["ar_process"](pad=True, test=0.1)

    def test_pad_puts_zeros_around(self):
        train = DATASETS["ar_process"](pad=True, length=50).load().train
        assert len(train) == 52
        assert train.x[0].tolist() == [[0], [0]]
        assert train.y[-2:].tolist() == [[0], [0]]


def test_seasons_trend_and_events_add_up():
    options = {"noise": 0, "length": 50, "trend": 0.5, "amplitude": 2, "period": 5, "effect": 10, "window": 5}
    sets = DATASETS["seasonal_series"](**options).load()
    y, event = (
        sets.series[0][:, 0],
        np.concatenate([sets.train.more["known"][0, :5, 0], sets.train.more["known"][:, 5, 0]]),
    )
    rest = y - 10 * event - 0.5 * np.arange(50)
    assert rest[5:] == pytest.approx(rest[:-5])  # a season later it is the same
    assert rest.max() - rest.min() > 2
    assert 0 < event.sum() < 25


class TestDelayedCopy:
    """`delayed_copy`: what is shown first is to be told last."""

    def test_by_hand(self):
        train = DATASETS["delayed_copy"](delay=3, length=2, symbols=4, train=50).load().train
        shown = train.x.argmax(2)
        assert train.x.sum(2).tolist() == [[1] * 7] * 50
        assert shown[:, 2:].tolist() == [[4, 4, 5, 4, 4]] * 50
        assert train.y[:, :5].tolist() == [[4] * 5] * 50
        assert train.y[:, 5:].tolist() == shown[:, :2].tolist()
        assert set(shown[:, :2].ravel().tolist()) == {0, 1, 2, 3}

    def test_the_best_answer_without_memory_is_as_described(self):
        """A blank up to the sign and symbol 0 after it."""
        source = DATASETS["delayed_copy"](delay=10, length=1, symbols=4, train=20_000)
        y = source.load().train.y
        guess = np.full(y.shape[1], 4)
        guess[-1:] = 0
        assert (y == guess).mean() == pytest.approx((10 + 1 + 1 / 4) / 12, abs=0.002)


class TestWaves:
    """`waves`, and the mu-law of their classes."""

    def test_the_target_is_the_next_value(self):
        train = DATASETS["waves"](length=40, train=10).load().train
        assert train.x[:, 0, 1:].tolist() == train.y[:, 0, :-1].tolist()
        assert np.abs(train.x).max() <= 1

    def test_one_sine_has_its_frequency(self):
        """A sine at 0.1 turns a step: y(t + 1) + y(t - 1) = 2 cos(0.2 pi) y(t)."""
        x = DATASETS["waves"](length=64, components=1, low=0.1, high=0.1, train=5).load().train.x[:, 0]
        assert x[:, 2:] + x[:, :-2] == pytest.approx(2 * np.cos(0.2 * np.pi) * x[:, 1:-1], abs=1e-5)

    def test_classes_are_those_of_the_next_value(self):
        plain, classes = (
            DATASETS["waves"](length=40, train=10, **more).load().train for more in ({}, {"mu_law": 256})
        )
        assert classes.y.tolist() == encoded(plain.y[:, 0], 256).tolist()
        assert classes.x[:, 0, 1:] == pytest.approx(decoded(classes.y[:, :-1], 256), abs=1e-6)

    def test_the_mu_law_by_hand(self):
        """sign(x) log(1 + 255 |x|) / log 256: 1/255 is 1/8 of the way, 3/255 2/8, 15/255 4/8; halves go up."""
        values = np.array([-1, 0, 1, 1 / 255, 3 / 255, 15 / 255, -15 / 255])
        assert encoded(values, 256).tolist() == [0, 128, 255, 143, 159, 191, 64]
        assert decoded(np.array([0, 255]), 256) == pytest.approx([-1, 1])

    def test_a_class_is_that_of_its_own_value(self):
        every = np.arange(256)
        assert encoded(decoded(every, 256), 256).tolist() == every.tolist()

    def test_frequencies_that_run_backwards(self):
        with pytest.raises(ValidationError, match=r"frequencies run from `low` 0.2 to `high` 0.1: swap them"):
            DATASETS["waves"](low=0.2, high=0.1)
