"""Several networks by name, and sections that say something of each of them."""

from __future__ import annotations

from typing import Any

import pytest
from complaints import lines
from jsonschema import Draft7Validator
from torch import nn

from dlx.averages.moving import EMA
from dlx.errors import SpecError
from dlx.init import Default
from dlx.init.by_name import ByName
from dlx.init.he import HeNormal
from dlx.init.orthogonal import Orthogonal
from dlx.optim.adam import Adam
from dlx.optim.sgd import SGD
from dlx.schedules.constant import Constant
from dlx.schedules.timed import Cosine
from dlx.spec import Experiment, load
from dlx.spec.schema import schema
from dlx.spec.why import why

NETS = "networks: {generator: {inputs: [3], layers: [linear: 2]}, critic: {inputs: [2], layers: [linear: 1]}}\n"
ONE = "network: {inputs: [3], layers: [linear: 2]}\n"
TWO = NETS + "train: {steps: 3, optimizer: {generator: {adam: 1e-3}, critic: {sgd: {lr: 0.1}}}}\n"


@pytest.fixture
def loaded(tmp_path):
    def load_text(text: str, *overrides: str, **files: str) -> Experiment:
        for name, content in files.items():
            (tmp_path / f"{name}.yaml").write_text(content)
        (tmp_path / "s.yaml").write_text(text)
        return load(tmp_path / "s.yaml", overrides)

    return load_text


@pytest.fixture
def said(loaded, tmp_path):
    """All that is said of a text or of its overrides."""

    def report(text: str, *overrides: str) -> str:
        try:
            found = "\n".join(str(problem) for problem in loaded(text, *overrides).problems)
        except SpecError as error:
            found = str(error)
        return found.replace(f"{tmp_path}/", "")

    return report


# --- the networks ---------------------------------------------------------------------------------------------------


def test_networks_are_known_by_name_and_in_their_order(loaded):
    experiment = loaded(NETS)
    assert list(experiment.networks) == ["generator", "critic"]
    assert experiment.problems == ()
    views = experiment.views()
    assert [(view.scope, ".".join(view.where)) for view in views.values()] == [
        ("generator", "networks.generator"),
        ("critic", "networks.critic"),
    ]
    assert views["critic"].network.plain() == {"inputs": [2], "layers": [{"linear": 1}]}


def test_one_network_is_what_it_was(loaded):
    experiment = loaded(ONE)
    assert experiment.networks == {}
    assert experiment.views() == {"network": experiment}
    assert experiment.where == ("network",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            ONE + NETS,
            """
            s.yaml:2:1  networks
              `networks` stands beside `network` (line 1)
              Keep one of the two: `network` for one network, `networks` for several by name.
            """,
        ),
        (
            "networks: [relu]\n",
            """
            s.yaml:1:1  networks
              `networks` must be a mapping of names to networks, not ["relu"]
              Write `networks: {generator: {layers: [...]}, discriminator: {layers: [...]}}`.
            """,
        ),
        (
            "networks: {}\n",
            """
            s.yaml:1:1  networks
              `networks` must be a mapping of names to networks, not {}
              Write `networks: {generator: {layers: [...]}, discriminator: {layers: [...]}}`.
            """,
        ),
        (
            "networks: {adam: {}, constant: {}, he_normal: {}, source: {}, objective: {}, my-net: {}}\n",
            """
            s.yaml:1:12  networks.adam
              a network cannot be called `adam`
              An optimizer is called that, and both may be keys of one section.
            s.yaml:1:22  networks.constant
              a network cannot be called `constant`
              A schedule is called that, and both may be keys of one section.
            s.yaml:1:36  networks.he_normal
              a network cannot be called `he_normal`
              An initialiser is called that, and both may be keys of one section.
            s.yaml:1:51  networks.source
              a network cannot be called `source`
              `source` is one of the keys of a claim under `expect`: choose another name.
            s.yaml:1:63  networks.objective
              a network cannot be called `objective`
              `objective` is one of the spec's own words: choose another name.
            s.yaml:1:78  networks.my-net
              a network cannot be called `my-net`
              Letters, digits and `_`, a letter first; no word of Python's.
            """,
        ),
    ],
)
def test_networks_that_cannot_be_are_refused(said, text, sentence):
    assert said(text) == lines(sentence)


def test_more_networks_than_anyone_has_are_refused(said):
    text = f"networks: {{{', '.join(f'n{i}: {{}}' for i in range(101))}}}\n"
    assert said(text) == "s.yaml:1:1  networks\n  `networks` has 101 networks, and 100 are the most"


