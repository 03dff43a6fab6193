"""Monte Carlo dropout: the spread of a linear network by formula, that of classes by hand, and what is refused."""

import numpy as np
import pytest
import torch
from helpers import experiment_of
from safetensors.torch import load_file

import dlx
from dlx.errors import DlxError
from dlx.experiment import runner
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


@pytest.mark.parametrize(
    ("old", "new", "samples", "sentence"),
    [
        ("{dropout: 0.3}, ", "", 5, "`--samples` asks for layers that drop at random, and the network has none"),
        ("{dropout: 0.3}", "{dropout: 0.3}", 1, "a spread wants two draws or more, and `--samples` is 1"),
        ("0.3", "{p: {linear: {start: 0, end: 0.5}}}", 5, "`--samples` drops at the rate of the training"),
    ],
)
def test_a_mistake_is_a_sentence(tmp_path, old, new, samples, sentence):
    run = trained(tmp_path, SPEC.replace(old, new))
    with pytest.raises(DlxError) as raised:
        predict(run, X, samples=samples)
    assert sentence in str(raised.value)
