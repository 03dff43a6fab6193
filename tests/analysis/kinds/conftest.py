"""Small trained networks that several kinds of analyses look at."""

import pytest
from helpers import experiment_of

from dlx.experiment import runner

DIGITS = """
name: small
data: {digits: {valid: 0, test: 0.2, stratify: true}}
network:
  layers:
    - conv: {out_channels: 8, kernel_size: 3, padding: 1}
    - relu
    - max_pool: 2
    - flatten
    - linear: 10
init: he_normal
train: {epochs: 6, batch_size: 64, optimizer: {adam: 1e-2}, device: cpu}
track: {mlflow: false}
"""
LINEAR = DIGITS.replace("name: small", "name: linear").replace(
    """    - conv: {out_channels: 8, kernel_size: 3, padding: 1}
    - relu
    - max_pool: 2
""",
    "",
)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """A convolutional network that has learned digits, with a channel of maps of 4x4."""
    return runner.run(experiment_of(DIGITS), tmp_path_factory.mktemp("digits")).results[0].run


@pytest.fixture(scope="session")
def linear_run(tmp_path_factory):
    """A linear classifier of digits."""
    return runner.run(experiment_of(LINEAR), tmp_path_factory.mktemp("linear")).results[0].run


@pytest.fixture(scope="session")
def untrained_run(tmp_path_factory):
    """The convolutional network of `digits_run` with the weights that its training began with."""
    text = DIGITS.replace("epochs: 6", "steps: 1").replace("adam: 1e-2", "adam: 1e-12")
    return runner.run(experiment_of(text), tmp_path_factory.mktemp("untrained")).results[0].run
