"""Mistakes whose sentence did not lead to the mend, each with the whole of what is said of it."""

import pytest
from complaints import lines, report

DENSE = """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification"""
MISTAKES = {
    "a span that is no range": (
        DENSE
        + """
        train: {epochs: 2}
        vars: {width: 32, drop: 0.5, depth: 1}
        sweep: {space: {vars.width: 16-64, vars.drop: 0.1..0.5, vars.depth: about 3}}
        """,
        """
        s.yaml:6:17  sweep.space.vars.width
          `vars.width` does not vary: it is "16-64"
          Whole numbers with 64 among them are `range(16, 65)`: the end of a range is not in it.
        s.yaml:6:36  sweep.space.vars.drop
          `vars.drop` does not vary: it is "0.1..0.5"
          All numbers between two are `interval(0.1, 0.5)`.
        s.yaml:6:57  sweep.space.vars.depth
          `vars.depth` does not vary: it is "about 3"
          Write a list of values, `choice(1, 2)`, `range(1, 9)` (1 to 8), `interval(0, 1)` or `glob(*)`.
        """,
    ),
    "fields of the optimizer that there is": (
        DENSE
        + """
        train: {epochs: 2, optimizer: {adamw: {lr: 3e-3}}, learning_rate: 0.02, momentum: 0.8}
        """,
        """
        s.yaml:4:52  train.learning_rate
          `train` has no field `learning_rate`
          It is a field of the optimizer: `optimizer: {adamw: {lr: 0.02}}`.
        s.yaml:4:73  train.momentum
          `train` has no field `momentum`
          It is a field of the optimizer: `optimizer: {sgd: {momentum: 0.8}}`.
        """,
    ),
    "the lowest rate of a schedule": (
        DENSE
        + """
        train: {epochs: 2, optimizer: sgd, schedule: {cosine: {eta_min: 0.001}}}
        """,
        """
        s.yaml:4:56  train.schedule.cosine.eta_min
          `cosine` has no field `eta_min`
          Did you mean `end_factor`? It is a factor of the optimizer's `lr`: 0.001 / lr.
        """,
    ),
    "the sizes of an attack": (
        DENSE
        + """
        train: {epochs: 2}
        analyses: {attack: {adversarial: {epsilons: [0.1]}}}
        """,
        """
        s.yaml:5:35  analyses.attack.adversarial.epsilons
          `adversarial` has no field `epsilons`
          Did you mean `perturbations`? It is a list: `perturbations: [0.1, 0.2]`.
        """,
    ),
    "freeze of a block": (
        """
        data: digits
        blocks: {body: {layers: [flatten, linear: 8]}}
        network: {layers: [{body: , name: trunk}, {linear: 10, name: head}]}
        objective: classification
        train: {epochs: 2}
        freeze: [body]
        """,
        """
        s.yaml:6:10  freeze
          `freeze` matches no node: "body"; `body` is a block, and each use of it has a name
          There are head, trunk/*. `trunk`, or `trunk/*`, is all inside of it.
        """,
    ),
    "classification of values": (
        """
        data: {table: {path: t.csv, targets: {price: values, rented: classes}}}
        network: {layers: [{linear: 2}]}
        objective: {classification: {field: price}}
        train: {epochs: 2}
        """,
        """
        s.yaml:3:30  objective.classification.field
          classification learns classes, and `price` holds values; `rented` holds classes (s.yaml:1:1)
          Write `field: rented`; values are learned by `regression`.
        """,
    ),
    "words that YAML 1.1 took for true and false": (
        """
        blocks: {unit: {args: {act: true}, layers: [{relu: , when: "${act}"}]}}
        network: {inputs: [3, 8, 8], layers: [{unit: {act: no}}, {linear: {out_features: 2, bias: off}}]}
        """,
        """
        s.yaml:1:54  network.layers.unit_1/relu_1
          `when` must be true or false, not "no"
          `no` is a word in YAML 1.2: write `act: false`.
          called at s.yaml:2:40
        s.yaml:2:85  network.layers.linear_1.bias
          `bias` must be true or false, not "off"
          `off` is a word in YAML 1.2: write `false`.
        """,
    ),
    "a node that fits": (
        """
        network:
          inputs: [3, 16, 16]
          layers:
            - {conv: {out_channels: 4, kernel_size: 3, padding: 1}, name: fine}
            - {max_pool: 2, name: low}
            - {upsample: 2, name: up}
            - concat:
              from: [low, up]
        """,
        """
        s.yaml:7:7  network.layers.concat_1
          concat joins (4, 8, 8) from `low` (line 5) with (4, 16, 16) from `up` (line 6): sizes 8x8 and 16x16 differ
          Upsample the smaller by 2, or take a branch that is 16x16, as `fine` is, or add `crop: center`.
        """,
    ),
    "commas inside numbers": (
        """
        network: {inputs: [4], layers: [relu]}
        expect: {params: {is: 59,065, source: by hand}, units: {is: 1,234,567}}
        """,
        """
        s.yaml:2:26
          the comma in `59,065` ends an entry inside {...}
          Write `59_065` or `59065`.
        s.yaml:2:67
          the comma in `1,234,567` ends an entry inside {...}
          Write `1_234_567` or `1234567`.
        """,
    ),
    "sections inside of others": (
        """
        data: digits
        network:
          layers: [flatten, linear: "${width}", linear: 10]
          vars: {width: 8}
        objective: classification
        train:
          epochs: 2
          weights: {from: x}
        """,
        """
        s.yaml:4:3  network.vars
          `network` has no `vars`
          `vars` is a section of the spec: it stands beside the others, without spaces before it.
        s.yaml:8:3  train.weights
          `train` has no field `weights`
          `weights` is a section of the spec: it stands beside the others, without spaces before it.
        """,
    ),
    "branches that are summed": (
        """
        network: {inputs: [4], layers: [parallel: {branches: [[relu], [tanh]], merge: sum}]}
        """,
        """
        s.yaml:1:72  network.layers.parallel.merge
          `sum` adds up an axis of one input, and `merge` joins several
          Write `merge: add`.
        """,
    ),
    "stacks of matrices that differ": (
        """
        network:
          inputs: {a: [3, 4, 5], b: [2, 5, 6]}
          layers: [{matmul: , from: [a, b]}]
        """,
        """
        s.yaml:3:13  network.layers.matmul_1
          matmul multiplies (3, 4, 5) from `a` (line 2) by (2, 5, 6) from `b` (line 2), matrix by matrix: \
stacks of 3 and 2 matrices differ
          Both have as many, as heads of attention do, or one has 1, which is multiplied by each.
        """,
    ),
    "an optimizer beside the training of a stage": (
        DENSE
        + """
        train: {epochs: 2}
        stages: [{name: a}, {name: b, optimiser: adam}]
        """,
        """
        s.yaml:5:31  stages.1.optimiser
          a stage has no `optimiser`
          It stands inside `train`: `train: {optimizer: ...}`.
        """,
    ),
}


@pytest.mark.parametrize(("spec", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_where_it_is_with_the_way_out(tmp_path, spec, told):
    (tmp_path / "t.csv").write_text("area,price,rented\n1,10,yes\n2,20,no\n3,30,yes\n4,45,no\n")
    assert report(tmp_path, lines(spec) + "\n") == lines(told)


def test_the_way_out_of_an_override_is_an_override(tmp_path):
    spec = (
        DENSE
        + """
        train: {epochs: 2, optimizer: {adamw: {lr: 3e-3}}}
        """
    )
    assert report(tmp_path, lines(spec), "+train.lr=0.01") == lines(
        """
        override `+train.lr=0.01`  train.lr
          `train` has no field `lr`
          It is a field of the optimizer: `train.optimizer.adamw.lr=0.01`.
        """
    )


def test_a_section_below_a_table_of_toml_is_told_its_place(tmp_path):
    spec = """
        [network]
        inputs = [4]
        layers = [{ linear = "${width}" }]
        vars = { width = 8 }
        """
    assert report(tmp_path, lines(spec), name="s.toml") == lines(
        """
        s.toml:4:1  network.vars
          `network` has no `vars`
          `vars` belongs at the top of the file, above the first `[table]`, or into a table `[vars]`.
        """
    )
