"""`dlx.analyze`: what a notebook gets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dlx

TEXT = """
name: small
data: {synthetic: {shape: [6], classes: 3, train: 60, valid: 20, test: 20}}
network: {layers: [{linear: 8}, relu, {linear: 3}]}
train: {steps: 20, batch_size: 20, optimizer: {sgd: 0.1}}
track: {mlflow: false}
analyses: {scale: {activation_scale: {seeds: 2}}}
"""


def test_a_spec_and_a_run_are_looked_at(tmp_path):
    before = dlx.analyze("activation_scale", TEXT, options={"seeds": 3})
    run = dlx.train(TEXT, runs=tmp_path, quiet=True)
    after = dlx.analyze("activation_scale", run, runs=tmp_path)
    same = dlx.analyze("activation_scale", "small", runs=tmp_path)

    assert (before.result.seeds, after.result.seeds) == (3, 1)
    assert after.figures == same.figures
    assert after.figures != before.figures
    assert list(after.frame) == [str(title) for title in after.result.table[0]]
    assert list(after.frame["layer"]) == ["linear_1", "linear_2"]
    assert dlx.analyze("scale", TEXT).result.seeds == 2


def test_a_picture_is_saved_and_shown(tmp_path):
    found = dlx.analyze("scale", TEXT)
    for suffix in ("svg", "csv", "json"):
        found.save(tmp_path / f"a.{suffix}")

    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    assert "<svg" in found._repr_html_()
    assert repr(found).startswith("<dlx.AnalysisResult scale of small: ")


def test_the_generators_of_the_caller_stay_as_they_are():
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1]
    dlx.analyze("scale", TEXT)

    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_mistakes_are_sentences(tmp_path):
    with pytest.raises(dlx.DlxError, match="there is no run `nowhere`"):
        dlx.analyze("activation_scale", "nowhere", runs=tmp_path)
    with pytest.raises(dlx.DlxError, match="`checkpoint` is of runs"):
        dlx.analyze("activation_scale", TEXT, checkpoint="final")
    with pytest.raises(dlx.SpecError, match="has no field `sedes`"):
        dlx.analyze("activation_scale", TEXT, options={"sedes": 2})
    with pytest.raises(dlx.DlxError, match="there is nothing to look at"):
        dlx.analyze("activation_scale", [])
