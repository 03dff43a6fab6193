"""Every shipped spec that trains tells the same curve, whether its steps are replayed or taken under autograd."""

import pytest
from helpers import SHIPPED, TRAINED

from dlx.experiment import runner as experiments
from dlx.experiment import session
from dlx.graph import trace
from dlx.spec import Experiment, load
from dlx.training import device
from dlx.training.fit import Record, fit

STEPS = 40
"""Recorded after 3, compared in 2, timed in 24, and replayed in the rest."""
QUICK = {"cs231n/two-layer-adam", "digits/lenet", "udl/mnist1d-dense"}


def cut(name: str) -> Experiment:
    """A shipped spec for a few steps, on drawn data of its shape where it leaves the data to the user."""
    found = load(SHIPPED[name])
    assert found.train is not None
    changes = [f"++train.steps={STEPS}", "++train.seeds=1", "++train.log_every=1", "++train.device=cpu"]
    changes += [f"++train.evaluate_every={STEPS}"]
    changes += ["~train.epochs"] if found.train.epochs is not None else []
    changes += ["~expect"] if found.root.at("expect") is not None else []
    if found.data is None:
        graph = trace(found)
        (shape,), output = graph.inputs.values(), graph.output_shape()
        has_values = found.objective is not None and found.objective.measures == "values"
        targets = f"target: {list(output)}" if has_values else f"classes: {output[0]}"
        changes += [f"++data={{synthetic: {{shape: {list(shape)}, {targets}, train: 256, valid: null, test: null}}}}"]
    return load(SHIPPED[name], changes)


def curve(one: Experiment, way: str) -> tuple[list[Record], dict[str, str]]:
    """What a training tells on the way and at its end, and how its steps were taken."""
    one = one.changed([f"++train.trace={way}"])
    made = experiments.prepare(one)
    job = session.job_of(made)
    return [record for record in fit(job) if record.record != "safe_point"], job.learner.way


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TRAINED]
)
def test_the_curve_is_that_of_the_plain_steps_to_the_bit(name):
    one = cut(name)
    with device.threads(1):
        (wanted, plain), (found, way) = (curve(one, how) for how in ("false", "true"))
    assert plain.get("step", "plain") == "plain"  # nothing is chosen for an optimizer that takes the loss
    assert found == wanted
    # a stage has a length of its own
    assert len([record for record in found if record.record == "step"]) in (STEPS * n for n in (1, 2, 3))
    if name in QUICK:
        assert way["step"] == "replayed"
