"""Hand-written training loops that dlx is measured against: one file a loop, each a process of its own.

    python benchmarks/loops/sixteen_lenets.py --threads 2

Each prints a line of JSON: seconds by the clock (`wall`) and of all threads on the processor (`processor`), without
imports. They are made to be beaten: whoever finds a quicker loop for the same work, the same networks, batches and
optimizers, in plain torch with autograd, puts it in place of the one that is there, and none may become slower. Data
lie in one tensor, an epoch is one permutation, networks are functions of their weights, an optimizer is one call of a
fused kernel, gradients are cleared, small images lie in oneDNN's own layout, freed memory stays in the process,
and nothing asks for `.item()`; they keep no curve, no checkpoint and no journal, which dlx does in the same time.
"""
