"""Pen strokes of digits in a row."""

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data.generated.digit_strokes import DigitStrokes
from dlx.data.generated.mnist1d import resample, strokes


def test_a_signal_of_one_width_is_its_strokes_in_their_order_and_zeros():
    made = DigitStrokes(most=3, length=60, narrow=15, wide=15, noise=0, train=300).load()
    x, y = made.train.x[:, 0].astype(float), made.train.y
    assert (x.shape, y.shape) == ((300, 60), (300, 3))
    pens, counts, gaps = 6 * resample(strokes(), 15), [], []
    assert pens.std(1) == pytest.approx(np.ones(10), abs=0.15)
    for signal, digits in zip(x, y, strict=True):
        count = int((digits >= 0).sum())
        assert (digits[count:] == -100).all()
        left, at = signal.copy(), 0
        for digit in digits[:count]:
            pen = pens[digit]
            fits = [i for i in range(at, 46) if _is(left[i : i + 15], pen)]
            left[fits[0] : fits[0] + 15] = 0
            gaps.append(fits[0] - at)
            at = fits[0] + 15
        assert np.abs(left).max() < 1e-6
        counts.append(count)
    assert np.bincount(counts, minlength=4)[1:].min() > 70
    assert np.bincount(y[y >= 0]).min() > 30
    assert min(gaps) == 0


def _is(piece, pen):
    """Whether a piece is a pen of some height from 0.7 to 1.3."""
    height = piece @ pen / (pen @ pen)
    return 0.69 < height < 1.31 and np.abs(piece - height * pen).max() < 1e-5


def test_noise_is_of_its_deviation():
    clean, noisy = (DigitStrokes(noise=n, train=200).load().train.x for n in (0, 0.3))
    assert float((noisy - clean).std()) == pytest.approx(0.3, rel=0.02)


def test_digits_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match="`most` 5 digits of up to 28 positions do not fit into `length` 100"):
        DigitStrokes(length=100)
    with pytest.raises(ValidationError, match="widths run from `narrow` 30 to `wide` 28"):
        DigitStrokes(narrow=30)
