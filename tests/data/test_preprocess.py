"""What is done to the inputs before training, and that it is learned from the training part alone."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data import DATASETS, PREPROCESSING, Split
from dlx.data.preprocess import Preprocess, fit_steps, shape_after
from dlx.data.preprocess.affine import Center, Normalize
from dlx.data.preprocess.components import PCA, WIDEST, Whiten
from dlx.data.preprocess.rescale import Rescale
from dlx.data.splits import assemble
from dlx.errors import DataError
from dlx.experiment import runner
from dlx.shapes import Shape
from dlx.spec import load

STEPS = {
    "normalize": {"mean": [0.5], "std": [2]},
    "pca": {"components": 3},
    "hog": {"pixels_per_cell": 2, "cells_per_block": 2},
    "visual_words": {"words": 4, "size": 2, "patches": 50},
    "concat": {"steps": ["center", {"pca": 2}]},
}
OF_IMAGES = ("hog", "color_histogram", "visual_words")


def made(kind: str):
    return PREPROCESSING[kind](**STEPS.get(kind, {}))


def examples(seed: int = 0, n: int = 60) -> np.ndarray:
    """Correlated inputs (n, 2, 3)."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6)) + rng.normal(size=6) * 4
    return mixed.reshape(n, 2, 3).astype(np.float32)


def inputs_for(kind: str, seed: int = 0) -> np.ndarray:
    """Inputs of a shape that a step takes."""
    if kind in OF_IMAGES:
        return np.random.default_rng(seed).random((60, 3, 6, 6)).astype(np.float32)
    return examples(seed)[:, :, 0] if kind == "polar" else examples(seed)


def applied(step, x: np.ndarray) -> np.ndarray:
    (one,), after_it = fit_steps([step], x)
    np.testing.assert_array_equal(one(x), after_it)
    return after_it


@pytest.mark.parametrize("kind", sorted(PREPROCESSING))
def test_the_shape_is_what_becomes_of_an_input(kind):
    step, x = made(kind), inputs_for(kind)
    changed = applied(step, x)
    assert changed.dtype == np.float32
    assert changed.shape == (len(x), *step.output_shape(Shape(x.shape[1:])))


@pytest.mark.parametrize("kind", sorted(PREPROCESSING))
def test_nothing_of_the_other_parts_leaks_into_the_training_part(kind):
    y = np.zeros(60, np.int64)
    train, held, other = (Split(inputs_for(kind, seed), y) for seed in (0, 1, 2))
    far = Split((0.001 if kind in OF_IMAGES else 1000) * other.x, y)
    first, again = (assemble([train, held, test], "none", "", (), [made(kind)]) for test in (other, far))

    np.testing.assert_array_equal(first.train.x, again.train.x)
    np.testing.assert_array_equal(first.valid.x, again.valid.x)
    assert first.preprocess[0].as_json() == again.preprocess[0].as_json()
    moved = assemble([far, held, other], "none", "", (), [made(kind)])
    learns = type(made(kind)).fit is not Preprocess.fit and kind not in ("normalize", "fill")
    assert not learns or not np.array_equal(moved.valid.x, first.valid.x)


@pytest.mark.parametrize("kind", sorted(PREPROCESSING))
def test_every_step_and_field_is_described(kind):
    cls = PREPROCESSING[kind]
    assert "Shapes:" in cls.__doc__
    assert "Source:" in cls.__doc__
    assert [name for name, field in cls.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(("per", "axes"), [("all", (0, 1, 2)), ("channel", (0, 2)), ("feature", (0,))])
def test_the_mean_is_subtracted_and_the_spread_stays(per, axes):
    x = examples()
    centred = applied(Center(per=per), x)
    np.testing.assert_allclose(centred, x - x.mean(axes, keepdims=True, dtype=np.float64), atol=1e-5)


def test_given_values_are_used_by_channel_as_torchvision_does():
    x = examples()
    by_hand = np.stack([(x[:, 0] - 1) / 2, (x[:, 1] - 3) / 4], axis=1)
    np.testing.assert_allclose(applied(Normalize(mean=[1, 3], std=[2, 4]), x), by_hand, rtol=1e-6)
    np.testing.assert_allclose(applied(Normalize(mean=[1]), x), x - 1, rtol=1e-6)
    with pytest.raises(DataError) as raised:
        Normalize(mean=[1, 2, 3]).output_shape(Shape((4, 8, 8)))
    assert str(raised.value) == (
        "  `mean` of `normalize` has 3 values, and inputs of shape (4, 8, 8) have 4 channels\n"
        "  Give one value, or one a channel."
    )


def test_the_range_is_that_of_the_training_part():
    x = examples()
    changed = applied(Rescale(low=-1, high=1, per="all"), x)
    assert (changed.min(), changed.max()) == (-1, 1)
    (one,), _ = fit_steps([Rescale()], x)
    assert one(x + 100).min() > 1
    assert (applied(Rescale(low=3, high=4), np.ones((5, 2), np.float32)) == 3).all()
    with pytest.raises(ValidationError, match="`rescale` runs from 1 to 0: give the smaller number first"):
        Rescale(low=1, high=0)


def test_principal_components_are_those_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = examples()
    theirs = decomposition.PCA(3, svd_solver="full").fit(x.reshape(60, 6).astype(np.float64))
    axes = theirs.components_
    signs = np.sign(axes[np.arange(3), np.abs(axes).argmax(1)])
    (one,), ours = fit_steps([PCA(components=3)], x)

    np.testing.assert_allclose(ours, theirs.transform(x.reshape(60, 6)) * signs, atol=1e-4)
    np.testing.assert_allclose(one.found["variances"], theirs.explained_variance_ * 59 / 60, rtol=1e-9)
    whitened = applied(PCA(components=3, whiten=True, epsilon=0), x)
    np.testing.assert_allclose(np.cov(whitened.T, bias=True), np.eye(3), atol=1e-5)


def test_a_component_worked_by_hand():
    x = np.array([[0, 0], [2, 2], [4, 4], [2, 2]], np.float32)  # a line: variance 2 along each axis, 4 along it
    (one,), ours = fit_steps([PCA()], x)
    np.testing.assert_allclose(one.found["variances"], [4, 0], atol=1e-12)
    np.testing.assert_allclose(ours[:, 0], [-(8**0.5), 0, 8**0.5, 0], rtol=1e-6)


def test_whitened_inputs_have_the_identity_as_covariance_and_stay_near_themselves():
    x = examples()
    white = applied(Whiten(epsilon=0), x).reshape(60, 6)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(6), atol=1e-4)
    centred = x.reshape(60, 6) - x.reshape(60, 6).mean(0)
    turned = applied(PCA(whiten=True, epsilon=0), x)
    assert (white * centred).sum() > (turned * centred).sum()  # of all whitenings, ZCA moves the least
    constant = np.concatenate([x, np.ones((60, 2, 1), np.float32)], axis=2)
    assert np.isfinite(applied(Whiten(epsilon=0), constant)).all()


