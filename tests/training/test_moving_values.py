"""Values that move: what they are in each step, in plain, replayed and packed steps, resumed, and what is refused."""

import math

import pytest
import torch
from helpers import experiment_of
from safetensors.torch import load_file

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace
from dlx.layers import LAYERS
from dlx.schedules import Timeline
from dlx.schedules.values import ValueOverTime
from dlx.spec import load

SPEC = """
dlx: 1
name: m
data: {synthetic: {shape: [6], classes: 3, train: 80, valid: 16}}
network:
  layers:
    - {linear: 16, name: hidden}
    - relu
    - dropout: {p: {linear: {start: 0, end: 0.5}}}
    - gaussian_noise: {std: {cosine: {start: 0.4, end: 0}}}
    - linear: 3
train: {steps: 40, batch_size: 8, log_every: 1, save_every: 1, optimizer: {adam: 1e-2}, device: cpu, seed: 3}
track: {mlflow: false}
"""


def spec(folder, *changes):
    (folder / "m.yaml").write_text(SPEC)
    return load(folder / "m.yaml", changes)


def final(result):
    return load_file(result.run.dir / "checkpoints" / "final.safetensors")


def curve(result, name):
    return [one["metrics"][name] for one in result.run.records() if name in one.get("metrics", {})]


def test_the_curve_has_the_values_of_the_formula(tmp_path):
    result = runner.run(spec(tmp_path), tmp_path / "runs").results[0]
    assert curve(result, "value/dropout_1.p") == pytest.approx([0.5 * step / 40 for step in range(40)])
    noise = [0.4 * (1 + math.cos(math.pi * step / 40)) / 2 for step in range(40)]
    assert curve(result, "value/gaussian_noise_1.std") == pytest.approx(noise)


@pytest.mark.parametrize(
    ("kind", "axes"),
    [("dropout", ()), ("spatial_dropout", (2, 3)), ("stochastic_depth", (1, 2, 3))],
)
def test_a_share_of_the_values_is_dropped_and_the_mean_is_kept(kind, axes):
    layer = LAYERS[kind].model_validate({"p": {"linear": {"start": 0, "end": 0.5}}})
    module = layer.module((20, 3, 3))
    x = torch.ones(500, 20, 3, 3)
    assert torch.equal(module(x), x)  # at the start p is 0
    module.value.fill_(0.3)
    y = module(x)
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.7])
    alike = y.amax(axes) == y.amin(axes) if axes else torch.ones(1)
    assert alike.all()
    assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=0.06)
    module.value.fill_(1.0)
    assert not module(x).any()
    assert torch.equal(module.eval()(x), x)


def by_hand(folder):
    """The same training as a loop of torch, with the draws of the layers in their order."""
    from dlx.experiment.session import job_of

    prepared = runner.prepare(spec(folder, "train.trace=false"))
    job = job_of(prepared)
    network, part = job.network, job.parts["train"]
    order = torch.Generator().manual_seed(3)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    network.train()
    for step in range(40):
        if step % 10 == 0:
            index = torch.randperm(80, generator=order)
        rows = index[step % 10 * 8 :][:8]
        p, std = torch.tensor(0.5 * step / 40), torch.tensor(0.4 * (1 + math.cos(math.pi * step / 40)) / 2)
        hidden = torch.relu(network.hidden(part.x[rows]))
        hidden = hidden * ((torch.rand(8, 16) >= p).float() / (1 - p))
        hidden = hidden + torch.randn(8, 16) * std
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network.linear_1(hidden), part.y[rows]).backward()
        optimizer.step()
    return network.state_dict()


def test_weights_are_those_of_a_loop_by_hand_and_of_a_value_that_stands_they_are_not(tmp_path):
    expected = by_hand(tmp_path)
    found = final(runner.run(spec(tmp_path), tmp_path / "runs").results[0])
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-5)
    still = final(runner.run(spec(tmp_path, "network.layers.dropout_1.dropout.p=0"), tmp_path / "runs").results[0])
    assert not torch.allclose(still["hidden.weight"], expected["hidden.weight"], atol=1e-3)


