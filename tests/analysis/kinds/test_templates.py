"""Templates of linear classifiers."""

import numpy as np
import pytest
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds.templates import Templates, _templates
from dlx.analysis.subject import of_spec
from dlx.errors import DlxError, SpecError

TEXT = """
name: t
data: {synthetic: {shape: [1, 4, 4], classes: 4, train: 200, test: 40, seed: 0}}
init: zeros
network: {layers: [flatten, {linear: 4}]}
train: {steps: 1, batch_size: 200, optimizer: {sgd: 1.0}}
track: {mlflow: false}
"""


def test_after_one_step_from_zero_a_template_is_the_mean_of_its_class_less_a_share_of_the_others():
    """The gradient of cross entropy at equal logits is (1/C - [class is c]) x: W_c = n_c/n mean_c - mean/C."""
    run = of_spec(experiment_of(TEXT)).train()
    batch, weight = run.part("train"), run.network().linear_1.weight.detach().numpy()
    x, y = batch.x.flatten(1).numpy(), batch.y.numpy()
    by_hand = np.stack([x[y == c].sum(0) / len(x) for c in range(4)]) - x.mean(0) / 4

    found = Templates().run(run)

    np.testing.assert_allclose(weight, by_hand, atol=1e-5)
    assert found.figures["own_class"] == 1
    assert found.figures["correlation"] > 0.9
    twin = Templates(seeds=3).run(of_spec(experiment_of(TEXT.replace("zeros", "he_normal"))))
    assert abs(twin.figures["correlation"]) < 0.4


def test_two_linear_layers_are_the_one_that_they_amount_to():
    text = """
name: twice
network:
  inputs: [2]
  layers:
    - {linear: {out_features: 2}, values: {weight: [[1, 2], [3, 4]], bias: [5, 6]}}
    - {linear: {out_features: 2}, values: {weight: [[0, 1], [1, 0]], bias: [7, 8]}}
"""
    found = Templates().run(of_spec(experiment_of(text)))

    # (W2 W1) = [[3, 4], [1, 2]]: lengths 5 and sqrt 5; templates as inputs: answers (25, 11) and (11, 5)
    assert [row[1] for row in found.table[1]] == pytest.approx([5, 5**0.5])
    assert found.figures == {"own_class": 0.5}


def test_templates_of_images_are_pictures():
    (pictures,) = Templates().run(of_spec(experiment_of(TEXT.replace("zeros", "he_normal")))).panels[0].marks

    assert [picture.shape for _, picture in pictures.pictures] == [(4, 4, 1)] * 4
    assert all(picture.min() == 0 and picture.max() == 1 for _, picture in pictures.pictures)


def test_a_network_that_is_not_linear_is_told():
    text = TEXT.replace("flatten,", "flatten, {linear: 3}, relu,").replace("zeros", "he_normal")
    bent = of_spec(experiment_of(text))
    with pytest.raises(
        SpecError, match=r"`templates` are of linear classifiers, and `relu_1` \(relu\) is not linear"
    ):
        analyze(Templates(), bent)
    with pytest.raises(DlxError, match="is not linear in its input"):
        _templates(bent.network(), (1, 4, 4), bent)