def test_what_the_covariance_cannot_be_had_of_is_refused():
    with pytest.raises(DataError) as raised:
        PCA(components=7).output_shape(Shape((2, 3)))
    assert str(raised.value) == ("  `pca` is to keep 7 components of 6 input values (2, 3)\n  Give 6 at most.")
    with pytest.raises(DataError) as raised:
        Whiten().output_shape(Shape((3, 224, 224)))
    assert str(raised.value) == (
        "  `whiten` takes the covariance of 150,528 input values (3, 224, 224), a matrix of 168.8 GiB\n"
        f"  It takes {WIDEST:,} at most: make the inputs smaller, or use `center` or `standardize`."
    )


def test_steps_run_in_their_order_after_standardize():
    digits = DATASETS["digits"](standardize="all", preprocess=[{"pca": 9}, {"rescale": {"low": -2}}])
    sets = digits.load()
    assert digits.facts().input == Shape((9,))
    assert sets.train.x.shape[1:] == (9,)
    assert [one.step.kind for one in sets.preprocess] == ["standardize", "pca", "rescale"]
    assert sets.train.x.min() == -2
    again = sets.preprocess[2](sets.preprocess[1](sets.preprocess[0](DATASETS["digits"]().load().test.x)))
    np.testing.assert_array_equal(again, sets.test.x)


def test_a_step_that_does_not_fit_is_reported_before_anything_is_loaded():
    with pytest.raises(DataError, match="`pca` is to keep 65 components of 64 input values"):
        DATASETS["digits"](preprocess=[{"pca": 65}]).facts()
    assert shape_after([], Shape((3,))) == Shape((3,))


def test_few_statistics_are_written_out_and_all_have_a_digest():
    x = examples()
    (one,), _ = fit_steps([Center(per="channel")], x)
    document = one.as_json()
    mean = np.ascontiguousarray(x.mean((0, 2), dtype=np.float64).reshape(1, 2, 1))
    assert (document["kind"], document["per"]) == ("center", "channel")
    np.testing.assert_allclose(document["statistics"]["mean"]["values"], mean.ravel(), rtol=1e-12)
    assert document["statistics"]["mean"]["shape"] == [1, 2, 1]
    stored = one.found["mean"]
    assert document["statistics"]["mean"]["sha256"] == hashlib.sha256(stored.tobytes()).hexdigest()
    (wide,), _ = fit_steps([PCA()], x)
    assert "values" not in wide.as_json()["statistics"]["axes"]


def test_the_lock_of_a_run_knows_what_was_found(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "data: {digits: {train: 50, preprocess: [{center: all}, {pca: 2}]}}\n"
        "network: {layers: [{linear: 10}]}\n"
        "train: {steps: 1}\ntrack: {mlflow: false}\n"
    )
    spec = load(tmp_path / "s.yaml")
    result = runner.run(spec, tmp_path / "runs").results[0]
    document = json.loads((result.run.dir / "lock.json").read_text())["data"]["preprocess"]
    assert document == [step.as_json() for step in spec.data.load().preprocess]
    assert [step["kind"] for step in document] == ["center", "pca"]
    assert 0.25 < document[0]["statistics"]["mean"]["values"][0] < 0.35  # ink of an average pixel


def test_steps_read_in_a_spec_like_everything_that_has_a_kind(tmp_path):
    text = "data: {{digits: {{preprocess: [{}]}}}}\nnetwork: {{layers: [flatten]}}\n"
    (tmp_path / "s.yaml").write_text(text.format("whiten, center: channel, pca: {components: 2, whiten: true}"))
    assert [step.kind for step in load(tmp_path / "s.yaml").data.preprocess] == ["whiten", "center", "pca"]
    (tmp_path / "s.yaml").write_text(text.format("whitn"))
    (problem,) = load(tmp_path / "s.yaml").problems
    assert (problem.message, problem.hint) == ("there is no preprocessing step `whitn`", "Did you mean `whiten`?")
