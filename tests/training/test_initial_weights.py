"""Weights from elsewhere: what is taken, from which sources, and what does not fit."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import dlx
from dlx.errors import DlxError, DlxWarning, SpecError
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.trained import prove_resume, reproduce

SPEC = """\
dlx: 1
name: NAME
data: {synthetic: {shape: [1, 6, 6], classes: CLASSES, train: 96, valid: 32}}
network:
  layers:
    - {name: trunk, layers: [{conv: {out_channels: 3, kernel_size: 3}}, batch_norm, relu]}
    - flatten
    - {linear: CLASSES, name: head}
train: {epochs: 2, batch_size: 32, log_every: 1}
track: {mlflow: false}
"""


def spec(tmp_path, more="", name="fine", classes=4):
    path = tmp_path / f"{name}.yaml"
    path.write_text(SPEC.replace("NAME", name).replace("CLASSES", str(classes)) + more)
    return path


@pytest.fixture
def source(tmp_path):
    """A trained run, and its weights."""
    run = runner.run(load(spec(tmp_path, name="base")), tmp_path / "runs").results[0].run
    return run, load_file(run.dir / "checkpoints" / "final.safetensors")


def start_of(path, *overrides):
    """The weights that a training of a spec starts from."""
    return dlx.build(path, list(overrides)).state_dict()


def problems(path):
    with pytest.raises(SpecError) as told:
        runner.prepare(load(path))
    return told.value.problems


def test_all_of_a_run_is_taken_and_without_it_nothing_is(tmp_path, source):
    run, weights = source
    taken = start_of(spec(tmp_path, f"weights: {{from: {run.dir}}}\n"))
    untaken = start_of(spec(tmp_path))
    assert taken.keys() == weights.keys()
    assert all(torch.equal(taken[name], weights[name]) for name in weights)
    assert not torch.equal(untaken["head.weight"], weights["head.weight"])


@pytest.mark.parametrize("more", ["only: [trunk]", "skip: [head]", "only: ['trunk/*']", "skip: ['head/*']"])
def test_a_head_that_is_left_out_is_drawn_as_init_draws_it(tmp_path, source, more):
    run, weights = source
    path = spec(tmp_path, f"weights: {{from: {run.dir}, {more}}}\n", classes=7)
    taken, drawn = start_of(path), start_of(spec(tmp_path, name="plain", classes=7))
    assert torch.equal(taken["trunk.conv_1.weight"], weights["trunk.conv_1.weight"])
    assert torch.equal(taken["trunk.batch_norm_1.running_var"], weights["trunk.batch_norm_1.running_var"])
    assert torch.equal(taken["head.weight"], drawn["head.weight"])


def test_a_state_dict_of_torch_is_taken_by_a_map_of_its_names(tmp_path, source):
    _, weights = source
    names = {"trunk.conv_1": "features.0", "trunk.batch_norm_1": "features.1", "head": "fc"}
    theirs = {f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": one for name, one in weights.items()}
    del theirs["features.1.num_batches_tracked"]  # files of torch before 0.4.1 have none
    torch.save({"epoch": 3, "state_dict": {name: one.half() for name, one in theirs.items()}}, tmp_path / "net.pth")
    how = "key: state_dict, map: {features.0: trunk/conv_1, features.1: trunk.batch_norm_1, fc: head}"
    taken = start_of(spec(tmp_path, f"weights: {{from: net.pth, {how}}}\n"))
    assert taken["head.weight"].dtype == torch.float32
    assert torch.equal(taken["head.weight"], weights["head.weight"].half().float())
    assert torch.equal(taken["trunk.batch_norm_1.running_mean"], weights["trunk.batch_norm_1.running_mean"].half())


def test_a_prefix_of_all_names_is_taken_off_by_an_empty_name(tmp_path, source):
    _, weights = source
    save_file({f"module.{name}": one for name, one in weights.items()}, tmp_path / "parallel.safetensors")
    taken = start_of(spec(tmp_path, "weights: {from: parallel.safetensors, map: {module: ''}}\n"))
    assert all(torch.equal(taken[name], weights[name]) for name in weights)


def test_everything_that_does_not_fit_is_told_at_once_with_both_shapes(tmp_path, source):
    _, weights = source
    there = {name: one for name, one in weights.items() if name != "trunk.conv_1.bias"}
    there["trunk.conv.bias"] = weights["trunk.conv_1.bias"]
    save_file(there, tmp_path / "other.safetensors")
    path = spec(tmp_path, "weights: {from: other.safetensors}\n", classes=5)
    told = {problem.message: problem for problem in problems(path)}
    nearest = "nearest is `trunk/conv_1/bias` of shape (3,)"
    assert list(told) == [
        "the source has nothing for `trunk/conv_1/bias` of shape (3,). Nearest is `trunk.conv.bias`, (3,)",
        "`head/weight` has shape (5, 48), and `head.weight` of the source (4, 48)",
        "`head/bias` has shape (5,), and `head.bias` of the source (4,)",
        f"the source has `trunk.conv.bias` of shape (3,), which nothing here takes, {nearest}",
    ]
    first, head, _, last = told.values()
    assert (first.mark.line, head.mark.line, last.mark.line) == (6, 8, 11)
    assert first.hint.startswith("`map: {trunk.conv: trunk/conv_1}` takes that, `skip: [trunk/conv_1]` leaves it")
    assert head.hint == "`skip: [head]` leaves it as `init` draws it."


def test_of_another_network_only_the_first_mistakes_are_told_and_their_number(tmp_path):
    save_file({f"layer{i}.weight": torch.zeros(3) for i in range(40)}, tmp_path / "other.safetensors")
    found = problems(spec(tmp_path, "weights: {from: other.safetensors}\n"))
    assert len(found) == 21
    assert found[-1].message == "28 further tensors of the source or of the network fit nothing"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("{from: nothing.pt}", "there is no file or run `nothing.pt`"),
        ("{from: RUN, checkpoint: best-1}", "RUN has no checkpoint `best-1`"),
        ("{from: RUN, only: [tronk]}", "`weights.only` matches no weight: `tronk`"),
        ("{from: RUN, skip: [head, tail]}", "`weights.skip` matches no weight: `tail`"),
        ("{from: RUN, map: {fc: head}}", "`weights.map` names `fc`, and the source has no such tensor or module"),
        ("{from: torn.safetensors}", "HERE/torn.safetensors is no safetensors file"),
        ("{from: net.pt}", "HERE/net.pt holds no state dict: it has model, epoch"),
        ("{from: code.pt}", "HERE/code.pt is no state dict that torch reads without running code: it holds more"),
        ("some/run", "`weights` must be a mapping, not \"some/run\""),
        ("{only: [head]}", "`from` is missing"),
        ("{from: RUN, layers: [head]}", "`weights` has no field `layers`"),
    ],
)  # fmt: skip
def test_a_wrong_source_or_pattern_is_a_sentence(tmp_path, source, more, message):
    run, _ = source
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    torch.save({"model": {}, "epoch": 3}, tmp_path / "net.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "code.pt")
    found = problems(spec(tmp_path, f"weights: {more.replace('RUN', str(run.dir))}\n"))
    texts = [one.message.replace(str(run.dir), "RUN").replace(str(tmp_path), "HERE") for one in found]
    assert any(text.startswith(message) for text in texts), texts
    assert found[0].mark.line == 11


def test_weights_that_are_not_finite_are_refused_before_the_first_step(tmp_path, source):
    _, weights = source
    save_file(weights | {"head.bias": torch.full((4,), torch.nan)}, tmp_path / "nan.safetensors")
    with pytest.raises(SpecError, match=r"nan.safetensors has weights that are not finite: `head.bias`"):
        start_of(spec(tmp_path, "weights: {from: nan.safetensors}\n"))


def test_values_and_weights_of_one_tensor_are_a_mistake(tmp_path, source):
    run, _ = source
    path = spec(tmp_path, f"weights: {{from: {run.dir}}}\n")
    path.write_text(path.read_text().replace("name: head}", "name: head, values: {bias: 0}}"))
    (told,) = problems(path)
    assert told.message == "`head/bias` is set by `values` (line 8) and by `weights`"
    path.write_text(path.read_text().replace("weights: {", "weights: {skip: [head/bias], "))
    taken = start_of(path)
    assert taken["head.bias"].tolist() == [0, 0, 0, 0]


def test_lsuv_leaves_what_is_taken_and_scales_the_rest(tmp_path, source):
    run, weights = source
    path = spec(tmp_path, f"init: lsuv\nweights: {{from: {run.dir}, only: [trunk]}}\ntrain: {{steps: 1}}\n", name="b")
    path.write_text(path.read_text().replace("train: {epochs: 2, batch_size: 32, log_every: 1}\n", ""))
    ended = runner.run(load(path, ["train.optimizer={sgd: 1e-30}"]), tmp_path / "runs").results[0].run
    after = load_file(ended.dir / "checkpoints" / "final.safetensors")
    assert torch.equal(after["trunk.conv_1.weight"], weights["trunk.conv_1.weight"])
    with pytest.warns(DlxWarning, match="not fitted yet"):
        drawn = start_of(path)["head.weight"]
    assert not torch.equal(after["head.weight"], drawn)


def test_the_lock_has_the_digest_and_a_run_goes_on_without_the_source(tmp_path, source):
    run, _ = source
    started = runner.run(load(spec(tmp_path), ["++weights.from=base"]), tmp_path / "runs").results[0].run
    facts = json.loads((run.dir / "checkpoints" / "final.json").read_text())
    assert started.lock()["weights"]["digest"] == facts["sha256"]
    assert load(started.file("spec.yaml")).weights.source == str(run.dir)
    assert reproduce.reproduce(started, tmp_path / "runs").verdict == "bitwise equal"
    taken = load_file(run.dir / "checkpoints" / "final.safetensors")
    shutil.rmtree(run.dir)
    with pytest.raises(DlxError, match="there is no file or run"):
        reproduce.reproduce(started, tmp_path / "runs")
    # another file at the place of the source is not the source
    save_file(taken | {"head.bias": torch.ones(4)}, run.dir.with_suffix(".safetensors"))
    text = started.file("spec.yaml").read_text().replace(str(run.dir), f"{run.dir}.safetensors")
    started.write_text("spec.yaml", text)
    with pytest.raises(DlxError, match=r"the source of the weights of .* has changed: its digest was"):
        reproduce.reproduce(RunFolder(started.dir), tmp_path / "runs")


def test_a_run_that_was_stopped_goes_on_when_its_source_is_gone(tmp_path, source):
    run, _ = source

    def stop(event):
        if getattr(event, "record", "") == "step" and event.step == 4:
            raise KeyboardInterrupt

    whole = runner.run(load(spec(tmp_path), ["++weights.from=base", "+train.save_every=1"]), tmp_path / "runs")
    stopped = runner.run(
        load(spec(tmp_path), ["++weights.from=base", "+train.save_every=1"]), tmp_path / "runs", stop
    )
    assert stopped.results[0].status == "stopped"
    shutil.rmtree(run.dir)
    _, ended = runner.resume(stopped.results[0].run)
    assert ended.results[0].run.lock()["weights"] == whole.results[0].run.lock()["weights"]
    one, other = (load_file(r.results[0].run.dir / "checkpoints/final.safetensors") for r in (whole, ended))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_without_a_state_refuses_another_source_each_time(tmp_path, source):
    run, weights = source
    file = tmp_path / "start.safetensors"
    shutil.copy(run.dir / "checkpoints" / "final.safetensors", file)

    def stop(event):
        if getattr(event, "record", "") == "step" and event.step == 4:
            raise KeyboardInterrupt

    stopped = runner.run(load(spec(tmp_path), [f"++weights.from={file}"]), tmp_path / "runs", stop).results[0].run
    shutil.rmtree(stopped.dir / "checkpoints")  # as where the process ended before a state was whole
    before = stopped.lock()
    save_file(weights | {"head.bias": torch.ones(4)}, file)
    for _ in range(2):  # the first refusal leaves the digest in the lock
        with pytest.raises(DlxError, match=r"the source of the weights of .* has changed: its digest was"):
            runner.resume(RunFolder(stopped.dir))
        assert RunFolder(stopped.dir).lock() == before


def test_seeds_side_by_side_start_from_the_same_weights_and_differ_in_what_is_drawn(tmp_path, source):
    run, weights = source
    path = spec(tmp_path, f"weights: {{from: {run.dir}, only: [trunk]}}\n")
    changes = ["train.optimizer={sgd: 1e-30}", "++train.seeds=2"]
    results = runner.run(load(path, changes), tmp_path / "runs").results
    assert all(one.run.lock()["packed"] for one in results)
    ends = [load_file(one.run.dir / "checkpoints" / "final.safetensors") for one in results]
    assert all(torch.equal(end["trunk.conv_1.weight"], weights["trunk.conv_1.weight"]) for end in ends)
    assert not torch.equal(ends[0]["head.weight"], ends[1]["head.weight"])


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(tmp_path, source):
    run, _ = source
    path = spec(tmp_path, f"weights: {{from: {run.dir}, only: [trunk]}}\n")
    with prove_resume.retained_on_failure() as home:
        assert prove_resume.prove(path, ["++train.seeds=2"], home, kills=2, steps=6).equal
