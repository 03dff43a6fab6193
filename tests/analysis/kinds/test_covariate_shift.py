"""`covariate_shift`: batch norm with and without a shift after it, and none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trainings import analyzed, refused, subject_in

from dlx.analysis.kinds.covariate_shift import CovariateShift

SPEC = """
dlx: 1
name: shift
data: {moons: {train: 64, valid: 0, test: 0}}
network: {layers: [{linear: 8}, batch_norm, relu, {linear: 8}, batch_norm, relu, {linear: 2}]}
objective: classification
train: {steps: 40, batch_size: 32, optimizer: {sgd: 0.1}}
"""
OPTIONS: dict[str, Any] = {"steps": 40, "seeds": 1}


def test_a_shift_moves_the_outputs_of_batch_norm(tmp_path: Path) -> None:
    """Twin: a shift of nothing is batch norm itself, to the bit."""
    subject = subject_in(tmp_path, SPEC)
    found = analyzed("covariate_shift", subject, **OPTIONS).figures
    assert found["drift_ratio"] > 3
    assert found["loss_shifted"] != found["loss_norm"]
    none = analyzed("covariate_shift", subject, shift=0, scale=1, jitter=0, **OPTIONS).figures
    assert none["loss_shifted"] == none["loss_norm"] == found["loss_norm"]
    assert none["drift_ratio"] == 1


def test_the_shift_has_the_moments_of_the_paper() -> None:
    """Of standard normal outputs: the variance of a unit's mean is shift^2 / 3 and that of the examples' 0.01 / 3."""
    analysis, generator = CovariateShift(scale=1.0), torch.Generator().manual_seed(0)
    zeros = torch.zeros(500, 400)
    moved = analysis._shifted(zeros, generator)
    assert float(moved.mean(0).var()) == pytest.approx(0.25 / 3, rel=0.15)
    assert float(moved.var(0).mean()) == pytest.approx(0.01 / 3, rel=0.05)
    scaled = CovariateShift(shift=0, jitter=0, scale=2.0)._shifted(torch.ones(3, 4000), generator)
    assert float(scaled.mean()) == pytest.approx(1.5, abs=0.03)
    assert np.ptp(scaled.numpy(), axis=0).max() == 0


def test_without_batch_norm_there_is_nothing_to_shift(tmp_path: Path) -> None:
    text = SPEC.replace("batch_norm, ", "")
    assert "shift has no layer of batch norm" in refused("covariate_shift", subject_in(tmp_path, text))
