"""Commands on a spec with several networks."""

from __future__ import annotations

import json
import shlex

import pytest
from complaints import lines
from test_spec_page import printed

SPEC = """\
dlx: 1
networks:
  generator:
    inputs: {noise: [16]}
    layers: [linear: 32, relu, linear: 64, reshape: [1, 8, 8]]
  critic:
    inputs: {image: [1, 8, 8]}
    layers: [flatten, linear: 32, leaky_relu, linear: 1]
freeze: [generator/linear_1]
train: {steps: 3, optimizer: {generator: {sgd: 0.1}, critic: {adam: 1e-3}}}
expect:
  params: 4769
  macs: {generator: 2560, critic/linear_2: 32, source: by hand}
  shape: {generator: [1, 8, 8], critic: 1}
  depth: {generator: 2, critic: 2}
  count: {linear: 4, relu: 1}
  figures:
    by name: {of: "${generator.params + critic.linear_2.params}", is: 2689}
    of all: {of: "${params / 10}", is: 476.9}
    values that come out: {of: "${generator.reshape_1.units}", is: 64}
"""
GENERATOR, CRITIC = 16 * 32 + 32 + 32 * 64 + 64, 64 * 32 + 32 + 32 + 1


@pytest.fixture
def run(tmp_path, monkeypatch):
    """What a command prints of the spec `s.yaml`, and its exit status."""
    (tmp_path / "s.yaml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)

    def run_command(command, *more, text=SPEC):
        (tmp_path / "s.yaml").write_text(text)
        return printed(shlex.join(["dlx", command, "s.yaml", *more]))

    return run_command


def document(output):
    text, status = output
    assert status == 0
    return json.loads(text)


# --- inspect --------------------------------------------------------------------------------------------------------


def test_inspect_shows_the_totals_and_the_table_of_each_network(run):
    printed, status = run("inspect")
    assert status == 0
    assert printed.splitlines()[:9] == [
        "s",
        "2 networks: generator, critic",
        f"{GENERATOR + CRITIC:,} parameters ({GENERATOR + CRITIC - 544:,} trainable)",
        f"{16 * 32 + 32 * 64 + 64 * 32 + 32:,} MACs for a sample through each",
        f"{4 * (32 + 32 + 64 + 32 + 32 + 1)} B of activations for a sample through each",
        "",
        "generator",
        "name       kind             output  params   MACs  memory   field",
        "noise      input                16",
    ]
    assert f"{CRITIC:,} parameters" in printed.splitlines()


def test_inspect_gives_the_document_of_each_network(run):
    facts = document(run("inspect", "--json"))
    assert (facts["params"], facts["trainable"]) == (GENERATOR + CRITIC, GENERATOR + CRITIC - 544)
    assert list(facts["networks"]) == ["generator", "critic"]
    assert [layer["name"] for layer in facts["networks"]["critic"]["layers"]][:2] == ["flatten_1", "linear_1"]


def test_the_memory_of_a_step_is_that_of_each_network_with_its_own_optimizer(run):
    facts = document(run("inspect", "--json", "--batch", "8"))["memory"]
    assert list(facts) == ["generator", "critic"]
    assert facts["generator"]["optimizer"] == 0  # SGD without momentum keeps nothing
    assert facts["critic"]["optimizer"] == 4 * 2 * CRITIC  # Adam keeps two values for each
    text, _ = run("inspect", "--batch", "8")
    assert text.count("at the peak of a training step of 8 samples") == 2
    assert text.splitlines()[-1] == (
        "Each step is of that network alone: what they take together is up to the objective, and is not the sum."
    )


def test_inspect_finds_a_layer_by_its_full_name(run):
    text, _ = run("inspect", "--layer", "critic/linear_2")
    assert text.splitlines()[0] == "critic/linear_2"
    facts = document(run("inspect", "--json", "--layer", "critic/linear_2"))
    assert (facts["network"], facts["name"], facts["params"]) == ("critic", "linear_2", 33)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--layer", "linear_2"],
            """
            --layer
              there is no network `linear_2`
              Did you mean `critic/linear_2` or `generator/linear_2`?
            """,
        ),
        (
            ["--layer", "critic/linear_7"],
            """
            --layer
              there is no layer `critic/linear_7`
              Did you mean `critic/linear_2` or `critic/linear_1`?
            """,
        ),
        (
            ["--layer", "critic"],
            """
            --layer
              `critic` is a network
              Name one of its layers: `critic/flatten_1`.
            """,
        ),
        (
            ["--input", "1x16x16"],
            """
            --input 1x16x16
              there are several networks: `generator`, `critic`
              Say of which network: `--input generator/1x16x16`.
            """,
        ),
        (
            ["--input", "critic/picture=1x16x16"],
            """
            --input picture=1x16x16
              the network has no input `picture`
              There is image.
            """,
        ),
    ],
)
def test_inspect_says_how_the_networks_are_named(run, arguments, sentence):
    assert run("inspect", *arguments) == (lines(sentence) + "\n", 2)


