"""Exported networks take any number of examples, whatever number they were exported with."""

import pytest
import torch
from helpers import network_of

from dlx.network import build

INPUTS = "{input: {shape: [7], dtype: int}, lengths: {shape: [1], dtype: int}, mask: {shape: [7, 7], dtype: bool}}"
WORDS = "- {embedding: {num_embeddings: 9, embedding_dim: 4}, from: input, name: words}\n"
LAYERS = {
    "gru": "- {gru: {hidden_size: 3, bidirectional: true}, from: {input: words, lengths: lengths}}",
    "lstm": "- {lstm: {hidden_size: 3, num_layers: 2}, from: {input: words, lengths: lengths}}",
    "rnn": "- {rnn: {hidden_size: 3, return_sequences: false}, from: {input: words, lengths: lengths}}",
    "states to begin at": (
        "- {linear: 3, from: words}\n- {max: 1, name: first}\n- {lstm: 3, from: {input: words, h_0: first}}"
    ),
    "attention": "- {multihead_attention: {num_heads: 2, is_causal: true}, from: {query: words, attn_mask: mask}}",
    "alibi": "- {alibi: {num_heads: 2}, from: words}",
}


def network(layers):
    return build(network_of(INPUTS, WORDS + layers)).eval()


def examples(n):
    mask = torch.arange(n * 49).reshape(n, 7, 7) % 3 == 1
    return torch.arange(n * 7).reshape(n, 7) % 9, torch.arange(n).reshape(n, 1) % 7 + 1, mask


@pytest.mark.filterwarnings("ignore:The tensor attribute")  # torch says it of its own recurrent modules
@pytest.mark.parametrize("name", LAYERS)
def test_an_exported_program_takes_any_number_of_examples(name):
    made = network(LAYERS[name])
    free = {0: torch.export.Dim("examples", min=1)}
    with torch.no_grad():
        program = torch.export.export(made, examples(2), dynamic_shapes=tuple(free for _ in examples(2))).module()
        for n in (1, 2, 5):
            torch.testing.assert_close(program(*examples(n)), made(*examples(n)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_onnx_runtime_takes_any_number_of_examples(name, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    made, names = network(LAYERS[name]), ("input", "lengths", "mask")
    torch.onnx.export(
        made,
        examples(2),
        str(tmp_path / "n.onnx"),
        dynamo=False,
        input_names=list(names),
        dynamic_axes={one: {0: "examples"} for one in names},
    )
    session = runtime.InferenceSession(tmp_path / "n.onnx")
    taken = {one.name for one in session.get_inputs()}
    for n in (1, 2, 5):
        fed = {one: x.numpy() for one, x in zip(names, examples(n), strict=True) if one in taken}
        (found,) = session.run(None, fed)
        torch.testing.assert_close(torch.from_numpy(found), made(*examples(n)), rtol=1e-5, atol=1e-5)
