"""The network of PanGu-α as MindSpore Cells: single-device mathematics, primitives as named members."""

from pangu_alpha.model.network import PanguAlpha, PanguAlphaLoss, batch_tensors, build_network
from pangu_alpha.model.parameter import set_parameters

__all__ = ["PanguAlpha", "PanguAlphaLoss", "batch_tensors", "build_network", "set_parameters"]