def test_inspect_takes_another_input_of_one_of_them(run):
    facts = document(run("inspect", "--json", "--input", "critic/image=1x16x16", "~expect"))["networks"]
    assert (facts["generator"]["params"], facts["critic"]["params"]) == (GENERATOR, 256 * 32 + 32 + 33)


def test_another_tool_counts_all_of_them_or_one_layer(run):
    assert document(run("inspect", "--json", "--as", "keras"))["as"]["params"] == GENERATOR + CRITIC
    assert document(run("inspect", "--json", "--as", "keras", "--layer", "critic/linear_2"))["as"]["params"] == 33


# --- claims ---------------------------------------------------------------------------------------------------------


def test_verify_holds_claims_by_network(run):
    output, status = run("verify")
    assert output.splitlines()[-1] == "12 receipts of 1 spec: 12 holds"
    assert status == 0


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ("params: {generator: 1}", f"claims params of generator 1, and it is {GENERATOR:,}"),
        ("params: {generatr: 1}", "and there is no network `generatr`. Did you mean `generator`?"),
        ("params: {critic/linear_7: 1}", "and there is no `linear_7`. Did you mean `linear_2` or `linear_1`?"),
        (
            "depth: 2",
            "and there are several networks. Say of which: `depth: {generator: ...}` or `depth: {critic: ...}`",
        ),
        ("count: {conv: 1}", "claims count of conv 1, and it is 0"),
        ("count: {cnov: 1}", "there is no layer `cnov`. Did you mean `conv`?"),
        ("figures: {a: {of: '${generator}', is: 3}}", "Ask for a quantity: `${generator.params}`."),
        ("figures: {a: {of: '${generator.parms}', is: 3}}", "there is no `parms` of `generator`"),
        ("figures: {a: {of: '${depth}', is: 3}}", "there is no variable `depth` here"),
    ],
)
def test_a_claim_that_does_not_hold_says_why(run, claim, sentence):
    output, status = run("verify", text=f"{SPEC.partition('expect')[0]}expect: {{{claim}}}\n")
    assert sentence in " ".join(output.split())
    assert status == 1


def test_exact_values_are_claimed_of_one_network(run):
    claim = "expect: {output: {at: [0], is: [0]}}\n"
    printed, status = run("inspect", text=SPEC.partition("expect")[0] + claim)
    assert (
        printed
        == lines(
            """
        s.yaml:11:10  expect.output
          `output` claims exact values, which are worked out for a spec with one `network`
          Claim them in a spec in which that network is the only one.
        """
        )
        + "\n"
    )
    assert status == 2


# --- explain, why, diff ---------------------------------------------------------------------------------------------


def test_explain_shows_a_network_and_a_layer_by_their_names(run):
    output, _ = run("explain", "--layer", "critic/linear_2")
    assert output.splitlines()[0] == "critic/linear_2  linear"
    assert "          32 * 1 = 32" in output.splitlines()
    output, _ = run("explain", "--layer", "generator")
    assert output.splitlines()[0] == "generator  4 layers"
    assert output.splitlines()[-1] == "One of them line by line: add `--layer generator/linear_1`."


