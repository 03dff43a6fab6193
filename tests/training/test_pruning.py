"""Weights that are held at zero: the masks are torch's own, and nothing moves what they hold."""

import pytest
import torch
from helpers import experiment_of
from safetensors.torch import load_file
from torch.nn.utils import prune as torch_prune

from dlx.errors import SpecError
from dlx.experiment import runner, session
from dlx.graph import trace
from dlx.network import build
from dlx.optim import OPTIMIZERS
from dlx.training.batches.data_part import DataPart
from dlx.training.checkpoints import training_state
from dlx.training.fit import updates
from dlx.training.prepared import prepare

SPEC = """\
name: p
data: {synthetic: {shape: [6], classes: 3, train: 96, valid: 32}}
network:
  layers:
    - {name: trunk, layers: [{linear: 16}, batch_norm, relu, {dropout: 0.3}]}
    - {name: body, layers: [{linear: 8}, tanh]}
    - {linear: 3, name: head}
prune: PRUNE
train: {epochs: 4, batch_size: 16, save_every: 1, log_every: 1}
track: {mlflow: false}
"""
HALF = "{fraction: 0.5}"
WEIGHTS = ("trunk.linear_1.weight", "body.linear_1.weight", "head.weight")
SIZES = {"trunk.linear_1.weight": 96, "body.linear_1.weight": 128, "head.weight": 24}
CONV = "name: c\nnetwork: {inputs: [1, 8, 8], layers: [LAYERS]}\nprune: PRUNE\n"


def spec(prune=HALF, *changes):
    return experiment_of(SPEC.replace("PRUNE", prune)).changed(changes)


def trained(tmp_path, *args, callback=None):
    """The folder of a training."""
    return runner.run(spec(*args), tmp_path / "runs", callback).results[0].run.dir


def final(folder):
    return load_file(folder / "checkpoints" / "final.safetensors")


def stopped_after(step):
    def callback(event):
        if getattr(event, "record", "") == "step" and event.step == step:
            raise KeyboardInterrupt

    return callback


def stopped_in(stage, step):
    begun = []

    def callback(event):
        begun.append(getattr(event, "stage", ""))
        if stage in begun and getattr(event, "record", "") == "step" and event.step == step:
            raise KeyboardInterrupt

    return callback


def start(experiment):
    """The job of a spec before its first step, and its network as `init` draws it."""
    torch.manual_seed(experiment.train.seed)
    whole = build(trace(experiment))
    return session.job_of(prepare(experiment)), whole


def zeros(tensors):
    return {name: tensors[name] == 0 for name in WEIGHTS}


# --- the masks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5, 0.83, 0.96])
def test_masks_by_layer_are_those_of_l1_unstructured(fraction):
    job, whole = start(spec(f"{{fraction: {fraction}}}"))
    for name in WEIGHTS:
        module, _, inner = name.rpartition(".")
        torch_prune.l1_unstructured(whole.get_submodule(module), inner, amount=fraction)
        assert torch.equal(job.network.get_parameter(name), whole.get_submodule(module).weight), name


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_masks_over_all_are_those_of_global_unstructured(fraction):
    job, whole = start(spec(f"{{fraction: {fraction}, scope: global}}"))
    pairs = [(whole.get_submodule(name.rpartition(".")[0]), "weight") for name in WEIGHTS]
    torch_prune.global_unstructured(pairs, torch_prune.L1Unstructured, amount=fraction)
    for name, (module, _) in zip(WEIGHTS, pairs, strict=True):
        assert torch.equal(job.network.get_parameter(name), module.weight), name


@pytest.mark.parametrize(("fraction", "scope"), [(0.5, "layer"), (0.9, "global")])
def test_ties_are_pruned_as_torch_prunes_them(fraction, scope):
    equal = SPEC.replace("PRUNE", f"{{fraction: {fraction}, scope: {scope}, match: body}}")
    job, whole = start(experiment_of(equal.replace("{linear: 8}, tanh", "{linear: 8, values: {weight: 0.5}}, tanh")))
    module = whole.body.linear_1
    torch_prune.l1_unstructured(module, "weight", amount=fraction)
    assert torch.equal(job.network.body.linear_1.weight, module.weight)


