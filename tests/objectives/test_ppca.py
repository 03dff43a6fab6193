"""Probabilistic principal components: the numbers of the book, the density of SciPy, the maximum in closed form."""

import numpy as np
import pytest
import torch
from helpers import experiment_of
from safetensors.torch import load_file
from scipy.stats import multivariate_normal

from dlx.data.batch import Batch
from dlx.errors import DlxError, SpecError
from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.objectives.base import Ports
from dlx.objectives.ppca import Ppca
from dlx.shapes import Shape
from dlx.spec import load


class Decoder:
    """x = z W + mean, and the log variance that the objective learns."""

    def __init__(self, weight, mean=0.0, log_variance=0.0):
        self.weight, self.mean = torch.as_tensor(weight).float(), torch.as_tensor(mean).float()
        self.parameters = {"log_variance": torch.tensor(log_variance)}

    def __call__(self, name, z):
        assert name == "decoder"
        return z @ self.weight + self.mean


def of(size, **options):
    ports = {"decoder": Ports({"z": Shape((size,))}, {"x": Shape((9,))})}
    return Ppca.model_validate(options).informed({}, ports)


def test_the_numbers_of_the_model_of_the_book():
    """W = [[1], [2]] and variance 1: C = [[2, 2], [2, 5]]. Russell & Norvig, equation 22.16."""
    call, x = Decoder([[1.0, 2.0]]), torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    for one in (of(1), of(1, variance=1)):
        model = one.model(call)
        np.testing.assert_allclose(one.log_probability(model, x), [-2.7337568010, -3.1504234677], atol=1e-6)
        assert float(one.posterior_mean(model, x)[1]) == pytest.approx(5 / 6)


def test_the_density_is_that_of_the_full_covariance():
    rng = np.random.default_rng(0)
    weight, mean, x = rng.normal(size=(3, 9)), rng.normal(size=9), rng.normal(size=(7, 9))
    exact = multivariate_normal(mean, weight.T @ weight + 0.3 * np.eye(9)).logpdf(x)
    one = of(3)
    call = Decoder(weight, mean, float(np.log(0.3)))
    found = one.log_probability(one.model(call), torch.from_numpy(x))
    np.testing.assert_allclose(found, exact, rtol=1e-4)
    measured = one.evaluate(call, Batch({"input": torch.from_numpy(x).float()}), torch.Generator())
    assert float(measured["log_likelihood"]) == pytest.approx(exact.mean(), rel=1e-4)
    off = ((x.mean(0) - mean) ** 2).sum() / np.trace(weight.T @ weight + 0.3 * np.eye(9))
    assert float(measured["offset"]) == pytest.approx(off, rel=1e-4)
    assert list(measured) == list(one.modes())


def test_samples_have_the_covariance_of_the_model():
    call = Decoder([[1.0, 2.0]], [3.0, 0.0])
    made = of(1).sample(call, 50_000, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_allclose(np.cov(made.T), [[2, 2], [2, 5]], atol=0.1)
    np.testing.assert_allclose(made.mean(0), [3, 0], atol=0.05)


SPEC = """
dlx: 1
name: p
data: {arrays: {path: x.npz, valid: 0, test: 0}}
networks: {decoder: {inputs: {z: [2]}, layers: [{linear: 5}]}}
objective: ppca
train: {steps: 400, batch_size: all, optimizer: {adam: 1e-1}, schedule: cosine, device: cpu}
track: {mlflow: false}
"""


def rows():
    rng = np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    return (rng.normal(size=(400, 5)) * [3, 2, 0.5, 0.5, 0.5]) @ turned + [1, 0, -1, 2, 0]


def test_training_comes_to_the_maximum_in_closed_form(tmp_path):
    """Tipping & Bishop 1999, equations 7 and 8."""
    x = rows()
    np.savez(tmp_path / "x.npz", x=x.astype(np.float32), y=np.zeros(len(x), np.int64))
    (tmp_path / "a.yaml").write_text(SPEC)

    def trained(*changes):
        return runner.run(load(tmp_path / "a.yaml", list(changes)), tmp_path / "runs").results[0]

    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    variance = values[:3].mean()
    best = multivariate_normal(
        x.mean(0), vectors[:, 3:] * (values[3:] - variance) @ vectors[:, 3:].T + variance * np.eye(5)
    )
    found = trained()
    assert found.metrics["train/log_likelihood"] == pytest.approx(best.logpdf(x).mean(), abs=1e-3)
    assert found.metrics["train/variance"] == pytest.approx(variance, rel=1e-2)
    assert found.metrics["train/offset"] < 1e-3
    weight = load_file(found.run.dir / "checkpoints" / "final.safetensors")["decoder.linear_1.weight"].numpy()
    spans = np.linalg.svd(np.linalg.qr(weight)[0].T @ vectors[:, 3:])[1]
    assert spans.min() > 0.9999
    # without a bias the model has no mean, and data that is not centred is told by its offset
    no_mean = trained("networks.decoder.layers.linear_1.linear={out_features: 5, bias: false}")
    assert no_mean.metrics["train/offset"] > 0.1
    assert no_mean.metrics["train/log_likelihood"] < found.metrics["train/log_likelihood"] - 0.1
    untrained = trained("train.optimizer={sgd: {lr: 0}}")
    assert untrained.metrics["train/log_likelihood"] < found.metrics["train/log_likelihood"] - 1


DIGITS = """
data: {digits: {valid: 0.1, test: 0}}
networks: {decoder: {inputs: {z: [2]}, layers: [{linear: 64}, {reshape: [1, 8, 8]}]}}
objective: ppca
train: {steps: 3, device: cpu}
track: {mlflow: false}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("z: [2]", "z: [64]", "ppca takes a `decoder` of fewer latent variables than the 64 values of `input`"),
        (", {reshape: [1, 8, 8]}", "", "the network `decoder` ends in (64,), and ppca takes the shape of the field"),
        ("objective: ppca", "objective: {ppca: {variance: 0}}", "`variance`"),
        ("decoder:", "generator:", "ppca wants `decoder`"),
    ],
)
def test_a_mistake_is_a_sentence(old, new, message):
    assert old in DIGITS
    with pytest.raises(SpecError) as raised:
        trace_all(experiment_of(DIGITS.replace(old, new, 1)))
    assert any(message in problem.message for problem in raised.value.problems), str(raised.value)


def test_a_decoder_that_is_not_linear_is_refused_before_training(tmp_path):
    spec = DIGITS.replace("[{linear: 64}, ", "[{linear: 8}, tanh, {linear: 64}, ")
    with pytest.raises(DlxError, match="`decoder` is not linear: the image of a sum is"):
        runner.run(experiment_of(spec), tmp_path)
    assert runner.run(experiment_of(DIGITS), tmp_path).results[0].status == "finished"
