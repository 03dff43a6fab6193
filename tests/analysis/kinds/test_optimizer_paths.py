"""`optimizer_paths`: gradient descent on a quadratic beside its closed form, and what a valley does to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import analyzed, refused, subject_in

from dlx.spec.analyses import ANALYSES

SPEC = """
dlx: 1
name: valley
data: {curve: {function: line, noise: 0, low: 1.0, high: 2.0, train: 40, valid: 0, test: 0}}
network: {layers: [{linear: 1}]}
objective: regression
train: {steps: 30, batch_size: all, optimizer: {sgd: 0.2}}
"""
OPTIONS: dict[str, Any] = {"start": [-1.0, 1.5], "steps": 30, "grid": 5}


def test_the_path_of_gradient_descent_is_that_of_its_closed_form(tmp_path: Path) -> None:
    """w_t = w* + (1 - rate H)^t (w_0 - w*). Twin: with momentum the path is another."""
    subject = subject_in(tmp_path, SPEC)
    found = analyzed(
        "optimizer_paths",
        subject,
        optimizers={"plain": {"sgd": 0.2}, "heavy": {"sgd": {"lr": 0.2, "momentum": 0.9}}},
        **OPTIONS,
    )
    x = np.hstack([subject.sets.train.x, np.ones((40, 1))]).astype(float)
    hessian = 2 * x.T @ x / 40
    step = np.eye(2) - 0.2 * hessian
    expected = [np.array([1.0, 0.0]) + np.linalg.matrix_power(step, t) @ [-2.0, 1.5] for t in range(31)]
    _, plain, heavy, start, _ = found.panels[0].marks
    assert (start.x[0], start.y[0]) == (plain.x[0], plain.y[0])  # type: ignore[union-attr]
    path = np.stack([plain.x, plain.y], 1)  # type: ignore[union-attr]
    assert np.abs(path - np.array(expected)).max() < 1e-4
    assert np.abs(np.stack([heavy.x, heavy.y], 1) - path).max() > 0.1  # type: ignore[union-attr]
    low, high = np.linalg.eigvalsh(hessian)
    assert found.figures["condition_number"] == pytest.approx(high / low, rel=1e-2)


def test_a_rate_between_one_and_two_over_the_largest_eigenvalue_turns_at_every_step(tmp_path: Path) -> None:
    """Twin: below one over it, it never turns; above two, it diverges."""
    rates = {"across": {"sgd": 0.2}, "along": {"sgd": 0.1}, "away": {"sgd": 1.0}}
    found = analyzed(
        "optimizer_paths", subject_in(tmp_path, SPEC), optimizers=rates, **{**OPTIONS, "steps": 10}
    ).figures
    assert (found["across_turns"], found["along_turns"]) == (9, 0)
    assert "away_diverged" not in found or found["away_diverged"]
    assert found["away_loss"] > 1e6


def test_the_optimizers_of_the_book_are_there_where_none_are_named(tmp_path: Path) -> None:
    found = analyzed("optimizer_paths", subject_in(tmp_path, SPEC), lr=0.05, **OPTIONS)
    assert [row[0] for row in found.table[1]] == ["sgd", "momentum", "nesterov", "rmsprop", "adam"]
    assert found.figures["sgd_length"] > 0


def test_more_weights_than_two_have_no_contour(tmp_path: Path) -> None:
    text = SPEC.replace("layers: [", "layers: [{linear: 3}, ")
    assert "a contour has two axes, and valley trains 10 weights" in refused(
        "optimizer_paths", subject_in(tmp_path, text)
    )
    assert ANALYSES["optimizer_paths"].trains
