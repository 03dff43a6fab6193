"""Layers that networks share: counted once, told as what they are, and every mistake."""

from __future__ import annotations

import pytest
from helpers import experiment_of

from dlx.errors import SpecError
from dlx.graph import Graphs, trace_all
from dlx.graph.origin import why
from dlx.network import build

OWNER = "{inputs: {image: [1, 8, 8]}, layers: [{layers: [flatten, {linear: 64}, tanh], name: trunk}, {linear: 1}]}"
END = "{reshape: [1, 8, 8]}]}"
SHARER = "{inputs: {noise: [64]}, layers: [{share: discriminator/trunk, name: middle}, {linear: 64}, " + END
GAN = """\
dlx: 1
name: shared
data: {digits: {valid: 100, test: 500}}
networks:
  discriminator: OWNER
  generator: SHARER
objective: gan
train: {steps: 4, optimizer: {adam: 1e-3}}
"""


def gan(owner: str = OWNER, sharer: str = SHARER) -> str:
    return GAN.replace("OWNER", owner).replace("SHARER", sharer)


def traced(text: str) -> Graphs:
    return trace_all(experiment_of(text))


def problem(text: str) -> tuple[str, str]:
    """The only mistake of a spec, with its hint."""
    with pytest.raises(SpecError) as error:
        traced(text)
    (one,) = error.value.problems
    return one.message, one.hint


def test_weights_are_counted_once_and_with_their_owner():
    graphs = traced(gan())
    assert graphs["discriminator"].params == 64 * 64 + 64 + 64 + 1
    assert graphs["generator"].params == 64 * 64 + 64
    assert graphs.params == 2 * (64 * 64 + 64) + 64 + 1
    document = graphs.as_json()["networks"]
    assert document["generator"]["shared"] == {"discriminator": 64 * 64 + 64}
    assert "shared" not in document["discriminator"]
    (layer,) = [one for one in document["generator"]["layers"] if one["name"] == "middle/linear_1"]
    assert (layer["weights_of"], layer["params"], layer["macs"]) == ("discriminator/trunk/linear_1", 0, 64 * 64)


def test_one_layer_is_shared_too_and_what_another_network_shares_goes_to_its_owner():
    layers = "[{share: generator/middle/linear_1}, {share: discriminator/linear_1}]"
    third = f"  third: {{inputs: {{x: [64]}}, layers: {layers}}}\n"
    graphs = traced(
        gan().replace("objective", f"{third}objective").replace("objective: gan\n", "").split("train:")[0]
    )
    assert [node.owner for node in graphs["third"].nodes] == [
        "discriminator/trunk/linear_1",
        "discriminator/linear_1",
    ]
    assert graphs["third"].borrowed == {"discriminator": 64 * 64 + 64 + 65}


def test_a_weight_that_is_shared_twice_counts_once():
    twice = SHARER.replace("{linear: 64}", "{share: discriminator/trunk/linear_1}, {share: middle}, {linear: 64}")
    graphs = traced(gan(sharer=twice))
    assert graphs["generator"].borrowed == {"discriminator": 64 * 64 + 64}
    assert graphs["generator"].params == 64 * 64 + 64


def test_freezing_what_shares_freezes_the_owner_once():
    graphs = traced(f"{gan()}freeze: [generator/middle]\n")
    assert graphs["discriminator"].trainable == 64 + 1
    assert traced(gan()).trainable - graphs.trainable == 64 * 64 + 64


def test_a_copy_has_weights_of_its_own_for_what_the_other_shares():
    text = (
        gan().replace("objective: gan", "  second: {copy: generator}\nobjective: gan").replace("objective: gan\n", "")
    )
    graphs = traced(text.split("train:")[0])
    assert (graphs["second"].params, graphs["second"].borrowed) == (2 * (64 * 64 + 64), {})
    assert not any(node.lender for node in graphs["second"].nodes)


def test_where_a_value_comes_from_is_told_of_the_place_that_has_it():
    experiment = experiment_of(gan())
    found = why(experiment, trace_all(experiment), "networks.generator.layers.middle/linear_1.out_features")
    assert (found.value, found.mark.line) == (64, 5)


def test_one_that_is_built_alone_has_such_layers_of_its_own():
    network = build(traced(gan())["generator"])
    assert network.get_parameter("middle.linear_1.weight").shape == (64, 64)


def test_names_within_a_shared_scope_are_those_of_its_own_network():
    inner = "[flatten, {share: linear_1}, {layers: [{linear: 64}, {share: linear_1}, {share: outer}], name: deep}]"
    owner = "{inputs: {image: [1, 8, 8]}, layers: [flatten, {linear: 64}, {linear: 64, name: outer}, "
    owner += f"{{reshape: [1, 8, 8]}}, {{layers: {inner}, name: trunk}}, {{linear: 1}}]}}"
    graphs = traced(gan(owner=owner))
    assert [node.owner for node in graphs["generator"].nodes if node.kind == "linear" and node.owner] == [
        "discriminator/linear_1",
        "discriminator/trunk/deep/linear_1",
        "discriminator/trunk/deep/linear_1",
        "discriminator/outer",
    ]