@pytest.mark.parametrize(
    ("layers", "axis"),
    [("{conv: {out_channels: 8, kernel_size: 3}}", 0), ("{conv_transpose: {out_channels: 8, kernel_size: 3}}", 1)],
)
def test_filters_are_pruned_by_their_norm_as_by_ln_structured(layers, axis):
    text = CONV.replace(
        "LAYERS",
        f"{{conv: 4}}, {layers}, flatten, {{linear: 3}}".replace(
            "{conv: 4}", "{conv: {out_channels: 4, kernel_size: 1}}"
        ),
    )
    data = "data: {synthetic: {shape: [1, 8, 8], classes: 3, train: 32, valid: 8}}\ntrain: {epochs: 1}\n"
    text = text.replace("inputs: [1, 8, 8], ", "").replace("PRUNE", "{fraction: 0.6, by: filters, skip: [linear_1]}")
    experiment = experiment_of(text + data)
    job, whole = start(experiment)
    node = next(n for n in trace(experiment).nodes[1:] if n.pruned)
    module = whole.get_submodule(node.name)
    torch_prune.ln_structured(module, "weight", amount=0.6, n=2, dim=axis)
    pruned = job.network.get_parameter(f"{node.name}.weight")
    assert torch.equal(pruned, module.weight)
    assert int((pruned == 0).sum()) == node.pruned == 5 * pruned.numel() // 8
    other = tuple(i for i in range(pruned.dim()) if i != axis)
    assert sorted((pruned == 0).all(dim=other).tolist()) == [False] * 3 + [True] * 5


def test_random_masks_have_the_counts_of_the_others_and_do_not_follow_the_first_weights():
    by_size, whole = start(spec())
    drawn, _ = start(spec("{fraction: 0.5, by: random}"))
    again, _ = start(spec("{fraction: 0.5, by: random}"))
    other, _ = start(spec("{fraction: 0.5, by: random}", "+train.seed=1"))
    for name in WEIGHTS:
        masks = [job.network.get_parameter(name) == 0 for job in (by_size, drawn, again, other)]
        assert len({int(mask.sum()) for mask in masks}) == 1
        assert torch.equal(masks[1], masks[2])
        assert not torch.equal(masks[1], masks[3])
    first = whole.get_parameter(WEIGHTS[1]).flatten()
    kept = (drawn.network.get_parameter(WEIGHTS[1]) != 0).flatten().float()
    # 128 values: |r| < 0.3 with a probability of 0.9994. From the stream of the weights themselves r is 0.87
    assert abs(torch.corrcoef(torch.stack([first, kept]))[0, 1]) < 0.3


def test_what_draws_after_the_masks_draws_as_without_them(tmp_path):
    start(spec("{fraction: 0.5, by: random}"))
    with_masks = torch.rand(4)
    start(spec("null"))
    assert torch.equal(with_masks, torch.rand(4))


# --- what holds them ------------------------------------------------------------------------------------------------


BY_GRADIENT = sorted(kind for kind in OPTIMIZERS if OPTIMIZERS[kind].takes == "gradient")


@pytest.mark.parametrize("kind", [*BY_GRADIENT, "lbfgs"])
def test_what_is_pruned_stays_zero_under_every_optimizer_with_momentum_and_decay(kind):
    wanted = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, "temperature": 1e-6}
    options = {name: value for name, value in wanted.items() if name in OPTIMIZERS[kind].model_fields}
    made = ", ".join(f"{name}: {value}" for name, value in options.items())
    size = ["~train.batch_size"] if OPTIMIZERS[kind].only_whole else []
    job, _ = start(spec(HALF, f"train.optimizer={{{kind}: {{{made}}}}}", "train.epochs=12", *size))
    before = {name: job.network.get_parameter(name).detach().clone() for name in WEIGHTS}
    losses = []
    for _ in zip(range(12), updates(job, losses), strict=False):
        for name in WEIGHTS:
            now = job.network.get_parameter(name)
            assert not now[before[name] == 0].any(), name
    assert all(not torch.equal(job.network.get_parameter(name), before[name]) for name in WEIGHTS)


