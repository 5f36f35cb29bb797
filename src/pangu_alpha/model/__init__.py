"""The network of PanGu-α as MindSpore Cells: single-device mathematics, primitives as named members."""

from pangu_alpha.model.network import PanguAlpha, PanguAlphaLoss, build_network

__all__ = ["PanguAlpha", "PanguAlphaLoss", "build_network"]