def test_a_network_has_no_name_that_torchs_modules_need(said):
    taken = [name for name in dir(nn.ModuleDict()) if not name.startswith("_")]
    assert {"values", "train", "type"} <= set(taken)
    for name in taken:
        output = said(f"networks: {{{name}: {{inputs: [3], layers: [linear: 2]}}}}\n")
        assert f"torch's modules use the word `{name}`: add a letter." in output
    assert "a letter first" in said("networks: {_modules: {inputs: [3], layers: [linear: 2]}}\n")


@pytest.mark.parametrize(
    "wrong",
    [
        "networks: []\n",
        "networks: {network: {layers: [linear: 1]}}\n",
        "networks: {a: {layers: [linear: 1]}}\nnetwork: {layers: [linear: 1]}\n",
    ],
)
def test_kinds_by_network_are_not_blamed_where_networks_is_a_mistake(said, wrong):
    kinds = "optimizer: {a: adam, b: adam}, schedule: {b: cosine}"
    more = f"init: {{a: he_normal}}\ntrain: {{steps: 3, {kinds}, batch_siz: 2}}\n"
    output = said(wrong + more)
    assert [line.split("  ")[1] for line in output.splitlines() if line.startswith("s.yaml")] == [
        "networks.network" if "{network" in wrong else "networks",
        "train.batch_siz",
    ]


# --- kinds by network -----------------------------------------------------------------------------------------------


def test_a_kind_is_for_all_networks(loaded):
    experiment = loaded(NETS + "init: he_normal\ntrain: {steps: 3, optimizer: sgd, average: {ema: 0.9}}\n")
    train = experiment.train
    assert (train.optimizer, train.optimizers) == (SGD(), {})
    assert (train.average, train.averages) == (EMA(decay=0.9), {})
    assert train.of("critic") == train
    assert (experiment.init, experiment.inits) == (HeNormal(), {})
    assert experiment.init_of("critic") == HeNormal()


def test_each_network_has_what_its_name_says(loaded):
    experiment = loaded(
        NETS + "init: {generator: he_normal, critic: {orthogonal: 2}}\n"
        "train:\n  steps: 3\n  optimizer: {generator: {adam: 1e-3}, critic: {sgd: 0.1}}\n"
        "  schedule: {critic: cosine}\n  average: {generator: {ema: 0.9}, critic: null}\n"
    )
    train = experiment.train
    assert train.optimizers == {"generator": Adam(lr=1e-3), "critic": SGD(lr=0.1)}
    assert train.schedules == {"critic": Cosine()}
    assert train.averages == {"generator": EMA(decay=0.9)}
    assert (train.optimizer, train.schedule, train.average) == (Adam(), Constant(), None)
    assert experiment.inits == {"generator": HeNormal(), "critic": Orthogonal(gain=2)}
    assert [experiment.init_of(name) for name in experiment.networks] == [HeNormal(), Orthogonal(gain=2)]


def test_the_training_of_one_of_them_has_its_own_and_what_is_common(loaded):
    train = loaded(TWO.replace("steps: 3", "steps: 3, batch_size: 7")).train
    critic = train.of("critic")
    assert (critic.optimizer, critic.batch_size, critic.optimizers) == (SGD(lr=0.1), 7, {})
    assert train.of("generator").optimizer == Adam(lr=1e-3)
    assert train.model_copy(update={"seed": 5}).of("critic").seed == 5
    assert train != loaded(TWO.replace("0.1", "0.2")).train


def test_an_override_of_the_section_replaces_it_and_one_of_a_name_joins(loaded):
    whole = loaded(TWO, "train.optimizer={generator: {sgd: 0.5}}").train.optimizers
    assert whole == {"generator": SGD(lr=0.5)}
    both = loaded(TWO, "train.optimizer.generator={sgd: 0.5}").train.optimizers
    assert both == {"generator": SGD(lr=0.5), "critic": SGD(lr=0.1)}
    assert loaded(TWO, "train.optimizer={sgd: 0.5}").train.optimizers == {}


def test_a_network_that_is_not_named_has_no_average_and_torchs_weights(loaded):
    experiment = loaded(NETS + "init: {critic: he_normal}\ntrain: {steps: 3, average: {critic: {ema: 0.9}}}\n")
    assert experiment.train.of("generator").average is None
    assert experiment.init_of("generator") == Default()


