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
}


@pytest.mark.parametrize(("spec", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_where_it_is_with_the_way_out(tmp_path, spec, told):
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
