"""The sections of a spec beside the network: what they mean, and what is said where they mean nothing."""

import re
from pathlib import Path

import pytest
from complaints import lines, report
from helpers import ONE_NETWORK
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dlx.data import DATASETS
from dlx.errors import Mark, SpecError
from dlx.graph import trace
from dlx.init import INITIALIZERS
from dlx.layers import LAYERS
from dlx.losses import LOSSES
from dlx.objectives import OBJECTIVES
from dlx.optim import OPTIMIZERS
from dlx.optim.adam import Adam
from dlx.schedules import SCHEDULES
from dlx.schedules.constant import Constant
from dlx.spec import compose, load, missing_sections, objective_of
from dlx.spec.syntax.read import BROKEN, Node, located, parse_yaml

NET = "network: {inputs: [3], layers: [relu]}\n"


def loaded(folder, text):
    (folder / "s.yaml").write_text(text)
    return load(folder / "s.yaml")


# --- what they mean -------------------------------------------------------------------------------------------------


def test_what_is_left_out_has_its_default(tmp_path):
    experiment = loaded(tmp_path, NET + "train: {steps: 3}\n")
    assert experiment.name == "s"
    assert experiment.train.optimizer == Adam()
    assert experiment.train.schedule == Constant()
    assert (experiment.train.batch_size, experiment.train.seeds, experiment.train.device) == (32, 1, "auto")
    assert (experiment.data, experiment.objective, experiment.freeze, experiment.source) == (None, None, (), "")
    assert experiment.track.mlflow


def test_whole_numbers_may_be_written_with_an_exponent_and_variables_stand_in_every_section(tmp_path):
    head = "vars: {n: 5, rate: '${n / 100}'}\n"
    experiment = loaded(
        tmp_path, head + NET + 'train: {steps: 1e3, batch_size: "${n * 2}", optimizer: {sgd: {lr: "${rate}"}}}\n'
    )
    assert (experiment.train.steps, experiment.train.batch_size, experiment.train.optimizer.lr) == (1000, 10, 0.05)


@pytest.mark.parametrize(
    ("data", "kind"), [("digits", "classification"), ("{synthetic: {shape: [3], target: [2]}}", "regression")]
)
def test_the_data_implies_an_objective(tmp_path, data, kind):
    assert objective_of(loaded(tmp_path, f"data: {data}\n{NET}")).kind == kind
    assert objective_of(loaded(tmp_path, f"data: {data}\nobjective: regression\n{NET}")).kind == "regression"


def test_a_resolved_spec_reads_back_as_the_same_experiment(tmp_path):
    text = (
        "vars: {n: 5}\ndata: {digits: {valid: 0.1}}\nnetwork: {layers: [flatten, linear: 10]}\nname: x\n"
        "train: {steps: '${n}', optimizer: {sgd: {lr: 1e-3}}}\n"
    )
    first = loaded(tmp_path, text)
    again = loaded(tmp_path, first.resolved())
    assert (again.data, again.train, again.name) == (first.data, first.train, first.name)
    assert again.resolved() == first.resolved()