def test_with_one_network_its_name_changes_nothing(loaded):
    named = loaded(
        ONE + "init: {network: he_normal}\n"
        "train:\n  steps: 3\n  optimizer: {network: {adam: 1e-2}}\n"
        "  schedule: {network: cosine}\n  average: {network: ema}\n"
    )
    plain = loaded(
        ONE + "init: he_normal\ntrain: {steps: 3, optimizer: {adam: 1e-2}, schedule: cosine, average: ema}\n"
    )
    assert named.problems == ()
    assert (named.train, named.init, named.inits) == (plain.train, plain.init, {})
    assert named.train.optimizers == {}


def test_patterns_of_by_name_have_the_networks_name_before_them(loaded):
    init = "init: {by_name: {match: {generator/fc: zeros, 'critic/*': he_normal, fc: identity}}}\n"
    experiment = loaded(NETS + init)
    generator, critic = experiment.init_of("generator"), experiment.init_of("critic")
    assert isinstance(generator, ByName)
    assert [generator.of(name).kind for name in ("fc", "other")] == ["zeros", "default"]
    assert critic.of("fc").kind == "he_normal"
    assert experiment.init.of("fc").kind == "identity"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            "train: {steps: 3, optimizer: {generator: {adam: 1e-3}, sgd: 0.1}}\n",
            """
            s.yaml:2:31  train.optimizer.generator
              the network `generator` stands beside `sgd` (line 2), a kind of optimizer
              Write one optimizer for all networks, or one for each by its name.
            """,
        ),
        (
            "train: {steps: 3, optimizer: {generatr: {adam: 1e-3}}}\n",
            """
            s.yaml:2:31  train.optimizer.generatr
              there is no network and no optimizer `generatr`
              Did you mean `generator`?
            """,
        ),
        (
            "train: {steps: 3, schedule: {xyz: cosine}}\n",
            """
            s.yaml:2:30  train.schedule.xyz
              there is no network and no schedule `xyz`
              There are the networks critic, generator.
            """,
        ),
        (
            "init: {critic: he_noormal, generator: {orthogonal: {gian: 2}}}\n",
            """
            s.yaml:2:8  init.critic
              there is no initialiser `he_noormal`
              Did you mean `he_normal` or `normal`?
            s.yaml:2:53  init.generator.orthogonal.gian
              `orthogonal` has no field `gian`
              Did you mean `gain`?
            """,
        ),
        (
            "train: {optimizer: {generator: {adam: -1}}, log_evry: 3}\n",
            """
            s.yaml:2:33  train.optimizer.generator.adam.lr
              `lr` must be at least 0, not -1
              lr: learning rate.
            s.yaml:2:45  train.log_evry
              `train` has no field `log_evry`
              Did you mean `log_every`?
            """,
        ),
        (
            "train: {optimizer: {generator: lbfgs, critic: sgd}, steps: 3, clip_norm: 1}\n",
            """
            s.yaml:2:1  train
              `generator`: lbfgs looks at the loss more than once a step, and its gradients cannot be clipped
            """,
        ),
        (
            (
                "train:\n  optimizer: {generator: sgd, critic: adam}\n  steps: 3\n"
                "  schedule: {one_cycle: {cycle_momentum: true}}\n"
            ),
            """
            s.yaml:2:1  train
              `generator`: the schedule moves the momentum, and that of sgd is 0: write `momentum: 0.95`
            """,
        ),
        (
            "train: {optimizer: {generator: sgd, critic: adam}}\n",
            """
            s.yaml:2:1  train
              training lasts `steps: N` or `epochs: N`: give one of the two
            """,
        ),
    ],
)
def test_what_is_wrong_by_network_is_reported_at_its_place(said, more, sentence):
    assert said(NETS + more) == lines(sentence)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("train: {steps: 3, optimizer: {adma: 1e-3}}\n", "there is no optimizer `adma`"),
        ("train: {steps: 3, optimizer: {adam: {}, lr: 3}}\n", "`lr` stands beside `adam`"),
        ("train: {steps: 3, optimizer: {}}\n", "`optimizer` wants the kind of an optimizer, not {}"),
        ("init: {foo: 3, bar: 4}\n", "`foo` and `bar` are no initialiser"),
    ],
)
def test_what_is_said_of_one_network_is_what_was_said(said, more, sentence):
    assert sentence in said(ONE + more)


def test_a_mix_with_one_network_names_both(said):
    assert said(ONE + "train:\n  steps: 3\n  optimizer:\n    network: adam\n    sgd: 0.1\n") == lines(
        """
        s.yaml:5:5  train.optimizer.network
          the network `network` stands beside `sgd` (line 6), a kind of optimizer
          Write one optimizer for all networks, or one for each by its name.
        """
    )


