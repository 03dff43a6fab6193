"""Claims on trained networks fail before the training, but for those that speak of something else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers import SHIPPED
from perturbed import untrained

from dlx.analysis import declared
from dlx.claims import verify
from dlx.experiment import runner
from dlx.spec import load

DECLARING = [name for name, path in sorted(SHIPPED.items()) if "\nanalyses:" in path.read_text()]
TRAINED = [name for name in DECLARING if any(one.of_trained for one in load(SHIPPED[name]).analyses.values())]
OTHERWISE = {
    "udl/landscape-plain: landscape/bumpiness": "of depth without skips; its twin is udl/landscape-residual",
    "udl/landscape-residual: landscape/bumpiness": "of skips; its twin is udl/landscape-plain",
    "udl/residual-54-digits: paths/share_of_paths": "binomial coefficients of 54 blocks; its twin is another depth",
    "zoo/inside-digits: gradients/completeness_error": "a theorem for any weights; its twin is one step on the line",
    "zoo/inside-digits: layers/input_error_conv_1": "of the size of a layer; its twin is a layer with a stride",
    "zoo/inside-digits: layers/input_error_linear_2": "of the size of a layer; its twin is the first layer",
    "zoo/label-mistakes: mistakes/noise": "of the data; its twin is data without noise",
}
"""Claims that hold whatever was learned, each with what it speaks of, and where it fails."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_claims_on_a_trained_network_fail_before_training(name, tmp_path):
    experiment = load(SHIPPED[name])
    optimizer = type(experiment.train.optimizer).kind
    drawn = ["init=lecun_normal"] if "init: zeros" in SHIPPED[name].read_text() else []
    still = ["~train.optimizer", f"+train.optimizer={{{optimizer}: {{lr: 1e-12}}}}"]
    changes = [*untrained(experiment), *still, *drawn]
    (one,) = verify.verify([SHIPPED[name]], changes)
    runs = [result.run for result in runner.run(load(SHIPPED[name], changes), tmp_path).results]
    judged = declared.judged(replace(one, runs=runs), training=True).receipts
    of_trained = [r for r in judged if r.claim.analysis and experiment.analyses[r.claim.analysis[0]].of_trained]
    standing = {f"{name}: {'/'.join(r.claim.analysis)}" for r in of_trained if r.verdict != "FAILS"}

    assert of_trained
    assert standing <= set(OTHERWISE), "claims that an untrained network meets as well"
