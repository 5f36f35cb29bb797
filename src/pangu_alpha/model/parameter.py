"""The network's parameters as MindSpore keeps them: their start, and filling them with tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn
from mindspore.common.initializer import initializer
from numpy.typing import NDArray

from pangu_alpha.config import ModelConfig
from pangu_alpha.parallel.parameters import row_of
from pangu_alpha.parallel.start import initial_values


def parameter(shape: tuple[int, ...]) -> Parameter:
    """A float32 parameter. Its owner's attribute gives it its name, and the name its start."""
    return Parameter(initializer("zeros", shape, ms.float32))


def initialise(network: nn.Cell, config: ModelConfig, seed: int) -> None:
    """Give every parameter of `network` its starting value for `seed`.

    Raises:
        ConfigError: the table of parameters has no row for one.
    """
    for item in network.get_parameters():
        values = initial_values(row_of(item.name).start, config.num_layers, seed, item.name, 0, item.size)
        item.set_data(Tensor(values.reshape(item.shape)))


def set_parameters(parameters: Sequence[Parameter], tensors: Mapping[str, NDArray[np.floating]]) -> None:
    """Fill `parameters` with the tensors of the same names."""
    for item in parameters:
        item.set_data(Tensor(tensors[item.name]))
