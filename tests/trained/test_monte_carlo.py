"""Monte Carlo dropout and batch norm: spreads by formula and by hand, and what is refused."""

import copy

import numpy as np
import pytest
import torch
from helpers import SHIPPED, experiment_of
from quality import bounds
from safetensors.torch import load_file

import dlx
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.modules.norm import BookBatchNorm, statistics_of
from dlx.spec import load
from dlx.trained.predict import predict

SPEC = """
name: m
data: {synthetic: {shape: [5], classes: 3, train: 40, valid: 8}}
network: {layers: [{linear: 16}, batch_norm, relu, {dropout: 0.3}, {linear: 3}]}
train: {epochs: 3, batch_size: 8, optimizer: {adam: 1e-2}, device: cpu}
track: {mlflow: false}
"""
X = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)


def trained(folder, text=SPEC):
    return runner.run(experiment_of(text), folder).results[0].run


def test_the_spread_of_a_linear_network_is_that_of_the_formula(tmp_path):
    """y = sum of w x b / (1 - p) + c: its mean is that without dropout, its variance sum of (w x)^2 p / (1 - p)."""
    values = SPEC.replace("classes: 3", "classes: null, target: [1]")
    run = trained(
        tmp_path,
        values.replace(
            "[{linear: 16}, batch_norm, relu, {dropout: 0.3}, {linear: 3}]", "[{dropout: 0.3}, {linear: 1}]"
        ),
    )
    weight = load_file(run.dir / "checkpoints" / "final.safetensors")["linear_1.weight"].numpy()
    found = predict(run, X, samples=4000).arrays
    plain = predict(run, X).arrays["values"]
    deviation = np.sqrt(((weight * X) ** 2).sum(1) * 0.3 / 0.7)
    np.testing.assert_allclose(found["values_spread"][:, 0], deviation, rtol=0.05)
    np.testing.assert_allclose(found["values"], plain, atol=4 * deviation.max() / np.sqrt(4000))


def test_classes_are_those_of_the_mean_probability_by_hand(tmp_path):
    run = trained(tmp_path)
    found, weights = predict(run, X, samples=9, seed=4), load_file(run.dir / "checkpoints" / "final.safetensors")
    x = torch.tensor(X) @ weights["linear_1.weight"].T + weights["linear_1.bias"]
    x = (x - weights["batch_norm_1.running_mean"]) / (weights["batch_norm_1.running_var"] + 1e-5).sqrt()
    x = torch.relu(x * weights["batch_norm_1.weight"] + weights["batch_norm_1.bias"])
    torch.manual_seed(4)
    drawn = [torch.nn.functional.dropout(x, 0.3) for _ in range(9)]
    each = torch.stack([(one @ weights["linear_2.weight"].T + weights["linear_2.bias"]).softmax(1) for one in drawn])
    np.testing.assert_allclose(found.arrays["probabilities"], each.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.arrays["probabilities_spread"], each.std(0), atol=1e-5)
    assert found.classes.tolist() == each.mean(0).argmax(1).tolist()

    titles, rows = found.rows()
    assert titles == ["input", "class", "p(0)", "p(1)", "p(2)", "sd(p(0))", "sd(p(1))", "sd(p(2))"]
    assert rows[2][5:] == pytest.approx(each.std(0)[2].tolist(), abs=1e-5)
    assert found.as_json()["predictions"][2]["spread"]["probabilities"] == pytest.approx(rows[2][5:])


