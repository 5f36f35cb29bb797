from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from pangu_alpha.errors import ProgramError
from pangu_alpha.program.graph import Program, TensorType, read_program


class _Scale(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.scale = Parameter(Tensor([2.0, 3.0], ms.float32), name="scale")
        self.softmax = ops.Softmax(axis=1)

    def construct(self, x: Tensor) -> Tensor:
        return ops.cast(self.softmax(x * self.scale), ms.bfloat16)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ms.set_context(mode=ms.GRAPH_MODE)
    path = tmp_path_factory.mktemp("exported") / "scale.mindir"
    ms.export(_Scale(), Tensor(np.zeros((4, 2), np.float32)), file_name=str(path), file_format="MINDIR")
    return path


def _changed(exported: Path, folder: Path, change: Any) -> Path:
    from mindspore.train import mind_ir_pb2

    model = mind_ir_pb2.ModelProto.FromString(exported.read_bytes())
    change(model)
    path = folder / "changed.mindir"
    path.write_bytes(model.SerializeToString())
    return path


def test_what_is_read(exported: Path) -> None:
    program = read_program(exported)
    assert isinstance(program, Program)
    assert list(program.inputs.values()) == [TensorType((4, 2), np.dtype(np.float32))]
    assert program.parameters == {"scale": TensorType((2,), np.dtype(np.float32))}
    assert program.initial["scale"].tolist() == [2.0, 3.0]
    primitives = [node.primitive for node in program.nodes()]
    assert [kind for kind in primitives if kind in ("Mul", "Softmax", "Cast")] == ["Mul", "Softmax", "Cast"]
    softmax = next(node for node in program.nodes() if node.primitive == "Softmax")
    assert softmax.output_type == TensorType((4, 2), np.dtype(np.float32))
    assert str(softmax) == "Softmax (Default/Softmax-op0)"
    assert program.constants[softmax.inputs[1]] == (1,)
    cast = next(node for node in program.nodes() if node.primitive == "Cast")
    assert str(cast.output_type) == "bfloat16 [4, 2]"


def test_a_program_without_the_parameters_data(exported: Path, tmp_path: Path) -> None:
    def drop(model: Any) -> None:
        model.graph.parameter[0].raw_data = b""

    program = read_program(_changed(exported, tmp_path, drop))
    assert list(program.parameters) == ["scale"]
    assert program.initial == {}


def test_files_that_are_no_programs(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"lost\.mindir cannot be read"):
        read_program(tmp_path / "lost.mindir")
    (tmp_path / "text.mindir").write_text("臣亮言：先帝创业未半而中道崩殂", encoding="utf-8")
    with pytest.raises(ProgramError, match=r"text\.mindir cannot be read as an exported program"):
        read_program(tmp_path / "text.mindir")


def _odd_attribute(model: Any) -> None:
    attribute = next(node for node in model.graph.node if node.op_type != "Constant").attribute.add()
    attribute.name, attribute.type = "odd", type(attribute).CSR_TENSOR


def _odd_tensor(model: Any) -> None:
    model.graph.parameter[0].data_type = 14


def _open_shape(model: Any) -> None:
    model.graph.input[0].tensor[0].dims[0] = -1


def _other_file(model: Any) -> None:
    model.graph.parameter[0].external_data.location = "weights.data"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_odd_attribute, "attribute odd: type CSR_TENSOR is not known"),
        (_odd_tensor, "tensor type 14 is not known"),
        (_open_shape, r"shape \[-1, 2\] is not fixed"),
        (_other_file, "kept in a file of its own"),
    ],
)
def test_what_is_not_known_is_never_guessed(exported: Path, tmp_path: Path, change: Any, problem: str) -> None:
    with pytest.raises(ProgramError, match=problem):
        read_program(_changed(exported, tmp_path, change))
