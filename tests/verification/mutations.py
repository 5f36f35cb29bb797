"""Mistakes planted in the compiled programs of dp 2 × mp 2 × pp 2 with a sharded optimizer, and what must report them.

Ranks 0 to 3 are the first stage with layers 0 and 1, ranks 4 to 7 the second with layer 2 and the query layer; the
first two of each four are the slices of replica 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pangu_alpha.program.graph import CALL, Graph, Node, Program, TensorType

FIRST_STAGE, LAST_STAGE, ALL = range(4), range(4, 8), range(8)
Plant = Callable[[Program], Program]
Choose = Callable[[Program, Node], bool]
Change = Callable[[Node], Sequence[Node]]
"""A node → what stands in its place."""


@dataclass(frozen=True)
class Mutation:
    """One mistake."""

    name: str
    plants: Mapping[Sequence[int], Plant]
    """What is done to the programs of which ranks; raises ValueError when a program has no place for it."""
    symptom: str
    """A regular expression that the complaints must match: which comparison, which tensor or rank."""

    def planted(self, programs: Mapping[int, Program]) -> dict[int, Program]:
        """The programs with the mistake."""
        mutants = dict(programs)
        for ranks, plant in self.plants.items():
            mutants.update({rank: plant(programs[rank]) for rank in ranks})
        return mutants


def edited(choose: Choose, change: Change, **constants: Any) -> Plant:
    """Changes every chosen node; `constants` are values that `change` names as inputs."""

    def plant(program: Program) -> Program:
        graphs = {}
        num_changed = 0
        for name, graph in program.graphs.items():
            nodes: list[Node] = []
            for node in graph.nodes:
                is_chosen = choose(program, node)
                num_changed += is_chosen
                nodes += change(node) if is_chosen else [node]
            graphs[name] = replace(graph, nodes=tuple(nodes))
        if not num_changed:
            raise ValueError(f"{program.path} has no place for this mistake")
        return _with_graphs(program, graphs, constants)

    return plant


def at(primitive: str, scope: str = "", of: str = "") -> Choose:
    """Chooses nodes by primitive, by a part of their place in the network, and by the parameter they read first."""

    def choose(program: Program, node: Node) -> bool:
        return node.primitive == primitive and scope in node.scope and (not of or _parameter(program, node) == of)

    return choose


def skip(node: Node) -> list[Node]:
    """The first input instead of the result."""
    return [replace(node, primitive="TensorMove", inputs=node.inputs[:1], attributes={}, callee="")]


def skip_writing(node: Node) -> list[Node]:
    """The parameter as it was."""
    return [replace(node, primitive="Depend", inputs=node.inputs[:1])]


def taking_only(name: str) -> Change:
    """Another value instead of the result."""
    return lambda node: skip(replace(node, inputs=(name,)))


def setting(**attributes: Any) -> Change:
    """Other attributes."""
    return lambda node: [replace(node, attributes={**node.attributes, **attributes})]


def taking(position: int, name: str) -> Change:
    """Another input."""
    return lambda node: [replace(node, inputs=(*node.inputs[:position], name, *node.inputs[position + 1 :]))]


def halving(position: int) -> Change:
    """Half of an input; needs the constant `half`."""

    def change(node: Node) -> list[Node]:
        output = f"{node.output}:halved"
        product = Node("Mul", node.scope, (node.inputs[position], "half"), output, {}, None)
        return [product, *taking(position, output)(node)]

    return change


def both(first: Plant, second: Plant) -> Plant:
    """Two changes."""
    return lambda program: second(first(program))


def swap_layers(program: Program) -> Program:
    """The parameters called layers.0 are those of layer 1, and the other way round."""

    swapped = {"layers.0": "layers.1", "layers.1": "layers.0"}

    def other(name: str) -> str:
        return re.sub(r"layers\.[01]\b", lambda match: swapped[match[0]], name)

    names = {value: other(name) for value, name in program.parameter_names.items()}
    return replace(program, parameter_names=names)


def lose_micro_batch(program: Program) -> Program:
    """The backward pass of the last micro-batch is not executed."""
    calls = [node for node in program.main.nodes if node.primitive == CALL]
    last = [node for node in calls if isinstance(node.output_type, TensorType)][-1]  # forward calls return tuples
    return edited(lambda _, node: node is last, taking_only("zero"), zero=0.0)(program)


def repeat_micro_batch(program: Program) -> Program:
    """Micro-batch 1 is cut out of the batch where micro-batch 0 is."""
    first = next(node for node in program.main.nodes if "micro_inputs-CellList/0-_MicroBatch" in node.scope)
    bounds = first.inputs[1:]
    return edited(
        at("StridedSlice", "micro_inputs-CellList/1-_MicroBatch"),
        lambda node: [replace(node, inputs=(node.inputs[0], *bounds))],
    )(program)


def decay_a_norm(program: Program) -> Program:
    """Weight decay on a LayerNorm's scale."""
    (decay,) = (value for value, name in program.parameter_names.items() if name == "control.weight_decay")
    return edited(at("AdamWeightDecay", of="layers.1.feed_forward_norm.gamma"), taking(7, decay))(program)


