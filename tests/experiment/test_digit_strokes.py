"""Digits in a signal whose places nobody tells: better than a rule that cuts where the signal is silent."""

import numpy as np
import pytest
import torch
from helpers import SHIPPED
from quality import all_of, bounds, unmet

from dlx.data.generated.mnist1d import resample, strokes
from dlx.experiment.session import job_of
from dlx.metrics.edit_distance import edit_distance
from dlx.spec import load
from dlx.training.fit import fit
from dlx.training.prepared import prepare

NAME = "zoo/digit-strokes"
WIDTHS = range(14, 25)


def told_by_silence(x):
    """Cut where the mean of 3 positions is small, and take the pen whose correlation with what is left is largest."""
    pens = {w: resample(6 * strokes(), w) for w in WIDTHS}
    loud = np.abs(np.convolve(x, np.ones(3) / 3, "same")) > 0.3
    loud |= np.roll(loud, 1) & np.roll(loud, -1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud, [0]])))
    found = []
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        places = [(w, i) for w in WIDTHS for i in range(max(0, a - 12), min(a + 6, len(x) - w) + 1)]
        if b - a >= 5:
            like = [pens[w] @ x[i : i + w] / np.sqrt((pens[w] ** 2).sum(1)) for w, i in places]
            found.append(int(np.argmax(np.max(like, 0))))
    return found


def told_by_the_rule(inputs):
    found = np.full((len(inputs), inputs.shape[2]), -1)
    for row, x in zip(found, inputs, strict=True):
        told = told_by_silence(x[0].astype(float))
        row[: len(told)] = told
    return torch.from_numpy(found)


def trained(*changes, shuffled=False):
    made = prepare(load(SHIPPED[NAME], changes))
    job = job_of(made)
    if shuffled:  # each signal has the digits of another one
        digits = job.parts["train"].fields[made.sets.named("target")[0]]
        digits.copy_(digits.roll(1, 0))
    return list(fit(job))[-1].metrics


def test_the_claims_are_what_a_rule_reaches():
    part = load(SHIPPED[NAME]).data.load().test
    target = torch.from_numpy(part.y).clamp_min(-1)
    edits = edit_distance(told_by_the_rule(part.x), target)
    claimed = bounds(NAME)
    assert float(edits.sum() / (target >= 0).sum()) == pytest.approx(
        claimed["test/character_error_rate"]["at_most"], abs=1e-3
    )
    assert float((edits == 0).double().mean()) == pytest.approx(claimed["test/exact_match"]["at_least"], abs=1e-3)


@pytest.mark.slow
def test_digits_are_told_without_their_places():
    end = trained()
    assert not unmet(NAME, end)
    assert end["test/infeasible"] == 0


@pytest.mark.parametrize(
    ("changes", "shuffled"),
    [
        (["train.optimizer.adam.lr=1e-12", "train.epochs=1"], False),
        (["train.epochs=4"], True),
        (["train.epochs=4", "network.layers.2.conv.kernel_size=1", "network.layers.2.conv.padding=0",
          "network.layers.4.conv.kernel_size=1", "network.layers.4.conv.padding=0"], False),
    ],
    ids=["untrained", "digits of other signals", "a window of 7 positions"],
)  # fmt: skip
def test_a_broken_twin_does_not_tell_them(changes, shuffled):
    assert unmet(NAME, trained(*changes, shuffled=shuffled)) == all_of(NAME)