def test_a_path_starts_at_the_folder_of_the_file_that_names_it(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/own.yaml").write_text("idx: {images: i.idx, labels: /l.idx}\n")
    (tmp_path / "s.yaml").write_text(f"defaults: [{{data: own}}]\n{NET}")
    monkeypatch.chdir(tmp_path.parent)
    data = load(tmp_path / "s.yaml").data
    assert (str(data.images), str(data.labels)) == (f"{tmp_path}/data/i.idx", "/l.idx")
    changed = load(tmp_path / "s.yaml", ["data.idx.images=here.idx"]).data
    assert str(changed.images) == f"{tmp_path.parent}/here.idx"


def test_a_path_that_stands_alone_starts_there_too(tmp_path, monkeypatch):
    (tmp_path / "s.yaml").write_text(f"data: {{images: pictures}}\n{NET}")
    monkeypatch.chdir(tmp_path.parent)
    experiment = load(tmp_path / "s.yaml")
    assert str(experiment.data.path) == f"{tmp_path}/pictures"
    assert f"images: {tmp_path}/pictures" in experiment.resolved()
    assert str(load(tmp_path / "s.yaml", ["data.images.path=other"]).data.path) == f"{tmp_path.parent}/other"


def test_training_says_which_sections_it_lacks(tmp_path):
    missing = missing_sections(loaded(tmp_path, NET), "data", "train")
    assert "\n".join(map(str, missing)).replace(f"{tmp_path}/", "") == lines(
        """
        s.yaml  data
          there is no `data` to train with
          Write where examples come from: `data: digits`.
        s.yaml  train
          there is no `train` to train with
          Write how long to train: `train: {epochs: 10}`.
        """
    )


# --- what is said of them -------------------------------------------------------------------------------------------

WRONG = {
    "dlx: 2": "`dlx: 2` is a version of the format that this dlx does not read\n  It reads `dlx: 1`.",
    "dlx: '1'": '`dlx: "1"` is a version of the format that this dlx does not read',
    "dlx: true": "`dlx: true` is a version of the format",
    "name: a/b": '`name` must be a word, not "a/b"\n  Letters, digits, `.`, `_` and `-`, not starting with a dot.',
    "name: 3": "`name` must be a word, not 3",
    "source: [a]": '`source` must be a word, not ["a"]',
    "vars: [1, 2]": "`vars` must be a mapping of names to values, not [1, 2]\n  Write `vars: {width: 64}`.",
    "vars: {1d: 3}": "a variable cannot be called `1d`\n  Letters, digits and `_`.",
    "expect: 3": "`expect` must be a mapping of claims, not 3\n  Write `expect: {params: 2050}`.",
    "recorded: 3": "`recorded` must be a mapping of claims, not 3\n  Write `recorded: {test/error: {about: 0.063,",
    "data: digis": "there is no data set `digis`\n  Did you mean `digits` or `digit_pairs`?",
    "data: [digits]": '`data` wants the kind of a data set, not ["digits"]\n  There are ar_process, arrays, blobs,',
    "data:": "`data` wants the kind of a data set, not nothing",
    "data: {digits: {}, mnist1d: {}}": (
        "`digits` and `mnist1d` stand together where one data set is wanted\n  Keep one of them."
    ),
    "data: {digits: , valid: 0.1}": (
        "`valid` stands beside `digits`\n  Fields of `digits` stand inside it: `digits: {valid: ...}`."
    ),
    "data: {digits: {vald: 0.1}}": "`digits` has no field `vald`\n  Did you mean `valid`?",
    "data: {digits: {valid: 0.6, test: 0.6}}": "`valid` 0.6 + `test` 0.6 = 1.2, and there is 1 to share: lower one",
    "data: {idx: {images: a}}": "`labels` is missing\n  labels: file of their class numbers.",
    "objective: clasification": "there is no objective `clasification`\n  Did you mean `classification`",
    "objective:": "`objective` wants the kind of an objective, not nothing",
    "objective: {classification: {loss: mse}}": "there is no loss `mse`\n  Did you mean `squared_error`?",
    "init: he_norml": "there is no initialiser `he_norml`\n  Did you mean `he_normal` or `he_uniform`?",
    "init: {he_normal: {mod: fan_in}}": "`he_normal` has no field `mod`\n  Did you mean `mode`?",
    "train: 3": "`train` must be a mapping, not 3\n  There are the fields accumulate,",
    "train: {}": "training lasts `steps: N` or `epochs: N`: give one of the two",
    "train: {steps: 3, epochs: 3}": "training lasts `steps: N` or `epochs: N`: give one of the two",
    "train: {stpes: 3, epochs: 1}": "`train` has no field `stpes`\n  Did you mean `steps`",
    "train: {steps: 0}": "`steps` must be above 0, not 0\n  steps: updates; or give `epochs`.",
    "train: {steps: many}": '`steps` must be a whole number, not "many"',
    "train: {steps: 2.5}": "`steps` must be a whole number, not 2.5",
    "train: {steps: .inf}": "`steps` must be a whole number, not .inf",
    "train: {steps: 1, shuffle: 3}": "`shuffle` must be true or false, not 3",
    "train: {steps: 1, drop_last: yes}": '`drop_last` must be true or false, not "yes"',
    "train: {steps: 1, device: gpu}": "`device` must be auto, cpu, cuda or cuda:N; or mps, the GPU of a Mac, "
    'on which dlx is untried, not "gpu"',
    "train: {steps: 1, threads: 0}": "`threads` must be above 0, not 0",
    "train: {steps: 1, threads: all}": '`threads` must be a whole number or "auto", not "all"',
    "train: {steps: 1, optimizer: adm}": "there is no optimizer `adm`\n  Did you mean `adam` or `radam`?",
    "train: {steps: 1, optimizer: {sgd: {lr: .nan}}}": "`lr` must be a finite number, not .nan\n  lr: learning rate.",
    "train: {steps: 1, optimizer: {sgd: {lr: -1}}}": "`lr` must be at least 0, not -1",
    "train: {steps: 1, schedule: {step: {}}}": "`step_size` is missing",
    "track: no": (
        '`track` must be a mapping, not "no"\n'
        "  There are the fields csv, experiment, mlflow, system_metrics, tensorboard, uri."
    ),
    "freeze:": "`freeze` takes names of nodes, with `*`, not nothing",
    "trian: {steps: 3}": "a spec has no `trian`\n  Did you mean `train` or `track`?",
}


@pytest.mark.parametrize(("section", "sentence"), WRONG.items(), ids=WRONG)
def test_a_section_that_is_wrong_says_so_once_on_its_line(tmp_path, section, sentence):
    text = report(tmp_path, f"{NET}{section}\n")
    assert sentence in text
    assert text.startswith("s.yaml:2:")
    assert text.count("s.yaml:") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dlx: 1\n", "s.yaml:1:1\n  there is no `network`\n  Write `network:` with its `layers:`."),
        ("data: digits\n", "s.yaml:1:1\n  there is no `network`\n  Write `network:` with its `layers:`."),
        ("network:\n", "s.yaml:1:1  network\n  `network` must be a mapping with `layers`, not nothing"),
        ("network: [relu]\n", 's.yaml:1:1  network\n  `network` must be a mapping with `layers`, not ["relu"]'),
        (
            "network: {inputs: [3]}\n",
            "s.yaml:1:1  network.layers\n  `network` has no `layers`\n  Start each layer with `- `.",
        ),
        (
            "network: {inputs: [3], layers: relu}\n",
            's.yaml:1:24  network.layers\n  `layers` must be a list, not "relu"',
        ),
        (
            "network: {inputs: [3], layer: [relu]}\n",
            "s.yaml:1:24  network.layer\n  `network` has no `layer`\n  Did you mean `layers`?",
        ),
        (
            "network: {layers: [relu]}\n",
            "s.yaml:1:1  network.inputs\n  the network has no inputs\n  Write `inputs: {image: [3, 224, 224]}`",
        ),
    ],
)
def test_a_network_that_is_not_there_says_so_once(tmp_path, text, expected):
    assert report(tmp_path, text).startswith(expected)
    assert report(tmp_path, text).count("s.yaml:") == 1