def test_explain_shows_each_network_where_none_is_named(run):
    pages = {name: run("explain", "--layer", name)[0] for name in ("generator", "critic")}
    assert run("explain") == (pages["generator"] + "\n" + pages["critic"], 0)
    found = json.loads(run("explain", "--json")[0])["networks"]
    assert found == {name: json.loads(run("explain", "--layer", name, "--json")[0]) for name in pages}


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("networks.critic.layers.linear_2.out_features", "networks.critic.layers.linear_2.out_features = 1"),
        ("networks.critic.layers.linear_2.linear.out_features", "networks.critic.layers.linear_2.out_features = 1"),
        ("train.optimizer.critic.adam.lr", "train.optimizer.critic.adam.lr = 0.001"),
    ],
)
def test_why_takes_the_keys_of_networks(run, key, first):
    output, status = run("why", key)
    assert (output.splitlines()[0], status) == (first, 0)
    assert output.splitlines()[1].startswith("  from  s.yaml:")


def test_why_reaches_into_a_block_of_a_network(run):
    blocks = "blocks: {two: {args: {width: 3}, layers: [linear: '${width}', relu]}}\n"
    text = f"{blocks}networks: {{a: {{inputs: [3], layers: [two]}}, b: {{inputs: [4], layers: [two: 5]}}}}\n"
    output, status = run("why", "networks.b.layers.two_1/linear_1.out_features", text=text)
    assert (output.splitlines()[0], status) == ("networks.b.layers.two_1/linear_1.out_features = 5", 0)
    assert "s.yaml:1:" in output
    output, _ = run("why", "networks.b.layers.two_1/linear_7", text=text)
    assert "there is no layer `two_1/linear_7`" in output


def test_diff_compares_networks_of_one_name(run):
    output, status = run("diff", "s.yaml", "networks.critic.layers.linear_1=20", "train.optimizer.critic.adam.lr=0.5")
    assert status == 0
    rows = [" ".join(line.split()) for line in output.splitlines()]
    assert rows[:3] == ["s", "generator", "It is the same: 4 layers, 2,656 parameters."]
    fewer = 12 * 64 + 12 + 12  # 12 units less: their weights, their biases, and what reads them
    assert f"parameters {CRITIC:,} {CRITIC - fewer:,} -{fewer} (-37.5%)" in rows
    assert f"parameters {GENERATOR + CRITIC:,} {GENERATOR + CRITIC - fewer:,} -{fewer} (-16.6%)" in rows
    assert rows[-1] == "train.optimizer.critic.adam.lr: 0.001 -> 0.5"


def test_diff_gives_the_document_of_each_network(run):
    facts = document(run("diff", "s.yaml", "networks.critic.layers.linear_1=20", "--json"))
    changed = {name: [step["change"] for step in each["layers"]] for name, each in facts["networks"].items()}
    assert changed == {
        "generator": ["unchanged"] * 4,
        "critic": ["unchanged", "changed", "changed", "changed"],
    }
    assert facts["totals"]["params"] == {"a": GENERATOR + CRITIC, "b": GENERATOR + CRITIC - 792}


def test_diff_lists_networks_that_one_of_the_two_has(run):
    third = "+networks.third={inputs: [3], layers: [{linear: 2}]}"
    output, status = run("diff", "s.yaml", third, "train.optimizer=sgd")
    assert status == 0
    assert output.splitlines()[-2] == "networks.third: not given -> {layers: 1, params: 8}"
    assert output.splitlines()[-1].endswith('-> "sgd"')


def test_diff_of_a_spec_with_itself_finds_nothing(run):
    assert run("diff", "s.yaml") == (
        f"The two are the same: 2 networks, {GENERATOR + CRITIC:,} parameters, and all settings.\n",
        0,
    )


def test_diff_of_one_network_with_several_says_what_is_compared(run, tmp_path):
    (tmp_path / "one.yaml").write_text("network: {inputs: [3], layers: [relu]}\n")
    output, status = run("diff", "one.yaml")
    assert (
        output
        == lines(
            """
        s.yaml:2:1  networks
          this spec has `networks`, and one.yaml has one `network`
          Write that one as `networks: {NAME: ...}`: networks are compared by name.
        """
        )
        + "\n"
    )
    assert status == 2
