"""Masks, ignored targets and weights that leave nothing to learn from: a sentence before training."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from dlx.api.trainings import train
from dlx.errors import RunError, SpecError
from dlx.spec import load
from dlx.training import hidden_examples
from dlx.training.prepared import prepare

TOKENS = """\
dlx: 1
data:
  arrays: {path: a.npz, inputs: {tokens: x, mask: {array: m, is: FORM}}, targets: {kind: y}, split: order, test: 4}
network:
  inputs: {tokens: {field: tokens}, mask: {field: mask}}
  layers:
LAYERS
    - linear: 3
objective: classification
train: {steps: 2, batch_size: 4, device: cpu}
track: {mlflow: false}
"""
POOL = "    - {masked_pool: mean, from: [tokens, mask]}"
ATTENTION = """\
    - {multihead_attention: {num_heads: 1}, name: seen, from: {query: tokens, key_padding_mask: mask}}
    - flatten"""
PLAIN = """\
dlx: 1
data: {arrays: {path: a.npz, WEIGHTS split: order, test: 4}}
network: {layers: [flatten, {linear: 3}]}
objective: {classification: LOSS}
train: {steps: 8, batch_size: SIZE, device: cpu}
track: {mlflow: false}
"""


def spec_of(
    folder, text: str, mask: np.ndarray | None = None, y: np.ndarray | None = None, w: np.ndarray | None = None
):
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(16, 5, 2)).astype(np.float32), "y": np.arange(16) % 3 if y is None else y}
    arrays |= {name: one for name, one in {"m": mask, "w": w}.items() if one is not None}
    np.savez(folder / "a.npz", **arrays)
    (folder / "spec.yaml").write_text(text)
    return load(folder / "spec.yaml")


def sentences(experiment) -> list[str]:
    with pytest.raises(SpecError) as caught:
        prepare(experiment)
    assert all(problem.mark and problem.mark.line for problem in caught.value.problems)
    return [problem.message for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("layers", "form", "hides"), [(POOL, "values", 0.0), (POOL, "booleans", False), (ATTENTION, "booleans", True)]
)
def test_a_mask_that_hides_everything_is_reported_with_its_rows(tmp_path, layers, form, hides):
    mask = np.full((16, 5), not hides) if form == "booleans" else np.ones((16, 5), np.float32)
    text = TOKENS.replace("LAYERS", layers).replace("FORM", form)
    mask[3, :4] = mask[0, 1:] = hides
    prepare(spec_of(tmp_path, text, mask))  # some of each is left

    mask[3] = mask[7] = mask[13] = hides
    found = sentences(spec_of(tmp_path, text, mask))
    name = "masked_pool_1" if layers == POOL else "seen"
    assert len(found) == 2
    assert found[0].startswith(f"the field `mask` hides everything from `{name}` (")
    assert "in 2 examples of 12 of the part `train`, the first is row 3 of the source from 0 on" in found[0]
    assert "in 1 example of 4 of the part `test`, the first is row 13 of the source from 0 on" in found[1]


def test_parts_in_which_no_target_counts_are_reported(tmp_path):
    loss = "{loss: {cross_entropy: {ignore_index: 2}}}"
    text = PLAIN.replace("LOSS", loss).replace("WEIGHTS", "").replace("SIZE", "1")
    y = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 2, 2, 0, 2])
    made = train(spec_of(tmp_path, text, y=y), runs=tmp_path / "runs")  # single batches of nothing have the loss 0
    assert math.isfinite(made.result["test/loss"])

    y[14] = 2
    (found,) = sentences(spec_of(tmp_path, text, y=y))
    assert found == (
        "no position of the target `target` counts in 4 examples of 4 of the part `test`, the first is row 12 of the "
        "source from 0 on: all are 2, the `ignore_index` of cross_entropy"
    )


def test_weights_that_leave_a_batch_without_a_mean_are_reported(tmp_path, monkeypatch):
    text = PLAIN.replace("LOSS", "{}").replace("WEIGHTS", "weights: w,")
    w = np.ones(16, np.float32)
    w[[2, 5, 6]] = 0
    prepare(spec_of(tmp_path, text.replace("SIZE", "4"), w=w))
    (found,) = sentences(spec_of(tmp_path, text.replace("SIZE", "2"), w=w))
    assert (
        "the field `weight` is 0 in 3 examples of 12 of the part `train`, the first is row 2 of the source" in found
    )
    w[:12] = 0
    (found,) = sentences(spec_of(tmp_path, text.replace("SIZE", "12"), w=w))
    assert found.endswith("none counts in the loss")
    monkeypatch.setattr(hidden_examples, "problems", lambda made: [])
    with pytest.raises(RunError, match="nan"):
        train(spec_of(tmp_path, text.replace("SIZE", "12"), w=w), runs=tmp_path / "runs")


@pytest.mark.parametrize(("hidden", "count", "size"), [(3, 12, 2), (4, 12, 1), (5, 20, 3)])
def test_expected_batches_of_nothing_as_counted(hidden, count, size):
    """Against shuffles: batches of hidden examples alone among those of an epoch."""

    made = SimpleNamespace(train=SimpleNamespace(batch=lambda examples: size))
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.tile(np.arange(count), (4000, 1)), axis=1)[:, : count // size * size]
    seen = (orders.reshape(4000, -1, size) < hidden).all(2).sum(1)
    expected = hidden_examples._empty_batches(made, hidden, count) * (count // size) / (count / size)
    assert expected == pytest.approx(seen.mean(), abs=5 * math.sqrt(seen.var() / 4000))
