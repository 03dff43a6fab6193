"""What a layer tells of its input: all of it where it is invertible, the part in its row space where it is not."""

from helpers import experiment_of

from dlx.analysis.kinds.inversion import Inversion
from dlx.analysis.subject import of_run, of_spec

LINEAR = """
name: narrow
init: orthogonal
network:
  inputs: [8]
  layers:
    - linear: {out_features: 8, bias: false}
    - linear: {out_features: 4, bias: false}
"""


def test_an_invertible_layer_tells_all_and_half_of_it_half_at_most():
    """A projection onto 4 of 8 orthogonal directions leaves half of the squares of normal inputs, if not more."""
    found = Inversion(examples=64, steps=200).run(of_spec(experiment_of(LINEAR))).figures

    assert found["input_error_linear_1"] < 1e-2
    assert 0.4 < found["input_error_linear_2"] < 1
    assert found["code_error_linear_2"] < 1e-3, "the values are those of the layer all the same"
    assert (found["first"], found["last"]) == (found["input_error_linear_1"], found["input_error_linear_2"])


def test_deep_layers_tell_less_and_pictures_show_it(digits_run):
    """Mahendran & Vedaldi, figure 6; a network of the digits' class alone tells least."""
    found = Inversion(layers=["conv_1", "max_pool_1", "linear_1"], examples=4, steps=100).run(of_run(digits_run))
    errors = [row[1] for row in found.table[1]]

    assert errors == sorted(errors)
    assert errors[0] < 0.01
    assert errors[2] > 0.3
    captions = [words for words, _ in found.panels[1].marks[0].pictures]
    assert captions[::4] == ["input", "conv_1", "max_pool_1", "linear_1"]


def test_without_updates_the_mean_input_is_all_that_is_told():
    found = Inversion(examples=64, steps=1).run(of_spec(experiment_of(LINEAR))).figures

    assert found["first"] > 0.5


def test_layers_that_are_not_there(digits_run):
    (problem,) = Inversion(layers=["conv_1", "covn_2"]).problems(of_run(digits_run))

    assert problem.message == "`layers` names `covn_2`, and small has no such layer"