def send_in_another_order(program: Program) -> Program:
    """The first hidden states are sent before the word table."""
    nodes = list(program.main.nodes)
    table, states = [index for index, node in enumerate(nodes) if node.primitive == "Send"][:2]
    nodes.insert(states, nodes.pop(table))
    return _with_graphs(program, {program.main.name: replace(program.main, nodes=tuple(nodes))}, {})


def decide_alone(program: Program) -> Program:
    """Whether the norm is finite is asked of the rank's own part of it."""
    (own,) = (node for node in program.main.nodes if "squared_norm-SquaredNorm/AddN" in node.scope)
    return edited(at("IsFinite"), taking(0, own.output))(program)


def gather_backwards(node: Node) -> list[Node]:
    """A group in the opposite order."""
    return setting(group_rank_ids=node.attributes["group_rank_ids"][::-1])(node)


def is_gradient_of_table(program: Program, node: Node) -> bool:
    """Whether this is the message with the word table's gradient; other messages carry a micro-batch as their tag."""
    return node.primitive in ("Send", "Receive") and "Gradients/" in node.scope and node.attributes["sr_tag"] > 3


def is_loss_share(program: Program, node: Node) -> bool:
    """Whether this weighs the loss of a rank before the ranks' are added up."""
    return node.primitive == "Muls" and program.constants.get(node.inputs[1]) == 0.25


def _with_graphs(program: Program, graphs: dict[str, Graph], constants: dict[str, Any]) -> Program:
    graphs = {**program.graphs, **graphs}
    constants = {**program.constants, **constants}
    return replace(program, graphs=graphs, main=graphs[program.main.name], constants=constants)


def _parameter(program: Program, node: Node) -> str:
    """The parameter that a node of the main graph reads first, through nodes that only pass it on."""
    makers = {maker.output: maker for maker in program.main.nodes if maker.primitive in ("Cast", "Depend", "Load")}
    name = node.inputs[0]
    while name in makers:
        name = makers[name].inputs[0]
    return program.parameter_names.get(name, "")


_SUM_AFTER_ATTENTION = at("AllReduce", "0-Layer/attention-Attention/output-Linear/AllReduce")
_SHARDED = "layers.0.attention.query.weight"
"""Each rank of a stage holds a part of its own."""
_COPIED = "layers.0.attention.output.bias"
"""Each rank of a stage holds all of it."""

