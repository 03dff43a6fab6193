"""Style without content, content without style, and both."""

import pytest
from helpers import experiment_of

from dlx.analysis.kinds.style_transfer import StyleTransfer
from dlx.analysis.subject import of_run, of_spec
from dlx.errors import DlxError

LAYERS = {"content_layer": "conv_1", "style_layers": ["conv_1", "max_pool_1"], "steps": 100}


def test_the_style_comes_over_and_most_of_the_content_stays(digits_run):
    found = StyleTransfer(**LAYERS).run(of_run(digits_run))

    assert found.figures["style_left"] < 0.5
    assert 0 < found.figures["content_error"] < 0.5
    assert [words for words, _ in found.panels[0].marks[0].pictures] == ["content", "style", "made of both"]


def test_without_weight_nothing_of_the_style_comes_over(digits_run):
    """The twin: the picture stays what it is."""
    figures = StyleTransfer(**LAYERS, style_weight=0).run(of_run(digits_run)).figures

    assert figures["content_error"] < 1e-6
    assert figures["style_left"] > 0.99


def test_the_larger_the_weight_the_closer_the_style(digits_run):
    few, much = (StyleTransfer(**LAYERS, style_weight=w).run(of_run(digits_run)).figures for w in (0.1, 100))

    assert much["style_error"] < few["style_error"]
    assert much["content_error"] > few["content_error"]


def test_a_picture_has_its_own_style(digits_run):
    figures = StyleTransfer(**LAYERS, content=2, style=2).run(of_run(digits_run)).figures

    assert figures["style_before"] == 0
    assert figures["style_left"] == 0


def test_layers_without_maps_and_examples_that_are_not_there(digits_run):
    subject = of_run(digits_run)

    assert StyleTransfer(style_layers=["linear_1"]).problems(subject)[0].message == "`linear_1` has no maps"
    assert "Did you mean `conv_1`" in StyleTransfer(content_layer="conv").problems(subject)[0].hint
    dense = of_spec(experiment_of("name: dense\nnetwork: {inputs: [4], layers: [{linear: 3}]}"))
    assert StyleTransfer().problems(dense)[0].message == "dense has no layer with maps"
    with pytest.raises(DlxError, match="there is no example 9,999 in the 359 of small") as raised:
        StyleTransfer(style=9999).run(subject)
    assert "from 0 to 358" in str(raised.value)
