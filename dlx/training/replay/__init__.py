"""The operations of a training step, recorded once and replayed without autograd."""
