"""The claims of shipped specs on analyses hold: those that want no training, whose others stay `not run`."""

from __future__ import annotations

import pytest
from helpers import SHIPPED

from dlx.analysis import declared
from dlx.claims import verify

DECLARING = sorted(name for name, path in SHIPPED.items() if "\nanalyses:" in path.read_text())


@pytest.mark.parametrize("name", DECLARING)
def test_claims_on_analyses_hold(name):
    (one,) = verify.verify([SHIPPED[name]])
    analyses = one.experiment.analyses
    judged = [r for r in declared.judged(one).receipts if r.claim.analysis is not None]

    assert {r.claim.analysis[0] for r in judged} == set(analyses), "an analysis of which nothing is claimed"
    for receipt in judged:
        wanted = "not run" if analyses[receipt.claim.analysis[0]].after_training else "holds"
        assert receipt.verdict in {wanted, "book wrong"}, f"{receipt.claim.title}: {receipt.why}"


def test_a_claim_on_an_analysis_fails_where_a_weight_is_another():
    """Figure 3.3j with another slope of its first hidden unit: its joint moves."""
    change = "network.layers.linear_1.values.weight=[[-0.3],[-1.0],[0.7]]"
    (one,) = verify.verify([SHIPPED["udl/shallow-1-3-1"]], [change])
    verdicts = {r.claim.analysis[1]: r.verdict for r in declared.judged(one).receipts if r.claim.analysis}

    assert "FAILS" in verdicts.values(), verdicts
