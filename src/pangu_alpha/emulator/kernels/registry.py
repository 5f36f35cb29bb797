"""The table of primitives that the emulator can execute.

A kernel is a function of a primitive's inputs, in order and without monads: arrays, numbers, tuples of them, None. It
returns an array or a tuple of arrays and never writes into its inputs. float16 and bfloat16 inputs arrive as float32,
as a device's vector units compute, unless the kernel only moves data; the interpreter rounds the result to the recorded
type, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Kernel:
    """How a primitive is computed."""

    function: Callable[..., Any]
    attributes: tuple[str, ...]
    """Attributes that the function takes, as keyword arguments of the same names."""
    only: Mapping[str, Any]
    """Attributes of which the function knows no other value."""
    moves: bool
    """Only moves data: takes float16 and bfloat16 as they are."""
    num_updated: int
    """Leading inputs that are parameters, whose new values the function returns."""


KERNELS: dict[str, Kernel] = {}
"""By the primitive's name."""

IGNORED_ATTRIBUTES = frozenset(
    {
        "comm_reuse",
        "cust_aicpu",
        "forward_end",
        "fusion",
        "gen_strategy",
        "grad_accu_num",
        "group_back",
        "group_ranks",
        "in_strategy",
        "index",
        "input_names",
        "instance_name",
        "keep_alive",
        "keep_value_node_input",
        "micro",
        "mirror_user_id",
        "no_eliminate",
        "out_strategy",
        "output_names",
        "parameter_start_share_cell",
        "pipeline_begin",
        "pipeline_end",
        "primitive_target",
        "recompute",
        "recompute_comm_op",
        "segment",
        "side_effect_mem",
        "side_effect_propagate",
        "slice_index",
        "strategy_gen_mode",
        "visited",
    }
)
"""Attributes that do not change what a node computes: they say how the compiler came to it or may treat it."""


def kernel(
    *primitives: str,
    attributes: tuple[str, ...] = (),
    only: Mapping[str, Any] | None = None,
    moves: bool = False,
    num_updated: int = 0,
) -> Callable[[Function], Function]:
    """Register the decorated function for `primitives`; see `Kernel`."""

    def register(function: Function) -> Function:
        for primitive in primitives:
            KERNELS[primitive] = Kernel(function, attributes, only or {}, moves, num_updated)
        return function

    return register
