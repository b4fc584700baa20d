# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Flag values, global batch sizes, sample limits and hashes."""

import hashlib

import pytest
import torch

from bionemo.llm.utils.datamodule_utils import (
    float_or_int_or_none,
    infer_global_batch_size,
    infer_num_samples,
    parse_kwargs_to_arglist,
    tensor_dict_hash,
    tensor_hash,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("None", None), (None, None), ("12", 12), ("0.5", 0.5), ("1.0", 1.0), (7, 7), (0.25, 0.25), ("-1", -1.0)],
)
def test_float_or_int_or_none(value, expected):
    result = float_or_int_or_none(value)
    assert result == expected
    assert type(result) is type(expected)


def test_float_or_int_or_none_refuses_words():
    with pytest.raises(ValueError, match="could not convert"):
        float_or_int_or_none("many")


def test_parse_kwargs_to_arglist():
    assert parse_kwargs_to_arglist({"a_b": 1, "lr": 1e-4}) == ["--a-b", "1", "--lr", "0.0001"]


class TestInferGlobalBatchSize:
    def test_data_parallel_ranks_and_accumulation(self):
        assert infer_global_batch_size(micro_batch_size=4, num_nodes=2, devices=8) == 64
        assert infer_global_batch_size(micro_batch_size=4, num_nodes=2, devices=8, accumulate_grad_batches=3) == 192

    def test_model_parallel_ranks_share_samples(self):
        sizes = {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2, "context_model_parallel_size": 4}
        assert infer_global_batch_size(4, 2, 8, 1, **sizes) == 4
        with pytest.raises(ValueError, match=r"world_size must be divisible by .* size 12, found .* = 16 ranks"):
            infer_global_batch_size(4, 2, 8, 1, **{**sizes, "context_model_parallel_size": 3})

    @pytest.mark.parametrize("wrong", [2.0, "2", None])
    def test_only_ints(self, wrong):
        with pytest.raises(ValueError, match=r"All arguments must be of type int, found \{'devices'"):
            infer_global_batch_size(micro_batch_size=4, num_nodes=1, devices=wrong)

    @pytest.mark.parametrize("wrong", [0, -3])
    def test_only_above_zero(self, wrong):
        with pytest.raises(ValueError, match=f"accumulate_grad_batches must be greater than 0, found {wrong}"):
            infer_global_batch_size(4, 1, 1, wrong)


class TestInferNumSamples:
    @pytest.mark.parametrize(
        ("limit", "expected"), [(None, 1000), (1.0, 1000), (0.25, 250), (1, 16), (3, 48), (2.5, 40)]
    )
    def test_shares_and_numbers_of_batches(self, limit, expected):
        assert infer_num_samples(limit, 1000, 16, "val") == expected

    def test_a_share_smaller_than_a_batch(self):
        stem = "The limited number of train samples 10 is less than the global batch size 16"
        with pytest.raises(ValueError, match=stem):
            infer_num_samples(0.01, 1000, 16, "train")

    @pytest.mark.parametrize("limit", [0, -1, 0.0, -0.5])
    def test_impossible_limits(self, limit):
        with pytest.raises(ValueError, match=f"Invalid choice of limit_val_batches size: {limit}"):
            infer_num_samples(limit, 1000, 16, "val")


class TestHashes:
    def test_is_the_sha256_of_the_values(self):
        assert tensor_hash(torch.tensor([1, 2], dtype=torch.int16)) == hashlib.sha256(b"\1\0\2\0").hexdigest()

    def test_layout_in_memory_does_not_count(self):
        table = torch.arange(6.0).reshape(2, 3)
        assert tensor_hash(table.T) == tensor_hash(table.T.contiguous())
        assert tensor_hash(table.T) != tensor_hash(table)

    def test_takes_bfloat16_and_single_numbers(self):
        assert tensor_hash(torch.ones((), dtype=torch.bfloat16)) == hashlib.sha256(b"\x80\x3f").hexdigest()

    def test_order_of_keys_does_not_count(self):
        a, b = torch.ones(2), torch.zeros(2)
        assert tensor_dict_hash({"x": a, "y": b}) == tensor_dict_hash({"y": b, "x": a})
        assert tensor_dict_hash({"x": a, "y": b}) != tensor_dict_hash({"x": b, "y": a})
