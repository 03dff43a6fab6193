"""What is refused before it costs anything, and why."""

import subprocess
import sys

import pytest

from dlx.errors import Mark, SpecError
from dlx.spec import load
from dlx.sweeps.feasible import Constraints, Planner, examine
from dlx.sweeps.space import Space

SPEC = """
name: small
data: digits
network:
  layers:
    - conv: {out_channels: 4, kernel_size: 3}
      name: stem
    - relu
    - flatten
    - linear: 10
train: {epochs: 3, batch_size: 16, optimizer: {adam: {lr: 0.01}}}
"""
PARAMS = 4 * 10 + 10 * (4 * 6 * 6 + 1)  # a 3x3 convolution of one channel; digits are 8x8
MACS = 4 * 9 * 6 * 6 + 10 * 4 * 6 * 6


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SPEC)
    return path


def refusal(spec, *constraints, overrides=()):
    examined = examine(spec, [f"+sweep.constraints=[{','.join(f'{c!r}' for c in constraints)}]", *overrides])
    return examined.refusal


@pytest.mark.parametrize(
    ("constraint", "sentence"),
    [
        ("params <= 1_000", f"params is {PARAMS:,}, and at most 1,000 are allowed"),
        (f"params < {PARAMS}", f"params is {PARAMS:,}, and less than {PARAMS:,} are allowed"),
        ("params >= 1e6", f"params is {PARAMS:,}, and at least 1,000,000 are wanted"),
        ("macs <= 2e3", f"macs is {MACS:,}, and at most 2,000 are allowed"),
        ("receptive_field >= 5", "receptive_field is 3, and at least 5 are wanted"),
        ("depth == 3", "depth is 2, and 3 are wanted"),
        ("activation_bytes < 100", f"activation_bytes is {4 * (2 * 4 * 36 + 10):,}, and less than 100 are allowed"),
        ("trainable > 9000", f"trainable is {PARAMS:,}, and more than 9,000 are wanted"),
    ],
)
def test_a_constraint_refuses_with_both_sides(spec, constraint, sentence):
    assert refusal(spec, constraint) == sentence


@pytest.mark.parametrize(
    "constraint", [f"params <= {PARAMS}", f"params=={PARAMS}", f"macs>={MACS}", "receptive_field <= 3", "depth < 2.5"]
)
def test_a_network_that_keeps_to_it_is_not_refused(spec, constraint):
    assert refusal(spec, constraint) is None


def test_memory_is_that_of_a_training_step_with_the_batch_and_the_optimizer(spec):
    from dlx.graph import memory_forecast

    examined = examine(spec, [])
    total = memory_forecast.of_training(examined.experiment, examined.graphs.one, 16).total
    assert refusal(spec, f"train_bytes <= {total}") is None
    message = refusal(spec, f"train_bytes <= {total}", overrides=["train.batch_size=17"])
    assert message.endswith(f"and at most {total:,} are allowed")


def test_the_memory_of_a_batch_that_is_all_cannot_be_had(spec):
    message = refusal(spec, "train_bytes <= 1e9", overrides=["train.batch_size=all"])
    assert message == "train_bytes cannot be had: a batch is the whole training set, which a plan does not count"


def test_a_network_that_sees_everything_has_the_receptive_field_of_its_input(spec):
    layers = "network={layers: [flatten, {linear: 10}]}"
    assert refusal(spec, "receptive_field >= 8", overrides=[layers]) is None
    assert refusal(spec, "receptive_field >= 9", overrides=[layers]) == (
        "receptive_field is 8, and at least 9 are wanted"
    )


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("parmas <= 5", ["there is no figure `parmas` to constrain", "Did you mean `params`"]),
        ("params = 5", ['"params = 5" is no constraint', "Write `params <= 1_000_000`"]),
        ("params <= many", ["is no constraint"]),
        ("5 >= params", ["is no constraint"]),
        ("", ["is no constraint"]),
        ("params <= -5", ["is no constraint"]),
    ],
)
def test_a_constraint_that_cannot_be_read_is_reported(text, sentences):
    with pytest.raises(SpecError) as error:
        Constraints.parse(["macs < 9", text], [Mark("a.yaml", 1, 1), Mark("a.yaml", 2, 3)])
    (problem,) = error.value.problems
    assert str(problem.mark) == "a.yaml:2:3"
    for sentence in sentences:
        assert sentence in f"{problem.message} {problem.hint}"