# --- mutations ------------------------------------------------------------------------------------------------------

EVERYTHING = """\
dlx: 1
name: everything
source: here
data: {synthetic: {shape: [3, 8, 8], classes: 10, train: 100, test: 10}}
network:
  layers:
    - conv: {out_channels: 4, kernel_size: 3, stride: 1, padding: 1, bias: false}
      name: stem
    - batch_norm: {eps: 1e-5}
    - residual:
        layers:
          - conv: {out_channels: 4, kernel_size: [3, 3], padding: same}
        shortcut: []
        merge: add
        after: relu
    - parallel:
        branches:
          - [relu]
          - [tanh]
        merge: concat
    - repeat:
        times: 2
        layers:
          - conv: {out_channels: 8, kernel_size: 1}
            when: true
        index: j
    - add: {}
      from: [prev, prev]
    - max_pool: {kernel_size: 2, ceil_mode: true}
    - flatten
    - dropout: 0.5
    - linear: {out_features: 10}
objective: {classification: {loss: {cross_entropy: {reduction: mean}}}}
init: {he_normal: {mode: fan_in}}
train:
  steps: 100
  batch_size: 8
  optimizer: {sgd: {lr: 0.1, momentum: 0.9, nesterov: true}}
  schedule: {step: {step_size: 10, gamma: 0.5}}
  seed: 1
  device: cpu
  threads: 1
  shuffle: true
track: {mlflow: false, uri: "sqlite:///x.db", experiment: some}
"""


def with_its_files(path: Path) -> str:
    """The text of a spec with whole paths: mistakes in layers are told where the data that they take is there."""

    def whole(found: re.Match[str]) -> str:
        there = path.parent / found[1]
        return f"path: {there}" if there.exists() else found[0]

    return re.sub(r"path: ([\w./-]+)", whole, path.read_text())