def test_replayed_and_packed_steps_take_the_values_of_their_step(tmp_path):
    plain = runner.run(spec(tmp_path, "train.trace=false", "train.steps=60"), tmp_path / "runs").results[0]
    replayed = runner.run(spec(tmp_path, "train.trace=true", "train.steps=60"), tmp_path / "runs").results[0]
    assert replayed.run.lock()["way"]["step"] == "replayed"
    one, other = final(plain), final(replayed)
    assert all(torch.equal(one[name], other[name]) for name in one)
    seeds = runner.run(spec(tmp_path, "train.seeds=2", "train.steps=60"), tmp_path / "runs").results
    assert all(result.run.lock().get("packed") for result in seeds)
    packed = final(seeds[0])
    assert all(torch.allclose(one[name], packed[name], rtol=1e-4, atol=1e-6) for name in one)
    assert curve(seeds[1], "value/dropout_1.p") == curve(plain, "value/dropout_1.p")


# --- weights of penalties -------------------------------------------------------------------------------------------

PENALISED = SPEC.replace("""    - dropout: {p: {linear: {start: 0, end: 0.5}}}
    - gaussian_noise: {std: {cosine: {start: 0.4, end: 0}}}
""", "").replace("optimizer: {adam: 1e-2}", "optimizer: {sgd: 0.1}")  # fmt: skip
PENALTY = "+objective={classification: {l2: {linear: {start: 0, end: 0.2}}, l1: {linear: {start: 0.01, end: 0}}}}"


def penalised(folder, *changes):
    (folder / "p.yaml").write_text(PENALISED)
    return load(folder / "p.yaml", changes)


def test_penalties_on_weights_are_those_of_their_step_by_hand(tmp_path):
    """Their values enter the gradient: 2 l2 w + l1 sign(w), and 0 in the first step for what starts at 0."""
    from dlx.experiment.session import job_of

    job = job_of(runner.prepare(penalised(tmp_path, "train.trace=false")))
    network, part, order = job.network, job.parts["train"], torch.Generator().manual_seed(3)
    for step in range(40):
        if step % 10 == 0:
            index = torch.randperm(80, generator=order)
        rows = index[step % 10 * 8 :][:8]
        network.zero_grad()
        torch.nn.functional.cross_entropy(network(part.x[rows]), part.y[rows]).backward()
        with torch.no_grad():
            for weight in network.parameters():
                if weight.dim() > 1:
                    weight.grad += 2 * (0.2 * step / 40) * weight + 0.01 * (1 - step / 40) * weight.sign()
                weight.sub_(0.1 * weight.grad)
    expected, found = network.state_dict(), runner.run(penalised(tmp_path, PENALTY), tmp_path / "runs").results[0]
    for name, weight in final(found).items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-4, atol=1e-5)
    assert curve(found, "value/objective.l2") == pytest.approx([0.2 * step / 40 for step in range(40)])
    plain = final(runner.run(penalised(tmp_path), tmp_path / "runs").results[0])
    assert not torch.allclose(plain["hidden.weight"], expected["hidden.weight"], atol=1e-2)


def test_penalties_that_move_are_replayed_and_packed(tmp_path):
    plain, replayed = (
        runner.run(penalised(tmp_path, PENALTY, f"+train.trace={way}", "train.steps=60"), tmp_path / "runs").results[
            0
        ]
        for way in ("false", "true")
    )
    assert replayed.run.lock()["way"]["step"] == "replayed"
    one, other = final(plain), final(replayed)
    assert all(torch.equal(one[name], other[name]) for name in one)
    seeds = runner.run(penalised(tmp_path, PENALTY, "train.seeds=2", "train.steps=60"), tmp_path / "runs").results
    assert all(result.run.lock().get("packed") for result in seeds)
    packed = final(seeds[0])
    assert all(torch.allclose(one[name], packed[name], rtol=1e-4, atol=1e-6) for name in one)