# --- overrides, defaults, expressions -------------------------------------------------------------------------------


def optimizers(experiment: Experiment) -> dict[str, Any]:
    assert experiment.problems == ()
    assert experiment.train is not None
    return dict(experiment.train.optimizers)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("train.optimizer.generator.adam.lr=0.5", {"generator": Adam(lr=0.5), "critic": SGD(lr=0.1)}),
        ("train.optimizer.generator.adam.eps=0.5", {"generator": Adam(lr=1e-3, eps=0.5), "critic": SGD(lr=0.1)}),
        ("train.optimizer.generator={sgd: 0.3}", {"generator": SGD(lr=0.3), "critic": SGD(lr=0.1)}),
        ("~train.optimizer.generator", {"critic": SGD(lr=0.1)}),
        ("train.optimizer={critic: sgd}", {"critic": SGD()}),
        ("train.optimizer=sgd", {}),
    ],
)
def test_an_override_reaches_into_a_network(loaded, change, found):
    assert optimizers(loaded(TWO, change)) == found


def test_an_override_gives_a_network_what_it_had_not(loaded):
    experiment = loaded(TWO, "+train.schedule.critic.cosine.end_factor=0.1", "networks.critic.layers.linear_1=7")
    assert experiment.train.schedules == {"critic": Cosine(end_factor=0.1)}
    assert experiment.networks["critic"].at("layers").plain() == [{"linear": 7}]


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (
            "train.optimizer.crtic.sgd.lr=1",
            "there is no `train.optimizer.crtic` to override",
            "Did you mean `critic`? A new key is written `+train.optimizer.crtic=...`.",
        ),
        (
            "train.optimizer.critic.lr=1",
            "`train.optimizer.critic` holds `sgd`, and no `lr` beside it",
            "Did you mean `train.optimizer.critic.sgd.lr`?",
        ),
        (
            "train.optimizer.critic.adam.lr=1",
            "`train.optimizer.critic` holds `sgd`, and no `adam` beside it",
            "Another kind is set whole: `train.optimizer.critic={adam: {lr: ...}}`.",
        ),
        (
            "networks.crtic.layers.0=relu",
            "there is no `networks.crtic` to override",
            "Did you mean `critic`? A new key is written `+networks.crtic=...`.",
        ),
    ],
)
def test_an_override_that_meets_nothing_says_what_there_is(said, change, message, hint):
    assert said(TWO, change).splitlines()[1:] == [f"  {message}", f"  {hint}"]


def test_an_override_of_one_network_where_a_kind_is_for_all_says_how_it_is_written(said):
    text = NETS + "train: {steps: 3, optimizer: sgd}\n"
    assert said(text, "train.optimizer.critic.sgd.lr=1").splitlines()[1:] == [
        "  `train.optimizer` holds `sgd`, and no `critic` beside it",
        "  It is that of all networks. One for each is set whole: `train.optimizer={critic: ...}`.",
    ]


BASE = NETS + (
    "train: {steps: 3, optimizer: {generator: {adam: {lr: 1e-3, eps: 0.5}}, critic: {sgd: 0.1}},"
    " average: {generator: {ema: 0.9}}}\n"
)


@pytest.mark.parametrize(
    ("over", "found"),
    [
        # names join, and fields of one kind do
        (
            "{generator: {adam: {lr: 0.2}}}",
            {"generator": Adam(lr=0.2, eps=0.5), "critic": SGD(lr=0.1)},
        ),
        # another kind replaces the one below the name
        ("{generator: {sgd: {lr: 0.2}}}", {"generator": SGD(lr=0.2), "critic": SGD(lr=0.1)}),
        # a kind for all replaces the names
        ("{sgd: 0.2}", {}),
    ],
)
def test_defaults_join_names_and_replace_kinds_below_them(loaded, over, found):
    experiment = loaded(f"defaults: [base]\ntrain: {{optimizer: {over}}}\n", base=BASE)
    assert optimizers(experiment) == found


def test_names_replace_a_kind_for_all(loaded):
    base = NETS + "train: {steps: 3, optimizer: {sgd: 0.3}}\ninit: he_normal\n"
    over = "defaults: [base]\ninit: {critic: {orthogonal: 1}}\ntrain: {optimizer: {critic: adam}}\n"
    experiment = loaded(over, base=base)
    assert optimizers(experiment) == {"critic": Adam()}
    assert experiment.inits == {"critic": Orthogonal()}


