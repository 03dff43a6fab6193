"""The layers of a spec, expanded to the nodes of a graph."""