# --- mistakes -------------------------------------------------------------------------------------------------------


def test_one_that_comes_later_is_told_with_its_line():
    text = GAN.replace(
        "  discriminator: OWNER\n  generator: SHARER", f"  generator: {SHARER}\n  discriminator: {OWNER}"
    )
    message, hint = problem(text)
    assert message == (
        "`discriminator/trunk` is in a network that comes later, on line 6, and `share` wants one above"
    )
    assert hint == "Write `discriminator` above this network."


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        (
            "discriminator/trunc",
            "the network `discriminator` (line 5) has no layer `trunc`",
            "Did you mean `discriminator/trunk`",
        ),
        (
            "discriminator",
            "`discriminator` is a network, and `share` wants one of its layers",
            "Such as `share: discriminator/trunk`.",
        ),
        ("critic/trunk", "there is no node `critic/trunk` above this one", ""),
    ],
)
def test_a_name_that_is_not_there(word, message, hint):
    found = problem(gan(sharer=SHARER.replace("discriminator/trunk", word)))
    assert found[0] == message
    assert found[1].startswith(hint)


def test_a_name_that_fits_both_networks():
    own = "{inputs: {noise: [64]}, layers: [{layers: [{linear: 64, name: trunk}], name: discriminator}, "
    both = own + "{share: discriminator/trunk}, " + END
    message, hint = problem(gan(sharer=both))
    assert (
        message == "`discriminator/trunk` is a layer of this network and one of the network `discriminator` (line 5)"
    )
    assert hint == "Give one of them another name."


def test_inputs_that_the_weights_do_not_fit():
    message, _ = problem(gan(sharer=SHARER.replace("[64]", "[32]")))
    assert message == (
        "`discriminator/trunk/linear_1` (line 5) was built for (64,), and (32,) from `middle/flatten_1` (line 5) "
        "wants weights of another shape"
    )


def test_a_mistake_of_the_owner_is_told_once():
    assert "conv" in problem(gan(owner=OWNER.replace("{linear: 64}", "{conv: {out_channels: 3, kernel_size: 3}}")))[0]


def test_a_network_that_follows_another_lends_nothing():
    text = gan(sharer=SHARER.replace("discriminator/trunk", "mean/trunk"))
    message, hint = problem(
        text.replace("  generator", "  mean: {copy: discriminator, follow: {ema: 0.9}}\n  generator")
    )
    assert message == "`mean` follows `discriminator`, and no other network shares them"
    assert hint == "Share those of `discriminator`."


def test_a_phase_that_moves_shared_weights_alone_moves_nothing():
    bare = "{inputs: {noise: [64]}, layers: [{share: discriminator/trunk}, {reshape: [1, 8, 8]}]}"
    message, hint = problem(gan(sharer=bare))
    assert message == "the phase `generator` of gan moves nothing: `generator` has no weight to train"
    assert hint.startswith("Its layers are those of `discriminator`, which the phase `discriminator` moves:")


def test_weights_that_a_phase_clips_and_another_moves():
    owner = OWNER.replace("image: [1, 8, 8]", "noise: [64]").replace(
        "{linear: 1}", "{linear: 64}, {reshape: [1, 8, 8]}"
    )
    sharer = "{inputs: {image: [1, 8, 8]}, layers: [flatten, {share: generator/trunk}, {linear: 1}]}"
    text = (
        gan(owner, sharer)
        .replace("discriminator:", "one:")
        .replace("generator:", "discriminator:")
        .replace("one:", "generator:")
    )
    message, _ = problem(text.replace("objective: gan", "objective: {gan: {loss: wasserstein, clip: 0.01}}"))
    assert message == (
        "the phase `discriminator` of gan clips the weights of `discriminator`, and those that it shares are moved "
        "with `generator`, unclipped"
    )


def test_a_tied_weight_is_not_shared_without_its_owner():
    owner = OWNER.replace("{linear: 1}", "{linear: 64, tie: trunk/linear_1, name: back}, {linear: 1}")
    message, _ = problem(gan(owner, SHARER.replace("discriminator/trunk", "discriminator/back")))
    assert message.startswith(
        "`discriminator/back` runs the weight of `discriminator/trunk/linear_1`, which is not here"
    )


def test_ties_go_to_layers_of_the_own_network():
    sharer = SHARER.replace("{linear: 64}", "{linear: 64, tie: discriminator/trunk/linear_1}")
    message, _ = problem(gan(sharer=sharer))
    assert message.startswith(
        "`discriminator/trunk/linear_1` is in another network, and a layer takes values and ties"
    )
