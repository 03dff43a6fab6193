"""Ascent on the size of a layer: of a linear one it ends in the direction that the layer stretches most."""

import pytest
import torch
from helpers import experiment_of

from dlx.analysis.kinds.deep_dream import DeepDream
from dlx.analysis.measures.input_space import space_of
from dlx.analysis.subject import of_run, of_spec
from dlx.trained.features import ending_at

LINEAR = """
name: stretch
init: he_normal
network:
  inputs: [6]
  layers:
    - linear: {out_features: 12, bias: false}
    - linear: {out_features: 2, bias: false}
"""


def test_a_linear_layer_grows_along_its_first_singular_vector():
    """Far from the start ||W x|| / ||x|| is the largest singular value."""
    subject = of_spec(experiment_of(LINEAR))
    network, space = ending_at(subject.network(), "linear_1"), space_of(subject)
    free = type(space)(**{**vars(space), "limits": (-1e6, 1e6)})
    _, _, end = DeepDream(steps=400, rate=0.2)._dreamed(network, free, torch.randn(5, 1, 6))
    stretched = network(end[:, 0]).norm(dim=1) / end[:, 0].norm(dim=1)
    values = torch.linalg.svdvals(subject.network().linear_1.weight)

    assert torch.allclose(stretched, values[0].expand(5), rtol=0.03)
    assert values[1] < 0.95 * values[0]


def test_a_layer_grows_more_than_by_a_random_change_of_the_size(digits_run):
    found = DeepDream(layer="conv_1", steps=20).run(of_run(digits_run))

    assert found.figures["growth"] > 1.2
    assert found.figures["growth"] > found.figures["random_growth"] + 0.1
    growth = [row[1] for row in found.table[1]]
    assert growth == sorted(growth)
    assert len(found.panels[1].marks[0].pictures) == 16


def test_jitter_moves_pictures_back(digits_run):
    plain, jittered = (
        DeepDream(layer="conv_1", steps=20, jitter=j).run(of_run(digits_run)).figures["growth"] for j in (0, 1)
    )

    assert jittered == pytest.approx(plain, abs=0.15)
    assert jittered != plain


def test_layers_that_are_not_there(digits_run):
    assert "Did you mean `conv_1`" in DeepDream(layer="conv").problems(of_run(digits_run))[0].hint
