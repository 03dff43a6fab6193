"""A network that translates combinations of words which no training sentence has, and networks that cannot."""

from __future__ import annotations

import pytest
from helpers import SHIPPED

from dlx.experiment import runner
from dlx.spec import load

RIGHT, WRONG = 0.95, 0.2
"""Share of the held-out sentences that is right, and what a table of words does not reach either."""
OFF = ["track.mlflow=false"]


def exact_match(path, folder, *changes):
    return runner.run(load(path, [*OFF, *changes]), folder).results[0].metrics["test/exact_match"]


@pytest.mark.slow
def test_held_out_combinations_are_translated(tmp_path):
    assert exact_match(SHIPPED["zoo/translation"], tmp_path) > RIGHT


@pytest.mark.slow
def test_a_decoder_that_does_not_see_the_source_translates_nothing(tmp_path):
    text = SHIPPED["zoo/translation"].read_text()
    wired = "{query: decoder, key: encoder, value: words, key_padding_mask: source.padding}"
    assert wired in text
    path = tmp_path / "blind.yaml"
    layers = text.replace(wired, "{query: decoder, key: decoder, value: decoder}").replace(
        "num_heads: 2}", "num_heads: 2, is_causal: true}"
    )
    path.write_text(layers.partition("expect:")[0])
    assert exact_match(path, tmp_path) < WRONG


CHAINED = 0.39
"""Share of the test that tables of words chained over English get right (tests/data/test_translations.py)."""


@pytest.mark.slow
def test_a_pair_of_languages_without_any_sentence_is_translated(tmp_path):
    assert exact_match(SHIPPED["zoo/zero-shot"], tmp_path) > CHAINED


@pytest.mark.slow
def test_without_english_again_a_pair_without_any_sentence_is_not(tmp_path):
    pairs = "data.translations.pairs=[[portuguese, english], [english, spanish]]"
    assert exact_match(SHIPPED["zoo/zero-shot"], tmp_path, pairs) < 0.05


@pytest.mark.slow
def test_a_network_that_is_trained_on_the_pair_itself_translates_it(tmp_path):
    pairs = "data.translations.pairs=[[portuguese, spanish]]"
    assert exact_match(SHIPPED["zoo/zero-shot"], tmp_path, pairs) > RIGHT
