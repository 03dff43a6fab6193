"""What a training moves, to disk and back: by its parts, and as earlier versions wrote it."""

from pathlib import Path

import torch

from dlx.experiment import runner as experiments
from dlx.experiment import session
from dlx.spec import load
from dlx.training.checkpoints import training_state
from dlx.training.fit import fit

OLD = Path(__file__).parents[1] / "golden" / "states"
"""A state after 5 of 12 steps, all of it side by side, as it was written before it had parts."""


def test_a_state_without_parts_is_gone_on_from():
    prepared = experiments.prepare(load(OLD / "spec.yaml"))
    whole = session.job_of(prepared)
    records = [record for record in fit(whole) if record.record != "safe_point"]
    again = session.job_of(prepared)
    torch.manual_seed(99)
    facts, passed_over = training_state.restore(again, OLD)
    assert (facts["step"], passed_over) == (5, [])
    assert (again.progress.step, again.feed.epoch, again.feed.position) == (5, 3, 1)
    rest = [record for record in fit(again) if record.record != "safe_point"]
    assert [(r.record, r.step, r.epoch) for r in rest] == [(r.record, r.step, r.epoch) for r in records][-len(rest) :]
    for name, tensor in whole.network.state_dict().items():
        assert torch.allclose(tensor, again.network.state_dict()[name], atol=1e-6), name


def test_packed_states_that_were_taken_after_the_next_epoch_had_begun_are_of_the_one_before():
    flat = dict.fromkeys(("rate", "loss", "losses", "optimizer", "watch", "average", "stopping", "order", "random"))
    parts = training_state._upgraded({**flat, "step": 6, "epoch": 4, "position": 0})
    assert (parts["feed"]["epoch"], parts["feed"]["position"]) == (3, 0)
    assert training_state._upgraded({**flat, "step": 5, "epoch": 3, "position": 1})["feed"]["epoch"] == 3


def test_each_part_has_a_state_of_its_own():
    job = session.job_of(experiments.prepare(load(OLD / "spec.yaml")))
    assert {name: set(part) for name, part in training_state._state_of(job).items()} == {
        "learner": {"paces", "compute", "averages"},
        "feed": {"epoch", "position", "order"},
        "progress": {"step", "loss", "losses", "stopping", "random"},
    }


def test_what_a_kill_left_of_a_state_that_was_being_removed_goes_and_no_whole_one_does(tmp_path):
    for step in (1, 2, 3, 4):
        for suffix in (".json", ".safetensors"):
            (tmp_path / f"{training_state.NAME.format(step)}{suffix}").touch()
    (tmp_path / f"{training_state.NAME.format(2)}.json").unlink()  # its removal had begun
    (tmp_path / f"{training_state.NAME.format(4)}.json").unlink()  # it was being written, which a resumption tells
    training_state.remove_partial_files(tmp_path)
    assert sorted(path.name.lstrip("step-0") for path in tmp_path.iterdir()) == [
        *("1.json", "1.safetensors", "3.json", "3.safetensors", "4.safetensors"),
    ]
