"""Documents in windows, padded and packed: the loss of each token is that of its document alone."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dlx.data import DATASETS
from dlx.data.text.packed import ranges
from dlx.data.text.windows import TokenFile
from dlx.experiment import session
from dlx.spec import load
from dlx.training.prepared import prepare

TEXTS = ("abcab", "bca", "abcabcabcabcab", "a", "cc", "bcabca", "ab", "abc")
PADDING, BEGIN, END = 0, 1, 2
LAYERS = """
    - {embedding: {embedding_dim: 4}, name: tokens}
    - {embedding: {num_embeddings: 20, embedding_dim: 4}, name: places, from: text.position}
    - {add: , from: [tokens, places]}
    - {gru: {hidden_size: 8, bidirectional: true}, from: {input: prev, document: text.document}}
    - multihead_attention: {num_heads: 2, rotary: {base: 100}}
      from: {query: prev, document: text.document, key_padding_mask: text.padding}
    - linear: "${data.vocabulary}"
"""
CAUSAL = LAYERS.replace(", bidirectional: true", "").replace("num_heads: 2,", "num_heads: 2, is_causal: true,")


@pytest.fixture
def spec(tmp_path):
    """A function from `documents` to a spec of the eight texts, of which the last ones are tests."""
    (tmp_path / "texts.csv").write_text("\n".join(["line", *TEXTS, *TEXTS[:4]]) + "\n")

    def written(documents, layers=CAUSAL, window=8, more="", objective="language"):
        file = tmp_path / f"{documents}.yaml"
        file.write_text(
            f"dlx: 1\nname: a\ndata: {{text: {{path: texts.csv, column: line, window: {window}, "
            f"documents: {documents}, test: 4{more}}}}}\n"
            f"network:\n  layers:{layers}objective: {objective}\n"
            "train: {steps: 12, batch_size: 2, device: cpu, optimizer: {adam: 1e-2}}\ntrack: {mlflow: false}\n"
        )
        return file

    return written


def prepared(file, *changes):
    return prepare(load(file, list(changes)))


def test_padded_documents_stand_between_begin_and_end(spec):
    made = prepared(spec("pad"))
    x, y = np.asarray(made.sets.train.x), np.asarray(made.sets.train.y)
    assert made.sets.class_names == ("<padding>", "<begin>", "<end>", "a", "b", "c")
    assert x[0].tolist() == [BEGIN, 3, 4, 5, 3, 4, END, PADDING]
    assert y[0].tolist() == [3, 4, 5, 3, 4, END, -100, -100]
    assert len(x) == 9, "the third one takes two windows"
    assert x[3].tolist() == [4, 5, 3, 4, 5, 3, 4, END]


def test_packed_documents_share_windows_and_no_target_leads_to_the_next(spec):
    made = prepared(spec("pack"))
    x, y = np.asarray(made.sets.train.x), np.asarray(made.sets.train.y)
    assert x[4].tolist() == [BEGIN, 3, END, BEGIN, 5, 5, END, PADDING]
    assert y[4].tolist() == [3, END, -100, 5, 5, END, -100, -100]
    padded = np.asarray(prepared(spec("pad")).sets.train.y)
    assert len(x) < len(padded)
    assert sorted(y[y >= 0].tolist()) == sorted(padded[padded >= 0].tolist()), "each token is told once"


@pytest.mark.parametrize("documents", ["pad", "pack"])
def test_a_step_takes_what_the_arrays_have(spec, documents):
    made = prepared(spec(documents))
    for name, part in session.job_of(made).parts.items():
        split = made.sets.parts()[name]
        batch = part.take(torch.arange(len(part)))
        assert batch.inputs[0].tolist() == np.asarray(split.x).tolist()
        assert batch.y.tolist() == np.asarray(split.y).tolist()
        assert part.take(torch.tensor([len(part) - 1])).y.tolist() == [np.asarray(split.y)[-1].tolist()]


@pytest.mark.parametrize(
    ("lengths", "window", "expected"),
    [
        ([3, 3, 3], 6, [(0, 6), (6, 9)]),
        ([3, 20, 3], 6, [(0, 3), (3, 9), (9, 15), (15, 21), (21, 26)]),
        ([7, 4], 6, [(0, 6), (7, 11)]),
        ([6, 6], 6, [(0, 6), (6, 12)]),
    ],
)
def test_windows_are_filled_in_the_order_of_the_documents(lengths, window, expected):
    """A document of 7 tokens has 6 to see: its end is told, and no window has it as an input."""
    file = TokenFile(np.zeros(sum(lengths), np.uint8), np.cumsum([0, *lengths]), ())
    assert [tuple(one) for one in ranges(file, window).tolist()] == expected


def losses(network, x, y):
    return F.cross_entropy(network(x).movedim(-1, 1), y, reduction="none", ignore_index=-100)


@pytest.mark.parametrize("layers", [CAUSAL, LAYERS])
def test_a_packed_batch_gives_the_loss_of_each_document_alone(spec, layers):
    """Also where layers look in both directions. Without documents they are others."""
    objective = "segmentation" if layers == LAYERS else "language"
    ends = layers + ("    - transpose\n" if layers == LAYERS else "")
    packed, padded = (
        session.job_of(prepared(spec(how, ends, window=20, objective=objective))) for how in ("pack", "pad")
    )
    network = packed.network.eval()
    padded.network.eval().load_state_dict(network.state_dict())

    def of(job):
        batch = job.parts["train"].take(torch.arange(len(job.parts["train"])))
        made = job.network(*batch.inputs)
        logits = made if layers == LAYERS else made.movedim(-1, 1)
        each = F.cross_entropy(logits, batch.y, reduction="none", ignore_index=-100)
        return batch, each[batch.y >= 0]

    (batch, together), (_, alone) = of(packed), of(padded)
    assert len(batch.inputs[0]) < len(TEXTS)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)

    packed.network.text.document.begin = 99  # nothing begins
    assert (of(packed)[1] - alone).abs().max() > 1e-3


def test_results_beside_a_text_by_hand():
    from dlx.modules.padding_mask import PaddingMask, TextDocument, TextLength, TextPosition

    x = torch.tensor([[BEGIN, 3, END, BEGIN, 5, 5, END, PADDING], [4, 5, END, BEGIN, 3, END, BEGIN, 3]])
    assert PaddingMask()(x).tolist()[0] == [False] * 7 + [True]
    assert TextLength()(x).tolist() == [[7], [8]]
    assert TextDocument()(x).tolist() == [[0, 0, 0, 1, 1, 1, 1, -1], [0, 0, 0, 1, 1, 1, 2, 2]]
    assert TextPosition()(x).tolist() == [[0, 1, 2, 0, 1, 2, 3, 4], [0, 1, 2, 0, 1, 2, 0, 1]]


def test_words_end_with_their_document(tmp_path):
    (tmp_path / "a.csv").write_text("line\nan end\na begin\n")
    file = tmp_path / "a.yaml"
    file.write_text("dlx: 1\ndata: {text: {path: a.csv, column: line, tokens: words, window: 4, documents: pad}}\n")
    assert set(load(file).data.tokenizer().names[3:]) == {"an", "end", "a", "begin"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"carry": True}, "`documents: pack` fills windows with whole documents, and `carry` goes through them"),
        ({"stride": 2}, "`documents: pack` fills windows with whole documents, and `stride` goes through them"),
        (
            {"tokenizer_of": "a"},
            "`documents: pack` gives the vocabulary special tokens, and `tokenizer_of` names one",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(more, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        DATASETS["text"].model_validate({"content": "abc", "window": 2, "documents": "pack", **more})
