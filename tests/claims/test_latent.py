"""What specs with latent variables claim, by scikit-learn and by formulas on the same data; three seeds, and twins."""

import numpy as np
import pytest
from helpers import SHIPPED
from quality import all_of, bounds, unmet
from sklearn.decomposition import PCA

from dlx.experiment import runner
from dlx.spec import load


def pixels(name):
    """The training and the test part of a spec, (n, D)."""
    sets = load(SHIPPED[name]).data.load()
    return (part.x.reshape(len(part.x), -1).astype(float) for part in (sets.train, sets.test))


def left_by(components, train, test):
    """The mean squared error of pictures from principal components of the training part."""
    fitted = PCA(components).fit(train)
    return float(((fitted.inverse_transform(fitted.transform(test)) - test) ** 2).mean())


def test_deep_autoencoders_are_held_against_as_many_principal_components():
    train, test = pixels("zoo/autoencoder")
    assert left_by(8, train, test) == pytest.approx(bounds("zoo/autoencoder")["test/mse"]["at_most"], abs=1e-4)


def test_no_linear_autoencoder_is_better_than_the_principal_components():
    train, _ = pixels("zoo/linear-autoencoder")
    claimed = bounds("zoo/linear-autoencoder")["train/loss"]
    least = 64 * left_by(8, train, train)
    assert claimed["at_least"] < least < claimed["at_most"]
    assert claimed["at_least"] == pytest.approx(least, rel=1e-4)
    assert claimed["at_most"] == pytest.approx(least, rel=1e-2)
    assert 64 * left_by(7, train, train) > 1.1 * claimed["at_most"]


def test_noise_by_the_best_linear_estimate():
    """Wiener's: mean + C (C + variance of the noise)^-1 (x - mean), for the covariance C of the training part."""
    train, test = pixels("zoo/denoising-autoencoder")
    covariance, mean = np.cov(train.T), train.mean(0)
    matrix, rng = covariance @ np.linalg.inv(covariance + 0.25 * np.eye(64)), np.random.default_rng(0)
    noisy = (test + 0.5 * rng.normal(size=test.shape) for _ in range(50))
    found = np.mean([(((one - mean) @ matrix.T + mean - test) ** 2).mean() for one in noisy])
    assert bounds("zoo/denoising-autoencoder")["test/mse"]["at_most"] == pytest.approx(found, abs=5e-4)


def test_binary_pictures_by_independent_pixels():
    train, test = (np.round(x) for x in pixels("zoo/vae"))
    share = (train.sum(0) + 1) / (len(train) + 2)
    alone = (test * np.log(share) + (1 - test) * np.log(1 - share)).sum(1).mean()
    assert bounds("zoo/vae")["test/elbo"]["at_least"] > alone + 3


def test_a_mixture_by_the_exact_density_and_the_best_single_gaussian():
    """p(t | x) is p(x | t) over its mean along t, which is uniform."""
    claimed = bounds("zoo/mixture-density")["test/loss"]
    part = load(SHIPPED["zoo/mixture-density"]).data.load().test
    x, t = part.x.astype(float).ravel(), part.y.astype(float).ravel()
    grid = (np.arange(20_000) + 0.5) / 20_000

    def density(x, t):
        return np.exp(-(((x - t - 0.3 * np.sin(2 * np.pi * t)) / 0.05) ** 2) / 2) / (0.05 * np.sqrt(2 * np.pi))

    along = density(x[:, None], grid)
    exact = -np.log(density(x, t) / along.mean(1)).mean()
    likely = along / along.mean(1, keepdims=True)
    mean = (likely * grid).mean(1)
    variance = (likely * grid**2).mean(1) - mean**2
    single = ((np.log(2 * np.pi * variance) + (t - mean) ** 2 / variance) / 2).mean()
    assert claimed["at_most"] == pytest.approx(single, abs=2e-3)
    assert claimed["at_least"] == pytest.approx(exact, abs=2e-3)


# --- three seeds, and broken twins ----------------------------------------------------------------------------------

TWINS = {
    "zoo/autoencoder": ["networks.encoder.layers=[flatten, {linear: 8}]", "networks.decoder.layers=[{linear: 64}, {reshape: [1, 8, 8]}]"],
    "zoo/linear-autoencoder": ["network.layers.components.linear.out_features=7"],
    "zoo/denoising-autoencoder": ["networks.encoder.layers=[flatten, {linear: 64}]", "networks.decoder.layers=[{linear: 64}, {reshape: [1, 8, 8]}]"],
    "zoo/sparse-autoencoder": ["objective.autoencoder.sparsity.kl=0"],
    "zoo/contractive-autoencoder": ["objective.autoencoder.contractive=0"],
    "zoo/vae": ["objective.vae.beta=20"],
    "zoo/mixture-density": ["objective.regression.loss.mixture_density.components=1", "network.layers.linear_3.out_features=3"],
}  # fmt: skip
"""Changes that leave out what a claim rests on: depth, a component, the penalty, the latent variables, a mixture."""


def metrics_of(folder, name, *changes):
    changed = ["track.mlflow=false", "train.evaluate_every=100_000", *changes]
    return runner.run(load(SHIPPED[name], changed), folder).results[0].metrics


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_three_seeds_meet_the_claims_and_the_twin_does_not(tmp_path, name):
    for seed in range(3):
        assert not unmet(name, metrics_of(tmp_path, name, f"train.seed={seed}"))
    assert unmet(name, metrics_of(tmp_path, name, *TWINS[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_untrained_networks_meet_none(tmp_path, name):
    assert unmet(name, metrics_of(tmp_path, name, "train.optimizer={sgd: {lr: 1e-20}}")) & all_of(name)