MUTATIONS = [
    Mutation(
        "a sum over mp in the forward pass is missing",
        {FIRST_STAGE: edited(_SUM_AFTER_ATTENTION, skip)},
        "float64 loss differs by .* at step [0-4]",
    ),
    Mutation(
        "the same on one rank only",
        {(1,): edited(_SUM_AFTER_ATTENTION, skip)},
        # Which is met first depends on the order in which the compiler has put the sums.
        "ranks 0 and 1 do not match in group .* rank 0 is at AllReduce|rank 0 waits at AllReduce .* for rank 1",
    ),
    Mutation(
        "a gradient is not added up over the ranks",
        {FIRST_STAGE: edited(at("AllReduce", of=f"accu_grads.{_COPIED}"), skip)},
        f"{_COPIED} is not the same on ranks [0-2] and [1-3]",
    ),
    Mutation(
        "the largest replica's gradient instead of the sum",
        {FIRST_STAGE: edited(at("ReduceScatter", of=f"accu_grads.{_SHARDED}"), setting(op="max"))},
        f"float64 gradient differs by .* at {_SHARDED}",
    ),
    Mutation(
        "a micro-batch has no backward pass on one stage",
        {FIRST_STAGE: lose_micro_batch},
        r"float64 gradient differs by .* at (embedding|layers\.[01])\.",
    ),
    Mutation(
        "a micro-batch is computed twice, another not at all",
        {ALL: repeat_micro_batch},
        "float64 loss differs by .* at step [0-4]",
    ),
    Mutation(
        "a sum of gradients is not cleared after the step",
        {FIRST_STAGE: edited(at("Assign", "gradients-Accumulated", f"accu_grads.{_SHARDED}"), skip_writing)},
        f"accu_grads.{_SHARDED} is not the same on ranks",
    ),
    Mutation(
        "the loss is the mean of the two replicas' instead of their sum",
        {
            LAST_STAGE: both(
                edited(is_loss_share, halving(0), half=0.5), edited(at("RealDiv", "loss-Pipeline"), halving(0))
            )
        },
        "float64 loss differs by 5.0e-01 .*\nfloat64 gradient norm differs by 5.0e-01",
    ),
    Mutation(
        "one replica's loss counts half in the gradients",
        {(6, 7): edited(at("RealDiv", "loss-Pipeline"), halving(0), half=0.5)},
        "float64 gradient norm differs by 2.5e-01",
    ),
    Mutation(
        "a gradient is halved",
        {LAST_STAGE: edited(at("AdamWeightDecay", of="layers.2.feed_forward.contract.weight"), halving(8), half=0.5)},
        "float64 gradient differs by 5.0e-01 at layers.2.feed_forward.contract.weight",
    ),
    Mutation(
        "the norm counts each copy of a parameter",
        {ALL: edited(at("Mul", "squared_norm-SquaredNorm/Mul"), taking(1, "one"), one=1.0)},
        "float64 gradient norm differs by",
    ),
    Mutation(
        "the last stage has a word table of its own",
        {
            FIRST_STAGE: edited(at("Send", of="embedding.word.table"), skip),
            LAST_STAGE: edited(at("Receive", of="embedding.word.table"), skip),
        },
        "embedding.word.table is not the same on ranks [0-3] and [4-7]",
    ),
    Mutation(
        "the word table's gradient is not sent back",
        {
            FIRST_STAGE: edited(is_gradient_of_table, taking_only("zeros"), zeros=np.zeros((49, 32))),
            LAST_STAGE: edited(is_gradient_of_table, skip),
        },
        "float64 gradient differs by .* at embedding.word.table",
    ),
    Mutation(
        "a stage swaps two layers",
        {FIRST_STAGE: swap_layers},
        r"float64 loss differs by .*\n(.*\n)*float64 gradient differs by .* at layers\.[01]\.",
    ),
    Mutation(
        "weight decay on a LayerNorm",
        {FIRST_STAGE: decay_a_norm},
        "float64 update differs by .* at layers.1.feed_forward_norm.gamma",
    ),
    Mutation(
        "another learning rate on one rank, which alone holds its part",
        {(3,): edited(at("AdamWeightDecay", of=_SHARDED), halving(3), half=0.5)},
        f"float64 update differs by .* at {_SHARDED}",
    ),
    Mutation(
        "another eps on one of several ranks that hold the same",
        {(3,): edited(at("AdamWeightDecay", of=_COPIED), halving(6), half=0.5)},
        f"{_COPIED} is not the same on ranks [0-2] and 3",
    ),
    Mutation(
        "the optimizer's shards are gathered in the opposite order",
        {FIRST_STAGE: edited(at("AllGather", of=_SHARDED), gather_backwards)},
        r"float64 gradient differs by .* at layers\.0\.attention\.",
    ),
    Mutation(
        "a stage sends in another order than the next one receives",
        {FIRST_STAGE: send_in_another_order},
        r"rank 4 at Receive .* receives tag \d+ from rank 0, which sent tag 0 first",
    ),
]