IMAGES = "data: {synthetic: {shape: [1, 4, 4], classes: null, target: [1], train: 40, valid: 8}}"
DECODER = "decoder: {inputs: {z: [SIZE]}, layers: [{linear: 16}, {reshape: [1, 4, 4]}]}"
CODED = "{encoder: {layers: [flatten, {linear: 4}, sigmoid]}, " + DECODER.replace("SIZE", "4") + "}"
SPREAD = "{encoder: {layers: [flatten, {linear: 4}]}, " + DECODER.replace("SIZE", "2") + "}"
PLAYED = """{generator: {inputs: {noise: [3]}, layers: [{linear: 16}, {reshape: [1, 4, 4]}]},
  discriminator: {inputs: {image: [1, 4, 4]}, layers: [flatten, {linear: 8}, tanh, {linear: 1}]}}"""
SIDES = """{generator_ab: {inputs: {x: [3, 4, 4]}, layers: [{conv: {out_channels: 3, kernel_size: 1}}]},
  generator_ba: {copy: generator_ab}, discriminator_a: {inputs: {x: [3, 4, 4]}, layers: [flatten, {linear: 1}]},
  discriminator_b: {copy: discriminator_a}}"""
WEIGHTS = [
    ("{vae: {likelihood: gaussian, beta: VALUE}}", SPREAD, IMAGES, 2),
    ("{autoencoder: {sparsity: {kl: VALUE}}}", CODED, IMAGES, 2),
    ("{autoencoder: {sparsity: {l1: VALUE}}}", CODED, IMAGES, 2),
    ("{autoencoder: {contractive: VALUE}}", CODED, IMAGES, 2),
    ("{gan: {loss: wasserstein, gradient_penalty: VALUE}}", PLAYED, IMAGES, 5),
    ("{cycle: {cycle: VALUE}}", SIDES, "data: {unpaired: {size: 4, train: 40, valid: 8, test: 0}}", 5),
    ("{cycle: {identity: VALUE}}", SIDES, "data: {unpaired: {size: 4, train: 40, valid: 8, test: 0}}", 5),
]


@pytest.mark.parametrize(("objective", "networks", "data", "value"), WEIGHTS)
def test_a_weight_that_moves_is_that_of_its_step(tmp_path, objective, networks, data, value):
    """One that stands is equal to a number; one that starts at 0 is 0 in the first step, and not in the next."""

    def weights(written, steps):
        spec = f"""
name: w
{data}
networks: {networks}
objective: {objective.replace("VALUE", written)}
train: {{steps: {steps}, batch_size: 8, log_every: 1, optimizer: {{sgd: 0.01}}, device: cpu}}
track: {{mlflow: false}}
"""
        result = runner.run(experiment_of(spec), tmp_path).results[0]
        assert result.status == "finished", result
        return final(result)

    def alike(one, other):
        return all(torch.allclose(weight, other[name], rtol=1e-5, atol=1e-7) for name, weight in one.items())

    standing, growing = f"{{linear: {{start: {value}, end: {value}}}}}", f"{{linear: {{start: 0, end: {2 * value}}}}}"
    assert alike(weights(standing, 4), weights(f"{value}", 4))
    none = "1e-30"  # of 0 the term is left out, and what it draws
    assert alike(weights(growing, 1), weights(none, 1))
    assert not alike(weights(growing, 4), weights(none, 4))


@pytest.mark.parametrize("changes", [(), ("train.seeds=2",)])
def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(tmp_path, changes):
    def cut(event):
        if getattr(event, "record", "") == "step" and event.step == 17:
            raise KeyboardInterrupt

    whole = runner.run(spec(tmp_path, *changes), tmp_path / "runs").results
    stopped = runner.run(spec(tmp_path, *changes), tmp_path / "runs", cut).results
    for one, other in zip(whole, stopped, strict=True):
        assert other.status == "stopped"
        _, ended = runner.resume(other.run)
        assert all(torch.equal(weight, final(ended.results[0])[name]) for name, weight in final(one).items())


