"""Names from other tools lead to the kinds of dlx, and never to what is not there."""

import pytest

from dlx.graph.expansion.entries import STRUCTURES
from dlx.other_names import OTHER_NAMES, kind_meant
from dlx.registry import FAMILIES

BY_NOUN = {registry.noun: registry for registry in FAMILIES.values()}


def test_every_name_leads_to_kinds_that_are_there_and_is_none_itself():
    for noun, names in OTHER_NAMES.items():
        known = {*BY_NOUN[noun], *(STRUCTURES if noun == "layer" else ())}
        for word, kinds in names.items():
            assert known >= set(kinds), (noun, word)
            assert word not in known, (noun, word)
            assert kind_meant(word, [*known], noun) == "Did you mean " + " or ".join(f"`{k}`" for k in kinds) + "?"


@pytest.mark.parametrize(
    ("word", "noun", "kind"),
    [
        ("Conv2d", "layer", "conv"),
        ("nn.MaxPool2d", "layer", "max_pool"),
        ("MaxPooling2D", "layer", "max_pool"),
        ("GlobalAveragePooling2D", "layer", "global_avg_pool"),
        ("BatchNormalization", "layer", "batch_norm"),
        ("SE", "layer", "squeeze_excitation"),
        ("Dense", "layer", "linear"),
        ("ReLU", "layer", "relu"),
        ("MSELoss", "loss", "squared_error"),
        ("CrossEntropyLoss", "loss", "cross_entropy"),
        ("ReduceLROnPlateau", "schedule", "plateau"),
        ("CosineAnnealingLR", "schedule", "cosine"),
        ("RandomHorizontalFlip", "augmentation", "horizontal_flip"),
        ("kaiming_normal", "initialiser", "he_normal"),
        ("SGD", "optimizer", "sgd"),
    ],
)
def test_names_of_torch_and_keras_are_recognised(word, noun, kind):
    told = kind_meant(word, BY_NOUN[noun], noun)
    assert told == f"Did you mean `{kind}`?"


def test_a_misspelling_is_still_found_and_a_layer_like_none_says_where_to_look():
    assert kind_meant("cnv", BY_NOUN["layer"], "layer") == "Did you mean `conv` or `p4_conv`?"
    where = "`dlx layers` lists the layers; one of your own is a block under `blocks`."
    assert kind_meant("cbam", BY_NOUN["layer"], "layer") == where
    assert kind_meant("rmsporp", BY_NOUN["optimizer"], "optimizer") == "Did you mean `rmsprop`?"
