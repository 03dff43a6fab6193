"""The calls of an objective, against the inputs of the networks and the fields of the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from complaints import lines

from dlx.errors import SpecError
from dlx.graph import trace_all
from dlx.objectives import OBJECTIVES, Call, Objective, Phase
from dlx.shapes import Shape
from dlx.spec import load, objective_of

DATA = "data: {synthetic: {shape: [6], target: [2]}}\n"
NETS = """\
networks:
  generator: {inputs: {noise: [4]}, layers: [linear: 6]}
  critic: {inputs: {image: [6], value: [2]}, layers: [{concat: {}, from: [image, value]}, linear: 1]}
objective: duel
"""


@pytest.fixture(autouse=True)
def duel() -> Iterator[None]:
    """The objective `duel` of two networks, and `lonely` of one, for as long as a test runs."""

    class Duel(Objective):
        """The critic is given examples with their targets, and what the generator makes."""

        kind: ClassVar[str] = "duel"

        def phases(self) -> Any:
            return (Phase("critic", ("critic",), ("input", "target")), Phase("generator", ("generator",), ()))

        def needs(self, fields: Any, networks: Any) -> Any:
            (made,) = networks["generator"].outputs.values()
            return (
                Call("generator", {"noise": Shape([4])}),
                Call("critic", {"image": "input", "value": "target"}),
                Call("critic", {"image": made, "value": "target"}),
            )

    class Lonely(Objective):
        """One network that is given a field that few data have."""

        kind: ClassVar[str] = "lonely"

        def phases(self) -> Any:
            return (Phase("learn", ("network",), ("input",)),)

        def needs(self, fields: Any, networks: Any) -> Any:
            return (Call("network", {"x": "time"}), Call("other", {"x": "input"}))

    yield
    for kind in (Duel.kind, Lonely.kind):
        del OBJECTIVES._classes[kind]


@pytest.fixture
def said(tmp_path):
    """All that is said of a spec, its file called `s.yaml`; empty where nothing is wrong."""

    def problems(text):
        (tmp_path / "s.yaml").write_text(text)
        try:
            trace_all(load(tmp_path / "s.yaml"))
        except SpecError as error:
            return str(error).replace(f"{tmp_path}/", "")
        return ""

    return problems


def test_calls_that_fit_are_taken(said):
    assert said(DATA + NETS) == ""
    assert said(DATA + NETS.replace("{noise: [4]}", "{whatever: [4]}")) == ""  # one input takes what there is


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "linear: 6",
            "linear: 5",
            """
            s.yaml:4:21  networks.critic.inputs.image
              duel gives `critic` (5,) as `image`, the output of `generator` (s.yaml:3:46), and that input is (6,)
              Write `image: [5]` there, or let `generator` end in (6,).
            """,
        ),
        (
            "value: [2]",
            "value: [3]",
            """
            s.yaml:4:33  networks.critic.inputs.value
              duel gives `critic` (2,) as `value`, the field `target` of the data, and that input is (3,)
              Write `value: [2]` there.
            """,
        ),
        (
            "{noise: [4]}, layers: [",
            "{noise: {shape: [4], dtype: int}}, layers: [embedding: {num_embeddings: 3, embedding_dim: 2}, flatten, ",
            """
            s.yaml:3:24  networks.generator.inputs.noise
              duel gives `generator` (4,) of float as `noise`, and that input is (4,) of int
            """,
        ),
        (
            "value: [2]",
            "value: [2], time: [1]",
            """
            s.yaml:4:12  networks.critic.inputs
              duel calls `critic` with `image` and `value`, and its inputs are `image`, `value` and `time`
              An input has the name under which the objective gives it.
            """,
        ),
        (
            "layers: [linear: 6]",
            "layers: [linear: 6], outputs: {a: noise, b: linear_1}",
            """
            s.yaml:5:1  objective.duel
              duel cannot say what it needs of these networks: too many values to unpack (expected 1)
            """,
        ),
        (
            "objective: duel",
            "objective: classification",
            """
            s.yaml:5:1  objective.classification
              classification trains one `network`, and the spec has `networks`: `generator` and `critic`
              Write `network`, or an `objective` that has phases for several: a package may bring one.
            """,
        ),
    ],
)
def test_a_call_that_does_not_fit_is_reported_with_both_sides(said, old, new, sentence):
    assert said(DATA + NETS.replace(old, new)) == lines(sentence)


def test_a_network_that_is_not_there_is_reported_with_those_that_are(said):
    has = "the spec has the networks `genrator` and `critic`, and the data the fields `input` and `target`"
    assert said(DATA + NETS.replace("generator:", "genrator:")).splitlines() == [
        "s.yaml:5:1  objective.duel",
        f"  duel wants `generator`: {has}",
        "  Did you mean `genrator`?",
    ]


def test_a_field_that_the_data_does_not_have_is_reported(said):
    data = DATA.replace(", target: [2]", ", classes: 3")
    assert said(data + NETS.replace("value: [2]", "value: [1]")) == lines(
        """
        s.yaml:4:33  networks.critic.inputs.value
          duel gives `critic` () of int as `value`, the field `target` of the data, and that input is (1,) of float
        """
    )


def test_one_network_is_called_by_the_word_network(said):
    text = f"{DATA}network: {{inputs: {{x: [6]}}, layers: [linear: 1]}}\nobjective: lonely\n"
    assert said(text) == lines(
        """
        s.yaml:2:20  network.inputs.x
          lonely gives `network` the field `time` as `x`, and the data has the fields `input` and `target`
          There are input, target.
        s.yaml:3:1  objective.lonely
          lonely calls the network `other`, and the spec has `network`
          Networks have names under `networks`: `networks: {NAME: {layers: [...]}}`.
        """
    )


def test_nothing_is_asked_of_networks_that_are_wrong_themselves(said):
    assert "duel" not in said(DATA + NETS.replace("linear: 6", "linear: 0"))
    assert said(NETS) == ""  # without data no field is known


def test_several_networks_imply_no_objective(tmp_path):
    (tmp_path / "s.yaml").write_text(DATA + NETS.replace("objective: duel\n", ""))
    experiment = load(tmp_path / "s.yaml")
    assert list(trace_all(experiment)) == ["generator", "critic"]
    with pytest.raises(SpecError) as error:
        objective_of(experiment)
    assert str(error.value).replace(f"{tmp_path}/", "").splitlines()[:2] == [
        "s.yaml:2:1  objective",
        "  there is no `objective` to train the networks `generator`, `critic` with",
    ]
    assert "by which loss: `distillation`" in str(error.value)
    assert "`dlx.objectives`" in str(error.value)
