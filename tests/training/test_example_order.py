"""`shuffle: false` walks the training part in its own order: alone, packed, streamed, and after a stop."""

import pytest
import torch
from helpers import experiment_of

from dlx.experiment import runner as experiments
from dlx.experiment import session
from dlx.training.batches.prefetch import streamed
from dlx.training.checkpoints import training_state
from dlx.training.fit import Job, fit
from dlx.training.packed.together import fit_together

SPEC = """
dlx: 1
data: {synthetic: {shape: [3], classes: 2, train: 20, valid: null, test: null}}
network: {layers: [{linear: 2}]}
train: {epochs: 2, batch_size: 6, shuffle: false, seed: SEED, log_every: 1, optimizer: {sgd: 1e-30}, device: cpu}
"""
CPU = torch.device("cpu")


def job(seed=0, streams=False) -> Job:
    one = experiment_of(SPEC.replace("SEED", str(seed)))
    made = experiments.prepare(one)
    parts = {"train": streamed(made.sets.train, CPU)} if streams else None
    return session.job_of(made, parts=parts)


def losses(records) -> list[float]:
    return [record.metrics["train/running_loss"] for record in records if record.record == "step"]


def in_order(one: Job) -> list[float]:
    """The mean loss of examples 0 to 5, 6 to 11, 12 to 17, and of the last two; and so again."""
    x, y = one.parts["train"].x[:20], one.parts["train"].y[:20]
    with torch.no_grad():
        each = torch.nn.functional.cross_entropy(one.network(x), y, reduction="none")
    return [float(each[i : i + 6].mean()) for i in (0, 6, 12, 18)] * 2


@pytest.mark.parametrize("streams", [False, True])
def test_alone(streams):
    one = job(streams=streams)
    assert losses(fit(one)) == pytest.approx(in_order(one), rel=1e-6)
    assert len(set(in_order(one))) == 4


def test_packed():
    jobs = [job(seed) for seed in range(3)]
    events = list(fit_together(jobs))
    for number, one in enumerate(jobs):
        own = [event for which, event in events if which == number]
        assert losses(own) == pytest.approx(in_order(one), rel=1e-6)


@pytest.mark.parametrize("halt", [2, 4, 5])
def test_after_a_stop(tmp_path, halt):
    one, other = job(), job()
    one.progress.until = halt
    before = losses(fit(one))
    training_state.snapshot(one, {"step": halt}, {}).write(tmp_path)
    training_state.restore(other, tmp_path)
    assert before + losses(fit(other)) == pytest.approx(in_order(other), rel=1e-6)
