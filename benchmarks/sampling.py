"""The n-th token that a language model writes, at n = 1,000 against the tenth: by steps, and by whole windows.

    python benchmarks/sampling.py [--rounds N]

A GPT of 6 layers of 256 values with a context of 1,024, and an LSTM of 512; untrained, as the time does not depend on
what they know. A figure is the mean of 16 tokens around the n-th, after a prompt of one token.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from common import interleaved, publish, table

from dlx.graph import trace
from dlx.network import build
from dlx.spec import load
from dlx.training.generation.next_token import Steps, Windows

CONTEXT, VOCABULARY, AROUND = 1024, 65, 16
INPUTS = f"inputs: {{text: {{shape: [{CONTEXT}], dtype: int}}}}"
BLOCK = """
blocks:
  decoder:
    layers:
      - residual: {layers: [layer_norm, {multihead_attention: {num_heads: 8, is_causal: true}}]}
      - residual: {layers: [layer_norm, {linear: 1024}, gelu, {linear: 256}]}
"""
SPECS = {
    "GPT": f"""{BLOCK}
network:
  {INPUTS}
  layers:
    - embedding: {{num_embeddings: {VOCABULARY}, embedding_dim: 256}}
    - position_embedding
    - repeat: {{times: 6, layers: [decoder]}}
    - linear: {VOCABULARY}
""",
    "LSTM": f"""
network:
  {INPUTS}
  layers:
    - embedding: {{num_embeddings: {VOCABULARY}, embedding_dim: 64}}
    - lstm: 512
    - linear: {VOCABULARY}
""",
}


def network_of(name: str) -> torch.fx.GraphModule:
    path = Path(tempfile.mkdtemp(prefix="dlx-bench-")) / f"{name}.yaml"
    path.write_text(SPECS[name])
    return build(trace(load(path))).eval()


def seconds(make: type[Steps | Windows], network: torch.fx.GraphModule, n: int) -> float:
    """Seconds of a token around the n-th."""
    model, before = make(network, lambda y: y, CONTEXT), n - AROUND // 2
    with torch.inference_mode():
        model.append(torch.zeros(1, before, dtype=torch.long))
        token = torch.zeros(1, 1, dtype=torch.long)
        model.append(token)
        started = time.perf_counter()
        for _ in range(AROUND):
            model.append(token)
        return (time.perf_counter() - started) / AROUND


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    sections = []
    for name in SPECS:
        network = network_of(name)
        jobs = {
            f"{way}, token {n:,}": partial(seconds, make, network, n)
            for way, make in (("steps", Steps), ("windows", Windows))
            for n in (10, 1000)
        }
        sections.append(f"## {name}\n\n{table(interleaved(jobs, rounds), 'steps, token 10', 1e-3, 'ms')}")
    publish("sampling", "The thousandth token that a model writes, against the tenth", sections)


if __name__ == "__main__":
    main()