def test_a_temperature_that_moves_is_that_of_its_step_and_of_the_last_one_in_evaluations(tmp_path):
    changes = [
        "~network.layers.dropout_1", "~network.layers.gaussian_noise_1", "+train.augment=[{gaussian_noise: 0.1}]",
        "+objective={simclr: {temperature: {linear: {start: 1, end: 0.2}}}}", "train.optimizer={sgd: 1e-20}",
        "+train.evaluate_every=10", "train.batch_size=80",
    ]  # fmt: skip
    result = runner.run(spec(tmp_path, *changes), tmp_path / "runs").results[0]
    assert curve(result, "value/objective.temperature") == pytest.approx([1 - 0.8 * step / 40 for step in range(40)])
    evaluated = curve(result, "valid/loss")
    still = [*changes[:3], "+objective={simclr: {temperature: 0.22}}", *changes[4:]]  # that of the last step, 39
    assert evaluated == curve(runner.run(spec(tmp_path, *still), tmp_path / "runs").results[0], "valid/loss")
    assert len(set(evaluated)) == 1


def test_inspect_names_them_and_counts_them_as_buffers(tmp_path):
    graph = trace(spec(tmp_path))
    assert {name: str(value) for name, value in graph.moving.items()} == {
        "dropout_1.p": "0 to 0.5, linear",
        "gaussian_noise_1.std": "0.4 to 0, cosine",
    }
    assert graph.buffers == 2
    assert graph.as_json()["moving"]["dropout_1.p"] == {"start": 0.0, "end": 0.5, "schedule": "linear"}


def test_a_value_lies_between_its_ends_by_the_factor_of_its_schedule():
    value = LAYERS["dropout"].model_validate({"p": {"exponential": {"start": 0.8, "end": 0.2, "gamma": 0.5}}}).p
    assert isinstance(value, ValueOverTime)
    timeline = Timeline(40, 10)
    assert [value.at(step, timeline) for step in (0, 9, 10, 20)] == pytest.approx([0.8, 0.8, 0.5, 0.35])
    assert value.last(timeline) == pytest.approx(0.2 + 0.6 / 8)


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ("{linear: {start: 0, end: 1.5}}", "`end` must be less than or equal to 1, not 1.5"),
        ("{linear: {start: 0}}", "a value that moves has `start` and `end`: `end` is missing"),
        ("{plateau: {start: 0, end: 1}}", "`plateau` follows a metric, and a value moves by time"),
        ("{linear: {start: 0, end: 1, end_factor: 0.1}}", "`end_factor` is for rates: leave it out"),
        ("{cosine: {start: 0, end: 1, T_min: 3}}", "`cosine` has no field `T_min`"),
        ("{exponential: {start: 0, end: 1}}", "exponential wants `gamma` or `k`: give one of the two"),
        ("{cosine: {start: 0, end: 1, T_max: -3}}", "`T_max` of `cosine` must be greater than 0, not -3"),
        ("{cosine: {start: 0, end: 1, T_max: many}}", "`T_max` of `cosine` must be a valid integer, not many"),
        ("{step: {start: 0, end: 1}}", "of `step` is missing"),
        ("{up: {start: 0, end: 1}}", "a value that moves is `{linear: {start: 0, end: 0.5}}`"),
    ],
)
def test_a_mistake_is_a_sentence_at_its_place(new, sentence):
    text = SPEC.replace("{linear: {start: 0, end: 0.5}}", new, 1)
    with pytest.raises(SpecError) as raised:
        trace(experiment_of(text))
    (problem,) = raised.value.problems
    assert sentence in problem.message
    assert problem.message.count("exponential") < 2
    assert str(problem.mark).endswith(":9:17")


def test_an_override_reaches_its_ends(tmp_path):
    changed = trace(spec(tmp_path, "network.layers.dropout_1.dropout.p.linear.end=0.3")).moving
    assert str(changed["dropout_1.p"]) == "0 to 0.3, linear"