def test_a_training_is_that_of_torchs_own_masks_bit_by_bit(monkeypatch):
    changes = ("train.optimizer={sgd: {lr: 0.1, momentum: 0.9}}", "+train.clip_norm=0.3", "~network.layers.0")
    experiment = spec("{fraction: 0.7}", *changes)
    job, whole = start(experiment)
    modules = [whole.body.linear_1, whole.head]
    for module in modules:
        torch_prune.l1_unstructured(module, "weight", amount=0.7)
    weights = [p for module in modules for p in (module.weight_orig, module.bias)]
    optimizer, taken, take = torch.optim.SGD(weights, 0.1, momentum=0.9, fused=True), [], DataPart.take
    monkeypatch.setattr(DataPart, "take", lambda part, index: taken.append(index.clone()) or take(part, index))
    for _ in updates(job, []):
        pass
    for index in taken:
        optimizer.zero_grad()
        batch = take(job.feed.part, index)
        torch.nn.functional.cross_entropy(whole(batch.inputs[0]), batch.y).backward()
        torch.nn.utils.clip_grad_norm_(weights, 0.3)
        optimizer.step()
    assert len(taken) == 24
    for name in WEIGHTS[1:]:
        module = whole.get_submodule(name.rpartition(".")[0])
        assert torch.equal(job.network.get_parameter(name), module.weight_orig * module.weight_mask), name


