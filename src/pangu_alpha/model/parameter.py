"""Parameters that know how they start, and the one function that starts them."""

from __future__ import annotations

import mindspore as ms
from mindspore import Parameter, Tensor, nn
from mindspore.common.initializer import initializer

from pangu_alpha.model.initializer import Init, initial_values


def parameter(shape: tuple[int, ...], init: Init) -> Parameter:
    """A float32 parameter that remembers `init` until its name is known. Its owner's attribute gives the name."""
    created = Parameter(initializer("zeros", shape, ms.float32))
    created.start = init
    return created


def initialise(network: nn.Cell, seed: int) -> None:
    """Give every parameter of `network` its starting value for `seed`."""
    for item in network.get_parameters():
        values = initial_values(item.start, seed, item.name, 0, item.size)
        item.set_data(Tensor(values.reshape(item.shape)))
