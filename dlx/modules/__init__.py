"""torch modules for layers that torch does not have. They import torch, so they are imported only to build a
layer.
"""