SPECS = {name: with_its_files(path) for name, path in ONE_NETWORK.items() if path.suffix == ".yaml"}
SPECS |= {"all": EVERYTHING}
FREE = {
    "vars",
    "analyses",
    "expect",
    "recorded",
    "blocks",
    "inputs",
    "outputs",
    "targets",
    "args",
    "for",
    "defaults",
    "values",
    "space",
}
"""Sections whose keys and values are the user's own: what is wrong with them shows elsewhere."""
KNOWN = {word for r in (LAYERS, DATASETS, OBJECTIVES, LOSSES, INITIALIZERS, OPTIMIZERS, SCHEDULES) for word in r}
KNOWN |= {"seed"}  # `seeds` that lost its last letter is a field, too


def places(node: Node, free: set, path: tuple = ()) -> list[tuple]:
    """The paths of everything in a spec whose meaning dlx fixes and that it always looks at."""
    if (path and path[-1] in free) or (node.is_map and "when" in node.map):
        return []
    found = [path] if path else []
    for key, child in node.map.items() if node.is_map else enumerate(node.list):
        found += places(child, free, (*path, key))
    return found


NO_BLOCKS = Node({}, Mark(""))
TREES = {name: parse_yaml(text, name) for name, text in SPECS.items() if "defaults:" not in text}
PLACES = [
    (name, path)
    for name, tree in TREES.items()
    for path in places(tree, FREE | set(tree.map.get("blocks", NO_BLOCKS).map))
]


def reported_lines(tree: Node, monkeypatch) -> set[int]:
    """Return the lines of the mistakes of a tree."""
    monkeypatch.setattr(compose, "files_of", lambda *_: compose.Files(tree))
    with pytest.raises(SpecError) as error:
        trace(load("mutated.yaml"))
    return {problem.mark.line for problem in error.value.problems}


@settings(max_examples=150)
@given(st.sampled_from([p for p in PLACES if isinstance(p[1][-1], str)]), st.data())
def test_a_key_that_lost_a_letter_is_reported_on_its_line(place, data):
    name, (*above, key) = place
    at = data.draw(st.integers(0, len(key) - 1))
    wrong = key[:at] + key[at + 1 :]
    tree = TREES[name].copy()
    parent = tree.at(*above)
    assume(wrong not in KNOWN | set(parent.map))
    parent.value = {wrong if k == key else k: child for k, child in parent.map.items()}
    with pytest.MonkeyPatch.context() as patch:
        assert parent.map[wrong].mark.line in reported_lines(tree, patch)


OTHER = st.sampled_from([{"no": {"such": "thing"}}, [["no"], {"a": 1}], {}, [[]]])


@settings(max_examples=150)
@given(st.sampled_from(PLACES), OTHER)
def test_a_value_of_another_type_is_reported_on_its_line(place, wrong):
    name, path = place
    tree = TREES[name].copy()
    node = tree.at(*path)
    assume(
        not (
            wrong in ({}, [[]]) and (node.is_map or node.is_list or path[-1] in KNOWN or isinstance(node.value, str))
        )
    )
    assume(not (node.is_list and isinstance(wrong, list)))
    node.value = located(wrong, node.mark).value
    with pytest.MonkeyPatch.context() as patch:
        assert node.mark.line in reported_lines(tree, patch)


REQUIRED = [
    (n, p)
    for n, p in PLACES
    if p[-1] in {"out_channels", "kernel_size", "out_features", "times", "layers", "branches"}
]


@given(st.sampled_from(REQUIRED))
def test_a_required_field_that_is_missing_is_reported_where_it_should_stand(place):
    name, (*above, key) = place
    tree = TREES[name].copy()
    parent = tree.at(*above)
    assume(not (key == "layers" and "for" in parent.map) and above[-1:] != ["max_pool"])
    beside = tree.at(*above[2:]) if above[0] == "stages" else None
    assume(beside is None or key not in beside.map)  # a stage has what the spec beside `stages` says
    del parent.map[key]
    with pytest.MonkeyPatch.context() as patch:
        assert parent.mark.line in reported_lines(tree, patch)


def test_a_value_that_could_not_be_worked_out_shows_as_such():
    assert repr(BROKEN) == "(no value)"