@pytest.mark.parametrize("optimizer", ["adam", "{sgd: {lr: 0.1, momentum: 0.9}}", "rmsprop", "muon"])
def test_replayed_or_not_the_bits_are_the_same(tmp_path, optimizer):
    changes = ["train.epochs=8", f"train.optimizer={optimizer}"]
    plain, replayed = (trained(tmp_path, HALF, *changes, f"+train.trace={on}") for on in ("false", "true"))
    assert '"step": "replayed"' in (replayed / "lock.json").read_text()
    one, other = final(plain), final(replayed)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert {name: int(mask.sum()) for name, mask in zeros(other).items()} == {n: s // 2 for n, s in SIZES.items()}


@pytest.mark.parametrize("average", ["{ema: 0.9}", "swa", "polyak"])
def test_averages_have_the_zeros_too(tmp_path, average):
    found = final(trained(tmp_path, HALF, f"+train.average={average}"))
    assert {name: int(mask.sum()) for name, mask in zeros(found).items()} == {n: s // 2 for n, s in SIZES.items()}


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("step", [5, 12, 23])
def test_stopped_at_any_moment_it_goes_on_to_the_same_bits(tmp_path, step, scope):
    prune = f"{{fraction: 0.6, scope: {scope}}}"
    whole = final(trained(tmp_path, prune))
    cut = runner.run(spec(prune), tmp_path / "runs", stopped_after(step)).results[0]
    assert cut.status == "stopped"
    _, ended = runner.resume(cut.run)
    again = final(ended.results[0].run.dir)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_state_without_its_masks_is_none_of_this_training(tmp_path):
    cut = runner.run(spec("null"), tmp_path / "runs", stopped_after(5)).results[0]
    job = session.job_of(prepare(spec()))
    with pytest.raises(Exception, match="it lacks pruning"):
        training_state.restore(job, cut.run.dir / "checkpoints")


def test_frozen_weights_are_pruned_and_stay_and_move_within_their_masks(tmp_path):
    freeze = "+freeze=[{match: body, until: {epoch: 2}}, head]"
    job, _ = start(spec(HALF, freeze))
    at_start = {name: one.detach().clone() for name, one in job.network.named_parameters()}
    found = final(trained(tmp_path, HALF, freeze))
    for name in WEIGHTS:
        assert int((found[name] == 0).sum()) == SIZES[name] // 2
    assert torch.equal(found["head.weight"], at_start["head.weight"])
    assert not torch.equal(found["body.linear_1.weight"], at_start["body.linear_1.weight"])


def test_shared_and_tied_weights_are_pruned_once_in_all_their_places():
    text = """\
data: {synthetic: {shape: [8], classes: 8, train: 64, valid: 16}}
network:
  layers: [{linear: 8, name: one}, relu, {share: one, name: two}, {linear: {out_features: 8}, tie: one, name: back}]
prune: {fraction: 0.25}
train: {epochs: 1, batch_size: 16}
"""
    experiment = experiment_of(text)
    graph = trace(experiment)
    assert graph.pruned == 16
    job, _ = start(experiment)
    assert int((job.network.one.weight == 0).sum()) == 16


# --- seeds side by side ---------------------------------------------------------------------------------------------


BEHIND_A_NORM = {"trunk.linear_1.bias", "trunk.batch_norm_1.running_mean"}
"""A batch norm takes the bias before it away: its gradient is rounding noise, which Adam makes steps of the rate of,
with or without masks. The running mean follows it, and the output of the norm has neither."""


@pytest.mark.parametrize(
    ("scope", "optimizer", "noise"),
    [("layer", "{sgd: {lr: 0.05, momentum: 0.9}}", set()), ("global", "adam", BEHIND_A_NORM)],
)
def test_seeds_side_by_side_have_masks_of_their_own_and_are_those_of_each_alone(tmp_path, scope, optimizer, noise):
    prune, by = f"{{fraction: 0.5, scope: {scope}}}", f"train.optimizer={optimizer}"
    alone = [final(trained(tmp_path, prune, by, f"+train.seed={seed}")) for seed in (0, 1)]
    packed = runner.run(spec(prune, by, "+train.seeds=2"), tmp_path / "runs").results
    assert all(one.run.lock()["way"]["step"] == "packed" for one in packed)
    together = [final(one.run.dir) for one in packed]
    for mine, one in zip(alone, together, strict=True):
        for name, value in mine.items():
            assert name in noise or torch.allclose(value, one[name], rtol=1e-4, atol=1e-5), name
        assert all(torch.equal(a, b) for a, b in zip(zeros(mine).values(), zeros(one).values(), strict=True))
    assert not torch.equal(*(zeros(one)[WEIGHTS[1]] for one in together))


def test_packed_seeds_that_are_stopped_go_on_to_the_same_bits(tmp_path):
    whole = [final(one.run.dir) for one in runner.run(spec(HALF, "+train.seeds=2"), tmp_path / "runs").results]
    cut = runner.run(spec(HALF, "+train.seeds=2"), tmp_path / "runs", stopped_after(9)).results
    for mine, one in zip(whole, cut, strict=True):
        _, ended = runner.resume(one.run)
        again = final(ended.results[0].run.dir)
        assert all(torch.equal(mine[name], again[name]) for name in mine)


# --- stages and rewinding -------------------------------------------------------------------------------------------


STAGED = """\
name: s
data: {synthetic: {shape: [6], classes: 3, train: 96, valid: 32}}
network: {layers: [{linear: 16}, batch_norm, relu, {linear: 3}]}
train: {epochs: 2, batch_size: 16, save_every: 1, log_every: 1}
track: {mlflow: false}
stages:
  - {name: dense}
  - {name: ticket, prune: {fraction: 0.5, rewind: REWIND}, train: {optimizer: {sgd: {lr: 0}}}}
"""
MATRICES = ("linear_1.weight", "linear_2.weight")


def staged(tmp_path, rewind, *changes):
    """The weights at the end of the first stage, and of the second, whose rate is zero: those that it begins with."""
    experiment = experiment_of(STAGED.replace("REWIND", rewind)).changed(changes)
    folder = runner.run(experiment, tmp_path / "runs").results[0].run.dir
    return load_file(folder / "checkpoints" / "dense" / "final.safetensors"), final(folder)


def drawn(seed=0):
    torch.manual_seed(seed)
    return build(trace(experiment_of(STAGED.replace("REWIND", "init")))).state_dict()


@pytest.mark.parametrize("rewind", ["null", "init", "redraw"])
def test_the_mask_is_of_the_trained_weights_and_the_values_are_as_the_spec_says(tmp_path, rewind):
    dense, ticket = staged(tmp_path, rewind)
    values = {"null": dense, "init": drawn()}.get(rewind)
    for name in MATRICES:
        mask = torch_prune.L1Unstructured(0.5).compute_mask(dense[name], torch.ones_like(dense[name]))
        assert torch.equal(ticket[name] != 0, mask != 0), name
        if values is not None:
            assert torch.equal(ticket[name], values[name] * mask), name
        else:
            kept = mask != 0
            assert not torch.isin(ticket[name][kept], torch.cat([dense[name], drawn()[name]])).any()
    assert torch.equal(ticket["linear_1.bias"], dense["linear_1.bias"]) == (rewind == "null")


def test_all_of_the_network_is_rewound_its_running_statistics_too(tmp_path):
    experiment = experiment_of(STAGED.replace("REWIND", "init"))
    dense, _ = staged(tmp_path, "init")
    assert int(dense["batch_norm_1.num_batches_tracked"]) == 12
    folder = runner.run(experiment, tmp_path / "runs").results[0].run.dir
    assert int(final(folder)["batch_norm_1.num_batches_tracked"]) == 12


def test_rounds_prune_further_and_a_stage_without_prune_trains_all_again(tmp_path):
    text = STAGED.replace(
        STAGED[STAGED.index("  - {name: dense}") :],
        """\
  - {name: dense}
  - {name: one, prune: {fraction: "${1 - 0.5 ** 1}"}}
  - {name: two, prune: {fraction: "${1 - 0.5 ** 2}"}}
  - {name: whole}
""",
    )
    folder = runner.run(experiment_of(text), tmp_path / "runs").results[0].run.dir / "checkpoints"
    found = [load_file(folder / name / "final.safetensors") for name in ("one", "two")]
    last = load_file(folder / "final.safetensors")
    for name in MATRICES:
        one, two = (tensors[name] == 0 for tensors in found)
        assert (int(one.sum()), int(two.sum())) == (one.numel() // 2, 3 * one.numel() // 4)
        assert bool(two[one].all())
        assert int((last[name][two] != 0).sum()) > two.numel() // 4  # units that are dead get no gradient


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_ticket_that_is_cut_off_in_its_second_stage_goes_on_to_the_same_bits(tmp_path, seeds):
    text = STAGED.replace("REWIND", "init").replace(", train: {optimizer: {sgd: {lr: 0}}}", "")
    experiment = experiment_of(text).changed([f"+train.seeds={seeds}"])
    whole = [final(one.run.dir) for one in runner.run(experiment, tmp_path / "runs").results]
    cut = runner.run(experiment, tmp_path / "runs", stopped_in("ticket", 5)).results
    for mine, one in zip(whole, cut, strict=True):
        _, ended = runner.resume(one.run)
        again = final(ended.results[0].run.dir)
        assert all(torch.equal(mine[name], again[name]) for name in mine)


# --- mistakes that magnitudes tell ----------------------------------------------------------------------------------


def test_magnitudes_that_leave_nothing_of_a_layer_are_told_before_training(tmp_path):
    small = SPEC.replace("PRUNE", "{fraction: 0.6, scope: global}").replace(
        "{linear: 8}, tanh", "{linear: 8, values: {weight: 1e-6}}, tanh"
    )
    with pytest.raises(SpecError, match="`prune` leaves nothing of `body/linear_1/weight`, whose values"):
        runner.run(experiment_of(small), tmp_path / "runs")
    by_layer = small.replace("scope: global", "scope: layer")
    runner.run(experiment_of(by_layer).changed(["train.epochs=1"]), tmp_path / "runs")
