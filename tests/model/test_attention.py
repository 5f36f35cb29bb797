"""The attention mask, and attention where its numbers are hardest."""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from pangu_alpha.config import ModelConfig
from pangu_alpha.model.attention import Attention, AttentionMask


def test_mask_allows_earlier_tokens_of_the_same_document() -> None:
    documents = np.array([[0, 0, 1, 1, 1, 2], [0, 1, 2, 2, 3, 3]], np.int32)
    mask = AttentionMask(6)(Tensor(documents)).asnumpy()
    assert mask.shape == (2, 1, 6, 6) and mask.dtype == np.float32
    for sample in range(2):
        for query in range(6):
            for key in range(6):
                allowed = documents[sample, query] == documents[sample, key] and key <= query
                assert (mask[sample, 0, query, key] == 0) == allowed, (sample, query, key)


@pytest.fixture(scope="module")
def attend(make_config: Callable[..., ModelConfig]) -> Callable[..., np.ndarray]:
    """`Attention.attend` of one sample, with an output projection that changes nothing. [heads, S, size] → [S, d]."""

    def run(query: np.ndarray, key: np.ndarray, value: np.ndarray, mask: np.ndarray, compute_dtype: str) -> np.ndarray:
        cell = Attention(make_config(compute_dtype=compute_dtype), "test")
        cell.set_train(False)
        cell.output.weight.set_data(Tensor(np.eye(16, dtype=np.float32)))
        cell.output.bias.set_data(Tensor(np.zeros(16, np.float32)))
        dtype = {"float32": ms.float32, "float16": ms.float16}[compute_dtype]
        tensors = [Tensor(array[None].astype(np.float32)).astype(dtype) for array in (query, key, value)]
        return cell.attend(
            *tensors, Tensor(mask[None, None].astype(np.float32)), Tensor(np.zeros(1, np.int32))
        ).asnumpy()

    return run


def test_a_forbidden_pair_has_weight_0_even_at_the_highest_score(attend: Callable[..., np.ndarray]) -> None:
    """The forbidden key scores 4096 higher than the allowed ones, and its value is the only one that is not 1."""
    query = np.full((4, 12, 4), 64.0)
    key = np.zeros((4, 12, 4))
    key[:, 7] = 32.0
    value = np.ones((4, 12, 4))
    value[:, 7] = 1e6
    mask = np.zeros((12, 12))
    mask[:, 7] = -1e9
    np.testing.assert_allclose(attend(query, key, value, mask, "float32"), 1.0, rtol=1e-6)


def test_float16_scores_do_not_overflow_before_they_are_scaled(attend: Callable[..., np.ndarray]) -> None:
    """Q·K is 4 · 150 · 150 = 90,000, above float16's 65,504; Q·K/√4 is 45,000."""
    query, key = np.full((4, 12, 4), 150.0), np.full((4, 12, 4), 150.0)
    value = np.arange(12.0)[None, :, None] * np.ones((4, 12, 4))
    result = attend(query, key, value, np.zeros((12, 12)), "float16")
    np.testing.assert_allclose(result, 5.5, rtol=2e-3)


def test_float16_weights_are_those_of_the_allowed_keys(attend: Callable[..., np.ndarray]) -> None:
    """The mask's -1e9 is outside float16's range; 3 keys of 12 are allowed and share the weight equally."""
    mask = np.full((12, 12), -1e9)
    mask[:, :3] = 0
    value = np.arange(12.0)[None, :, None] * np.ones((4, 12, 4))
    result = attend(np.zeros((4, 12, 4)), np.zeros((4, 12, 4)), value, mask, "float16")
    np.testing.assert_allclose(result, 1.0, rtol=1e-3)
