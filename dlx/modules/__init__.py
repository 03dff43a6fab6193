"""torch modules that torch does not have. They import torch, and are imported only when a layer is built."""
