"""Checkpoints are written beside the training: from a copy, one at a time, and what went wrong is told."""

import threading

import pytest
import torch
from safetensors.torch import load, save

from dlx.errors import NotWrittenError, RunError
from dlx.experiment import recorder, runner
from dlx.experiment.recorder import TrainingWarning
from dlx.spec import load as load_spec
from dlx.training.checkpoints import checkpoint, training_state
from dlx.training.checkpoints.background_writer import BackgroundWriter
from dlx.training.checkpoints.safetensors_pieces import digests, pieces

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [5], classes: 3, train: 64, valid: 16, test: 16}}
network: {layers: [linear: 8, tanh, linear: 3]}
train: {epochs: 10, batch_size: 16, optimizer: adam, log_every: 1}
track: {mlflow: false}
"""
ALL_TYPES = {
    "conv_1.weight": torch.arange(24.0).reshape(2, 3, 4),
    "größe": torch.tensor(3.5, dtype=torch.float64),
    "half": torch.tensor([1.5, -2], dtype=torch.float16),
    "brain": torch.tensor([1.5, -2, 0.25], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "short": torch.tensor([1, -1], dtype=torch.int16),
    "bytes": torch.arange(9, dtype=torch.uint8),
    "mask": torch.tensor([True, False]),
    "waves": torch.tensor([1 + 2j]),
    "empty": torch.zeros(0, 3),
}


def test_the_library_reads_every_type_that_is_written():
    data = b"".join(map(bytes, pieces(ALL_TYPES)))
    read = load(data)

    assert read.keys() == ALL_TYPES.keys()
    for name, tensor in ALL_TYPES.items():
        assert (read[name].dtype, read[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(read[name], tensor)
    assert len(data) == len(save(ALL_TYPES))


def test_the_library_would_have_written_the_same_bytes():
    tensors = {f"layer_{i}.weight": torch.randn(3, i) for i in range(1, 12)}
    assert b"".join(map(bytes, pieces(tensors))) == save(tensors)


def test_a_digest_is_of_type_shape_and_bits(tmp_path):
    found = []
    for tensor in (torch.zeros(6), torch.zeros(2, 3), torch.zeros(6, dtype=torch.int32), -torch.zeros(6)):
        (tmp_path / "a").write_bytes(b"".join(map(bytes, pieces({"a": tensor, "b": torch.ones(2)}))))
        found.append(digests(tmp_path / "a"))

    assert len({one["a"] for one in found}) == 4
    assert len({one["b"] for one in found}) == 1


def test_nothing_waits_for_a_writer_but_who_asks():
    gate, writer = threading.Event(), BackgroundWriter()
    writer.start(lambda: gate.wait(60))
    assert writer.busy
    gate.set()
    assert writer.wait()
    assert not writer.busy
    assert not writer.wait()


def test_what_went_wrong_is_raised_where_the_training_asks_and_once():
    def fails() -> None:
        raise RunError("no room")

    writer = BackgroundWriter()
    writer.start(fails)
    with pytest.raises(RunError, match="no room"):
        writer.wait()
    assert not writer.wait()


def run(tmp_path, text, callback):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return runner.run(load_spec(path), tmp_path / "runs", callback).results[0].run


def test_the_training_goes_on_while_a_checkpoint_is_written_from_what_was_then(tmp_path, monkeypatch):
    """The first one is held up until step 6 is done; its tensors are still those of step 1."""
    gate, wrote, write = threading.Event(), [], training_state.Snapshot.write

    def held_up(snapshot, folder):
        assert gate.wait(60)
        write(snapshot, folder)
        wrote.append((snapshot.step, checkpoint.read(folder, training_state.NAME.format(snapshot.step))[1]))

    def callback(event):
        if getattr(event, "record", "") == "step" and event.step == 6:
            gate.set()

    monkeypatch.setattr(recorder, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(training_state.Snapshot, "write", held_up)
    run(tmp_path, SPEC, callback)
    gate.set()
    first, *later = wrote
    assert first[0] == 1
    assert [step for step, _ in later] == sorted(step for step, _ in later if step >= 6)

    monkeypatch.undo()
    one = run(tmp_path, SPEC.replace("epochs: 10", "steps: 1, save_every: 1"), lambda _: None)
    _, tensors = checkpoint.read(one.dir / "checkpoints", "step-000000001")
    assert tensors.keys() == first[1].keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, first[1][name]), name


def test_a_spec_that_says_when_to_save_gets_every_checkpoint(tmp_path, monkeypatch):
    steps, write = [], training_state.Snapshot.write
    monkeypatch.setattr(
        training_state.Snapshot, "write", lambda one, folder: (steps.append(one.step), write(one, folder))
    )
    run(tmp_path, SPEC.replace("log_every: 1", "log_every: 1, save_every: 3"), lambda _: None)
    assert steps == [*range(3, 41, 3)]


def test_what_is_not_finite_ends_the_training_at_the_next_rest(tmp_path, monkeypatch):
    def bad(snapshot, folder):
        snapshot.tensors["linear_1.weight"][0, 0] = float("nan")
        checkpoint.write(folder, "bad", snapshot.tensors, snapshot.facts)

    monkeypatch.setattr(training_state.Snapshot, "write", bad)
    with pytest.raises(RunError, match=r"the weights of `linear_1.weight` are not finite"):
        run(tmp_path, SPEC.replace("log_every: 1", "log_every: 1, save_every: 3"), lambda _: None)


def test_the_memory_of_a_snapshot_is_taken_again(tmp_path, monkeypatch):
    places, write = [], training_state.Snapshot.write

    def noting(snapshot, folder):
        places.append({name: tensor.data_ptr() for name, tensor in snapshot.tensors.items()})
        write(snapshot, folder)

    monkeypatch.setattr(training_state.Snapshot, "write", noting)
    run(tmp_path, SPEC.replace("log_every: 1", "log_every: 1, save_every: 3"), lambda _: None)
    assert len(places) == 13
    assert places[1] == places[-1]


def test_a_disk_that_takes_no_checkpoint_is_reported_once_and_the_training_goes_on(tmp_path, monkeypatch):
    def full(snapshot, folder):
        raise NotWrittenError("the checkpoint could not be written to x: No space left on device")

    events = []
    monkeypatch.setattr(training_state.Snapshot, "write", full)
    done = run(tmp_path, SPEC.replace("log_every: 1", "log_every: 1, save_every: 3"), events.append)
    message = "the checkpoint could not be written to x: No space left on device; there is none before it"
    assert [one.message for one in events if isinstance(one, TrainingWarning)] == [message]
    assert (done.status(), done.end()["message"]) == ("finished", message)
