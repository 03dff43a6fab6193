"""`dlx layers` shows sections beside kinds, and says of what is neither what was meant."""

import pytest

from dlx.errors import DlxError
from dlx.reference import vocabulary
from dlx.spec.section_names import SECTIONS
from dlx.spec.section_pages import MODELS, page
from dlx.spec.sections.stopping import EarlyStopping
from dlx.spec.sections.train import Train


def test_a_section_lists_its_fields_with_types_defaults_and_descriptions():
    found = page("train")
    assert [row[0] for row in found.fields] == list(Train.model_fields)
    of_batches = found.fields[list(Train.model_fields).index("batch_size")]
    assert of_batches[:3] == ("batch_size", 'int | "all"', "32")
    assert all(row[3] for name in MODELS for row in page(name).fields)


def test_a_section_within_one_and_one_field_have_pages_too():
    assert [row[0] for row in page("train.early_stopping").fields] == list(EarlyStopping.model_fields)
    assert page("train.early_stopping.patience").fields == (
        ("patience", "int", "10", EarlyStopping.model_fields["patience"].description),
    )


def test_a_section_that_holds_a_kind_lists_the_kinds():
    text = page("train.optimizer").text
    assert text.startswith("A section that holds an optimizer, by kind:\n\n    adadelta: ")
    assert page("train.augment").text.startswith("A section that holds augmentations, by kind:")
    assert "    digits: " in page("data").text


def test_kinds_have_the_pages_that_they_had():
    assert page("conv") == vocabulary.page("conv")
    assert page("train.augment.crop") == vocabulary.page("train.augment.crop")
    assert page("expect") == vocabulary.page("expect")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("tarin", "there is no `tarin`", "Did you mean `train`"),
        ("train.epoch", "`train` has no `epoch`", "Did you mean `epochs`?"),
        ("train.early_stopping.patient", "`train.early_stopping` has no `patient`", "Did you mean `patience`?"),
        (
            "network",
            "`network` is a section of a spec that holds no kind",
            "docs/spec.md says what stands in it; `dlx layers` lists the kinds.",
        ),
    ],
)
def test_what_is_no_page_says_so_with_what_was_meant(name, message, hint):
    with pytest.raises(DlxError) as error:
        page(name)
    (problem,) = error.value.problems
    assert problem.message == message
    assert problem.hint.startswith(hint)


def test_every_section_of_a_spec_has_an_answer():
    silent = []
    for name in SECTIONS:
        try:
            silent += [] if page(name).text else [name]
        except DlxError as error:
            silent += [] if f"`{name}` is a section of a spec" in str(error) else [name]
    assert not silent