def test_draws_follow_from_the_seed_alone_and_leave_the_generator_of_the_caller(tmp_path):
    run = trained(tmp_path)
    before = torch.get_rng_state()
    one, same, other = (dlx.predict(run.dir, X, samples=3, seed=seed).arrays["probabilities"] for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_batch_norms_take_the_statistics_of_drawn_batches_by_hand(tmp_path):
    plain = SPEC.replace("{dropout: 0.3}, ", "")
    run = trained(tmp_path, plain)
    found, weights = predict(run, X, samples=7, seed=4), load_file(run.dir / "checkpoints" / "final.safetensors")
    part, rng = torch.from_numpy(experiment_of(plain).data.load().train.x), torch.Generator().manual_seed(4)

    def hidden(x):
        return x @ weights["linear_1.weight"].T + weights["linear_1.bias"]

    each = []
    for _ in range(7):
        batch = hidden(part[torch.randperm(len(part), generator=rng)[:8]])
        y = (hidden(torch.tensor(X)) - batch.mean(0)) / (batch.var(0, correction=0) + 1e-5).sqrt()
        y = torch.relu(y * weights["batch_norm_1.weight"] + weights["batch_norm_1.bias"])
        each.append((y @ weights["linear_2.weight"].T + weights["linear_2.bias"]).softmax(1))
    np.testing.assert_allclose(found.arrays["probabilities"], torch.stack(each).mean(0), atol=1e-5)
    np.testing.assert_allclose(found.arrays["probabilities_spread"], torch.stack(each).std(0), atol=1e-5)


def test_the_spread_of_a_normalised_value_is_that_of_the_mean_of_a_batch(tmp_path):
    """y = w (x - m) / s at the mean of all: w^2 times the variance of m, (n - b) / (b (n - 1)) for b of n without
    replacement, times the mean of 1 / s^2, which is b / (b - 3) for normal values.
    """
    text = SPEC.replace("{linear: 16}, batch_norm, relu, {dropout: 0.3}, {linear: 3}", "batch_norm, {linear: 1}")
    text = text.replace("shape: [5], classes: 3, train: 40", "shape: [1], classes: null, target: [1], train: 400")
    text = text.replace("batch_size: 8", "batch_size: 40")
    run = trained(tmp_path, text)
    part, weights = experiment_of(text).data.load().train.x, load_file(run.dir / "checkpoints" / "final.safetensors")
    slope = abs(float(weights["linear_1.weight"] * weights["batch_norm_1.weight"]))
    middle = part.mean(keepdims=True)
    found = predict(run, middle, samples=3000).arrays["values_spread"].item()
    assert found == pytest.approx(slope * np.sqrt((400 - 40) / (40 * 399) * 40 / 37), rel=0.06)
    smaller = predict(trained(tmp_path, text.replace("batch_size: 40", "batch_size: 8")), middle, samples=500)
    assert smaller.arrays["values_spread"].item() > 1.5 * found


def test_statistics_of_a_batch_are_those_of_a_training_step_and_are_given_back():
    norms = torch.nn.Sequential(
        torch.nn.BatchNorm1d(3), BookBatchNorm(3, 1e-5, 0.1, "channel", "variance"), torch.nn.BatchNorm1d(3)
    )
    x, rest = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        norms.train()(3 + 2 * rest)  # statistics that are not those of the batch
        before = {name: one.clone() for name, one in norms.eval().state_dict().items()}
        expected = copy.deepcopy(norms).train()(x)
        with statistics_of(norms, x):
            torch.testing.assert_close(norms(x), expected)
        assert not torch.allclose(norms(x), expected, atol=0.1)
    assert all(torch.equal(one, before[name]) for name, one in norms.state_dict().items())


def test_answers_spread_where_there_was_no_data_and_those_of_bounded_units_do_not(tmp_path):
    """Far away units of relu are linear in x, and so is the spread; those of tanh have one value (section 5.1)."""
    within, far = np.linspace(-1, 1, 41, dtype=np.float32)[:, None], np.array([[4], [16], [32]], np.float32)

    def spreads(*changes):
        experiment = load(SHIPPED["zoo/monte-carlo-dropout"], ["+track.mlflow=false", *changes])
        result = runner.run(experiment, tmp_path).results[0]
        assert result.metrics["test/mse"] < bounds("zoo/monte-carlo-dropout")["test/mse"]["at_most"]
        found = predict(result.run, np.concatenate([within, far]), samples=300).arrays["values_spread"][:, 0]
        return found[:41].max(), found[41:]

    inside, outside = spreads()
    assert outside[0] > 4 * inside
    assert outside[2] / outside[1] == pytest.approx(2, rel=0.15)
    inside, outside = spreads("network.layers.relu_1=tanh", "network.layers.relu_2=tanh")
    assert outside.max() < 2 * inside


@pytest.mark.parametrize(
    ("old", "new", "samples", "sentence"),
    [
        ("batch_norm, relu, {dropout: 0.3}, ", "", 5, "or for batch norms, and the network has neither"),
        ("{dropout: 0.3}, ", "", 1, "a spread wants two draws or more, and `--samples` is 1"),
        ("{dropout: 0.3}", "{dropout: 0.3}", 0, "a spread wants two draws or more, and `--samples` is 0"),
        ("{dropout: 0.3}", "{dropout: 0.3}", 1, "a spread wants two draws or more, and `--samples` is 1"),
        ("0.3", "{p: {linear: {start: 0, end: 0.5}}}", 5, "`--samples` drops at the rate of the training"),
    ],
)
def test_a_mistake_is_a_sentence(tmp_path, old, new, samples, sentence):
    run = trained(tmp_path, SPEC.replace(old, new))
    with pytest.raises(DlxError) as raised:
        predict(run, X, samples=samples)
    assert sentence in str(raised.value)