def test_an_average_of_another_kind_replaces_the_one_before(loaded):
    experiment = loaded("defaults: [base]\ntrain: {average: {generator: polyak}}\n", base=BASE)
    assert {name: one.kind for name, one in experiment.train.averages.items()} == {"generator": "polyak"}


def test_a_network_of_the_defaults_can_be_changed_and_joined_by_another(loaded):
    more = "defaults: [base]\nnetworks: {critic: {layers: [linear: 9]}, other: {inputs: [1], layers: [relu]}}\n"
    experiment = loaded(more, base=NETS)
    assert list(experiment.networks) == ["generator", "critic", "other"]
    assert experiment.networks["critic"].plain() == {"inputs": [2], "layers": [{"linear": 9}]}


def test_expressions_are_worked_out_below_a_name(loaded):
    experiment = loaded("vars: {rate: 0.02}\n" + TWO.replace("lr: 0.1", "lr: '${rate / 2}'"))
    assert optimizers(experiment)["critic"] == SGD(lr=0.01)


def test_the_resolved_spec_reads_back_as_the_same(loaded):
    first = loaded(BASE + "init: {critic: he_normal}\n", "train.optimizer.critic.sgd.momentum=0.5")
    again = loaded(first.resolved())
    assert (again.train, again.inits) == (first.train, first.inits)
    assert again.resolved() == first.resolved()
    assert optimizers(again)["critic"] == SGD(lr=0.1, momentum=0.5)


# --- why ------------------------------------------------------------------------------------------------------------


def test_why_finds_a_value_below_a_name_and_its_defaults(loaded):
    change = "train.optimizer.critic.sgd.lr=0.7"
    experiment = loaded(TWO, change)
    origin = why(experiment, "train.optimizer.critic.sgd.lr", [change])
    assert (origin.value, origin.mark.file) == (0.7, f"override `{change}`")
    assert [(old.value, old.mark.line) for old in origin.replaced] == [(0.1, 2)]
    assert why(experiment, "train.optimizer.critic.sgd.momentum").default_of == "sgd"
    assert why(experiment, "train.optimizer.critic").kind == "sgd"
    assert why(experiment, "networks.generator.layers.linear_1.out_features").mark.line == 1


def test_why_finds_a_value_below_the_name_of_one_network(loaded):
    experiment = loaded(ONE + "init: {network: {orthogonal: 2}}\ntrain: {steps: 3, optimizer: {network: {sgd: 1}}}\n")
    assert why(experiment, "train.optimizer.network.sgd.lr").mark.line == 3
    assert why(experiment, "init.network.orthogonal.gain").value == 2


# --- the schema -----------------------------------------------------------------------------------------------------

VALIDATOR = Draft7Validator(schema())
LAYERS = {"inputs": [3], "layers": ["relu"]}


def written(train: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"networks": {"a": LAYERS, "b": LAYERS}, "train": {"steps": 3} | train} | more


@pytest.mark.parametrize(
    "spec",
    [
        written({"optimizer": {"a": {"adam": 1e-3}, "b": "sgd"}}),
        written({"optimizer": "sgd", "schedule": {"a": {"cosine": {}}}, "average": {"a": {"ema": 0.9}, "b": None}}),
        written({}, networks={"a": LAYERS, "b": {"copy": "a", "follow": {"ema": 0.9}}}),
        written({"average": None}, init={"a": "he_normal", "b": {"by_name": {"match": {"b/x": "zeros"}}}}),
    ],
)
def test_the_schema_takes_kinds_by_network(spec):
    assert not list(VALIDATOR.iter_errors(spec))


@pytest.mark.parametrize(
    "spec",
    [
        written({"optimizer": {"a": {"adam": {"lrr": 1}}}}),
        written({"optimizer": {"a": {"adma": {}}}}),
        written({"optimizer": {"sgd": {}, "a": "sgd"}}),
        written({"optimizer": {"a": None}}),
        written({}, init={"a": {"he_normal": {"fan": 1}}}),
        written({}, networks={"a": {"layer": []}}),
        written({}, networks={"a": {"layers": []}, "b": {"copy": "a", "follow": {"evry": 5}}}),
        written({}, networks={"a": {"layers": []}, "b": {"copy": "a", "layers": []}}),
    ],
)
def test_the_schema_marks_what_is_refused(spec):
    assert list(VALIDATOR.iter_errors(spec))
