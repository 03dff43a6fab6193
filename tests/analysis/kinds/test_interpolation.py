"""Ways between two runs: a network against its own copy with units in another order, and unlike networks."""

import hashlib
import json
import shutil

import pytest
import torch
from helpers import experiment_of
from safetensors.torch import load_file, save_file

from dlx.analysis import analyze
from dlx.analysis.measures import unit_matching
from dlx.analysis.subject import of_runs, of_spec
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.training.checkpoints import checkpoint

TEXT = """
name: net
data: {digits: {train: 400, valid: 0, test: 200}}
network:
  layers:
    - {conv: {out_channels: 6, kernel_size: 3}}
    - {batch_norm: {}}
    - {relu: {}}
    - {max_pool: 2}
    - {flatten: {}}
    - {linear: WIDE}
    - {relu: {}}
    - {linear: 10}
train: {steps: 60, batch_size: 32, seeds: 2, threads: 1, optimizer: {adam: 5e-3}}
track: {mlflow: false}
"""


def trained(folder, text):
    return [one.run for one in runner.run(experiment_of(text), folder).results]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs"), TEXT.replace("WIDE", "32"))


def shuffled(graph, state):
    """The same network with the units of each hidden layer in another order."""
    draws = torch.Generator().manual_seed(3)
    found = dict(state)
    for group in unit_matching.groups(graph):
        order = torch.randperm(len(found[group[0].tensor]), generator=draws).numpy()
        for axis in group:
            if axis.tensor in found:
                found[axis.tensor] = unit_matching._ordered(found[axis.tensor], axis, order)
    return found


def result(runs, *options):
    return analyze.analyze(analyze.with_options("interpolation", options), of_runs(runs)).result


@pytest.fixture(scope="module")
def copied(runs, tmp_path_factory):
    """A run whose network is that of the first with its units in another order."""
    folder = tmp_path_factory.mktemp("copied") / "net" / "copy"
    shutil.copytree(runs[0].dir, folder)
    (file,) = folder.rglob("final*.safetensors")
    graph = of_runs(runs).graph
    save_file(shuffled(graph, load_file(file)), file)
    about = json.loads(file.with_suffix(".json").read_text())
    del about["facts_sha256"]
    about["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    about["facts_sha256"] = checkpoint._digest(about)
    file.with_suffix(".json").write_text(json.dumps(about))
    return type(runs[0])(folder)


def test_another_order_of_units_is_the_same_network(runs, copied):
    first, second = (of_runs([run]).network() for run in (runs[0], copied))
    x = torch.randn(5, 1, 8, 8)

    assert not torch.allclose(first.state_dict()["conv_1.weight"], second.state_dict()["conv_1.weight"])
    torch.testing.assert_close(first(x), second(x))


def test_matching_brings_units_back_to_their_places_and_without_it_there_is_a_barrier(runs, copied):
    found = result([runs[0], copied], "points=5", "curve=0").figures

    assert found["matched_distance"] == pytest.approx(0, abs=1e-5)
    assert found["matched_barrier"] == pytest.approx(0, abs=1e-4)
    assert found["distance"] > 1
    assert found["barrier"] > 0.1
    assert found["loss_first"] == pytest.approx(found["loss_last"], rel=1e-4)


def test_between_two_seeds_a_curve_goes_around_the_barrier_of_the_line(runs):
    found = result(runs, "points=5", "curve=80", "rate=0.02").figures

    assert found["barrier"] > 0.1
    assert found["curve_barrier"] < found["barrier"] / 2
    assert found["matched_distance"] < found["distance"]
    assert found["error_barrier"] > 0
    untrained = result(runs, "points=5", "curve=1", "rate=1e-9", "match=false").figures
    assert untrained["curve_barrier"] > found["curve_barrier"], "a bend in the middle of the line is the line"


def test_a_run_and_itself_have_no_barrier(runs):
    found = result([runs[0], runs[0]], "points=3", "curve=0", "match=false").figures

    assert found["barrier"] == pytest.approx(0, abs=1e-6)
    assert "matched_barrier" not in found


def test_runs_of_other_networks_are_refused(runs, tmp_path):
    other = trained(tmp_path, TEXT.replace("WIDE", "16").replace("seeds: 2, ", "").replace("steps: 60", "steps: 1"))

    with pytest.raises(SpecError, match=r"the runs differ in `linear_1/weight`: \(32, 54\) in .*, \(16, 54\) in"):
        result([runs[0], *other])
    with pytest.raises(SpecError, match="a line goes between two runs, and here is 1") as refused:
        result(runs[:1])
    assert "`dlx analyze interpolation RUN RUN`" in str(refused.value)


def test_a_spec_is_not_trained():
    with pytest.raises(SpecError, match="looks at trained weights"):
        analyze.analyze(analyze.with_options("interpolation"), of_spec(experiment_of(TEXT.replace("WIDE", "8"))))


def test_units_of_networks_with_branches_are_not_matched():
    layers = "[{linear: 4}, {name: a, linear: 4}, {add: null, from: [linear_1, a]}]"
    text = f"name: n\nnetwork: {{inputs: [4], layers: {layers}}}"
    with pytest.raises(ValueError, match="is no layer of a chain"):
        unit_matching.groups(of_spec(experiment_of(text)).graph)