def test_the_section_says_them_at_their_lines(spec):
    spec.write_text(SPEC + "sweep:\n  constraints:\n    - params <= 9\n    - mcas <= 9\n")
    with pytest.raises(SpecError) as error:
        Constraints.of(load(spec))
    assert "small.yaml:15:7  sweep.constraints.1" in str(error.value)
    spec.write_text(SPEC + "sweep:\n  constraints: params <= 9\n")
    assert Constraints.of(load(spec)).refuses(*_planned(spec)) is not None


def _planned(spec):
    examined = examine(spec, [])
    return examined.graphs, examined.experiment


def test_an_invalid_network_is_refused_with_its_reason_and_the_others_are_not(spec):
    experiment = load(spec)
    space, _ = Space.of(experiment, ["network.layers.stem.kernel_size=3,9", "train.batch_size=choice(8,16)"])
    planner = Planner(experiment, space, Constraints())
    message = [planner.examine(point) for point in space.grid()]
    assert [one.refusal is None for one in message] == [True, True, False, False]
    assert "network.layers.stem" in message[2].refusal
    assert "9" in message[2].refusal
    assert (message[2].graphs, message[2].reason, message[2].violation) == (None, "invalid", float("inf"))


def test_a_value_that_the_training_cannot_have_is_refused(spec):
    experiment = load(spec)
    space, _ = Space.of(experiment, ["train.batch_size=0,8", "train.optimizer.adam.lr=0.1,0.2"])
    planner = Planner(experiment, space, Constraints())
    first, _, third, _ = (planner.examine(point) for point in space.grid())
    assert "`batch_size` must be" in first.refusal
    assert third.refusal is None


def test_a_candidate_is_the_spec_that_its_overrides_make_without_its_sweep(spec):
    spec.write_text(SPEC + "sweep: {space: {train.batch_size: [8, 16]}, constraints: [params <= 9_999]}\n")
    experiment = load(spec)
    space, _ = Space.of(experiment, ["network.layers.stem.out_channels=range(1,9)"])
    planner = Planner(experiment, space)
    for point in space.grid():
        through = load(spec, [*space.overrides(point), "~sweep"])
        assert planner.experiment(point).resolved() == through.resolved()
        assert planner.examine(point).graphs.one.params == examine(spec, space.overrides(point)).graphs.params
    assert experiment.root.at("sweep") is not None, "the study's own spec is as it was"


def test_plans_are_cached_only_where_nothing_that_shapes_them_varies(spec):
    experiment = load(spec)
    space, _ = Space.of(
        experiment,
        ["train.optimizer.adam.lr=0.1,0.2", "network.layers.stem.out_channels=2,3", "train.batch_size=8,9"],
    )
    planner = Planner(experiment, space, Constraints())
    graphs = {id(examined.graphs) for examined in map(planner.examine, space.grid())}
    assert len(graphs) == 2
    assert planner.graph_keys == ["network.layers.stem.out_channels"]


def test_how_far_a_network_is_from_all_constraints_grows_with_each(spec):
    graph, experiment = _planned(spec)
    near = Constraints.parse([f"params <= {PARAMS - 10}"]).check(graph, experiment)
    far = Constraints.parse(["params <= 100"]).check(graph, experiment)
    both = Constraints.parse(["params <= 100", "macs <= 100"]).check(graph, experiment)
    assert 0 < near.violation < far.violation < both.violation
    assert both.reason == "params"
    assert far.violation == (PARAMS - 100) / 100


def test_a_candidate_is_judged_without_torch_numpy_and_optuna(spec):
    code = (
        "import sys\nfrom dlx.sweeps.feasible import examine\n"
        f"assert examine({str(spec)!r}, ['+sweep.constraints=[macs < 5]', 'train.epochs=2']).refusal\n"
        "assert not {'torch', 'numpy', 'scipy', 'optuna'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
