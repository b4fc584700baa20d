# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Masked-language-model losses: values, gradients, layouts, vocabulary padding and reduction."""

import math

import numpy as np
import pytest
import torch

from bionemo.core.errors import DataError
from bionemo.llm.model.loss import BERTMLMLossWithReduction, masked_token_loss, unreduced_token_loss_fn
from bionemo.testing.multiprocess import run_on_ranks


def _numpy_losses(logits_RV: np.ndarray, labels_R: np.ndarray) -> np.ndarray:
    """Cross-entropy by its definition, in float64; 0 where the label is negative."""
    shifted = logits_RV - logits_RV.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    picked = log_probs[np.arange(len(labels_R)), np.maximum(labels_R, 0)]
    return np.where(labels_R < 0, 0.0, -picked)


@pytest.fixture
def packed():
    """40 rows over 33 real and 95 padding columns, every fifth row not labelled."""
    rng = torch.Generator().manual_seed(7)
    logits_MV = 3.0 * torch.randn(40, 128, generator=rng)
    labels_M = torch.randint(0, 33, (40,), generator=rng)
    labels_M[::5] = -100
    return logits_MV, labels_M


class TestMaskedTokenLoss:
    def test_sum_and_count(self, packed):
        logits_MV, labels_M = packed
        loss_sum, num_labelled = masked_token_loss(logits_MV, labels_M, real_vocab_size=33)
        expected = _numpy_losses(logits_MV[:, :33].double().numpy(), labels_M.numpy()).sum()
        # float32 sum of 32 terms.
        assert loss_sum.item() == pytest.approx(expected, rel=1e-6)
        assert loss_sum.dtype == torch.float32
        assert num_labelled.item() == 32
        assert num_labelled.dtype == torch.int64

    def test_uniform_logits_cost_ln_33_despite_padding_columns(self):
        # Over all 128 columns it would be ln 128 = 4.85.
        loss_sum, num_labelled = masked_token_loss(torch.zeros(10, 128), torch.full((10,), 5), real_vocab_size=33)
        assert (loss_sum / num_labelled).item() == pytest.approx(math.log(33), rel=1e-6)

    def test_padding_columns_and_unlabelled_rows_get_no_gradient(self, packed):
        logits_MV, labels_M = packed
        logits_MV.requires_grad_()
        masked_token_loss(logits_MV, labels_M, real_vocab_size=33)[0].backward()
        assert (logits_MV.grad[:, 33:] == 0).all()
        assert (logits_MV.grad[labels_M == -100] == 0).all()
        # d loss / d logits = softmax - one_hot
        softmax = torch.softmax(logits_MV.detach()[1, :33], dim=0)
        softmax[labels_M[1]] -= 1.0
        torch.testing.assert_close(logits_MV.grad[1, :33], softmax)

    def test_sums_bfloat16_logits_in_float32(self):
        logits_MV = torch.zeros(1_000, 33, dtype=torch.bfloat16)
        loss_sum, _ = masked_token_loss(logits_MV, torch.zeros(1_000, dtype=torch.int64))
        # bfloat16 would round 3496.5 to a multiple of 16.
        assert loss_sum.item() == pytest.approx(1_000 * math.log(33), rel=1e-6)

    def test_without_a_labelled_row_everything_is_zero(self):
        logits_MV = torch.randn(3, 33, requires_grad=True)
        loss_sum, num_labelled = masked_token_loss(logits_MV, torch.full((3,), -100))
        loss_sum.backward()
        assert (loss_sum.item(), num_labelled.item()) == (0.0, 0)
        assert (logits_MV.grad == 0).all()


@pytest.fixture
def padded():
    """S=5, B=3, V=7; one label is -100 and one -1, as older data sets wrote it."""
    rng = torch.Generator().manual_seed(3)
    logits_SBV = torch.randn(5, 3, 7, generator=rng)
    labels_BS = torch.randint(0, 7, (3, 5), generator=rng)
    labels_BS[0, 0] = -100
    labels_BS[2, 4] = -1
    return logits_SBV, labels_BS


class TestUnreducedTokenLoss:
    def test_values_at_batch_first_positions(self, padded):
        logits_SBV, labels_BS = padded
        losses_BS = unreduced_token_loss_fn(logits_SBV, labels_BS)
        assert losses_BS.shape == (3, 5)
        assert losses_BS.dtype == torch.float32
        logits_RV = logits_SBV.transpose(0, 1).reshape(15, 7).double().numpy()
        expected = _numpy_losses(logits_RV, labels_BS.reshape(-1).numpy()).reshape(3, 5)
        np.testing.assert_allclose(losses_BS.numpy(), expected, rtol=1e-5, atol=1e-6)
        assert losses_BS[0, 0] == losses_BS[2, 4] == 0.0

    def test_leaves_its_input_alone(self, padded):
        logits_SBV, labels_BS = padded
        before = (logits_SBV.clone(), labels_BS.clone())
        unreduced_token_loss_fn(logits_SBV, labels_BS, real_vocab_size=7)
        assert torch.equal(logits_SBV, before[0])
        assert torch.equal(labels_BS, before[1])

    def test_ignores_padding_columns(self, padded):
        logits_SBV, labels_BS = padded
        wider = torch.cat([logits_SBV, torch.full((5, 3, 9), 50.0)], dim=-1)
        torch.testing.assert_close(
            unreduced_token_loss_fn(wider, labels_BS, real_vocab_size=7),
            unreduced_token_loss_fn(logits_SBV, labels_BS),
        )


class TestBERTMLMLossWithReduction:
    def test_forward_sums_over_the_loss_mask(self, padded):
        logits_SBV, labels_BS = padded
        loss_mask_BS = torch.zeros(3, 5, dtype=torch.bool)
        loss_mask_BS[1, 2] = loss_mask_BS[2, 0] = loss_mask_BS[0, 0] = True  # the last one has no label
        loss_sum, num_valid, for_reduce = BERTMLMLossWithReduction()(
            {"labels": labels_BS, "loss_mask": loss_mask_BS}, {"token_logits": logits_SBV.requires_grad_()}
        )
        losses_BS = unreduced_token_loss_fn(logits_SBV, labels_BS)
        assert loss_sum.item() == pytest.approx((losses_BS[1, 2] + losses_BS[2, 0]).item(), rel=1e-6)
        assert num_valid.item() == 2
        assert for_reduce["loss_sum_and_ub_size"].tolist() == [loss_sum.item(), 2.0]
        assert not for_reduce["loss_sum_and_ub_size"].requires_grad
        loss_sum.backward()
        assert logits_SBV.grad[2, 1].abs().sum() > 0
        assert logits_SBV.grad[3, 1].abs().sum() == 0

    def test_without_a_loss_mask_every_label_counts(self, padded):
        logits_SBV, labels_BS = padded
        _, num_valid, _ = BERTMLMLossWithReduction()({"labels": labels_BS}, {"token_logits": logits_SBV})
        assert num_valid.item() == 13

    def test_reduce_weighs_tokens_not_micro_batches(self):
        parts = [
            {"loss_sum_and_ub_size": torch.tensor([6.0, 2.0])},
            {"loss_sum_and_ub_size": torch.tensor([8.0, 8.0])},
        ]
        mean = BERTMLMLossWithReduction(validation_step=True, val_drop_last=False).reduce(parts)
        assert mean.shape == (1,)
        assert mean.dtype == torch.float32
        assert mean.item() == pytest.approx(1.4)  # the mean of the two means would be 2

    def test_reduce_counts_beyond_what_float32_can(self):
        parts = [{"loss_sum_and_ub_size": torch.tensor([2.0**24, 2.0**24])}] + [
            {"loss_sum_and_ub_size": torch.tensor([1.0, 0.0])} for _ in range(2**12)
        ]
        # In float32 adding 1 to 2**24 changes nothing and the mean would stay 1.
        assert BERTMLMLossWithReduction().reduce(parts).item() == pytest.approx(1 + 2.0**-12, rel=1e-7)

    @pytest.mark.parametrize("parts", [[], [{"loss_sum_and_ub_size": torch.zeros(2)}]], ids=["no batch", "no token"])
    def test_reduce_of_nothing_is_zero(self, parts):
        assert BERTMLMLossWithReduction().reduce(parts).tolist() == [0.0]

    def test_nothing_selected_counts_zero(self, padded):
        logits_SBV, labels_BS = padded
        nothing = torch.zeros_like(labels_BS, dtype=torch.bool)
        loss_sum, num_valid, _ = BERTMLMLossWithReduction()(
            {"labels": labels_BS, "loss_mask": nothing}, {"token_logits": logits_SBV}
        )
        assert (loss_sum.item(), num_valid.item()) == (0.0, 0)

    def test_missing_labels(self):
        with pytest.raises(DataError, match=r"Labels not provided in the batch: it holds \['text'\]"):
            BERTMLMLossWithReduction()({"text": torch.zeros(1, 1)}, {"token_logits": torch.zeros(1, 1, 4)})


def _reduce_on_rank() -> float:
    """Rank r sums 2 + r tokens of loss 10 each, except that rank 2 has no micro-batch at all."""
    rank = torch.distributed.get_rank()
    num_tokens = 0 if rank == 2 else 2 + rank
    parts = [{"loss_sum_and_ub_size": torch.tensor([10.0 * rank, num_tokens])}] if num_tokens else []
    return BERTMLMLossWithReduction().reduce(parts).item()


def test_reduce_over_data_parallel_ranks_weighs_tokens():
    # (0 + 10) / (2 + 3): the mean of the ranks' means would be 10 / 3 / 3.
    assert run_on_ranks(3, _reduce_on_rank) == [pytest.approx(2.0)] * 3


def _reduce_on_last_pipeline_stage() -> float | None:
    from megatron.core import parallel_state

    parallel_state.initialize_model_parallel(pipeline_model_parallel_size=2)
    if not parallel_state.is_pipeline_last_stage():
        return None
    return BERTMLMLossWithReduction().reduce([{"loss_sum_and_ub_size": torch.tensor([6.0, 3.0])}]).item()


def test_reduce_asks_only_the_ranks_that_hold_a_loss():
    # Waiting for the first stage as well would hang.
    assert run_on_ranks(2, _reduce_on_last_pipeline_stage, timeout_s=30) == [None, 2.0]


def _vocab_parallel_loss(fused: bool) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """Two tensor-parallel ranks hold 20 columns each, of which 33 in all are real."""
    from megatron.core import parallel_state

    parallel_state.initialize_model_parallel(tensor_model_parallel_size=2)
    rank = torch.distributed.get_rank()
    logits_SBV, labels_BS = _whole_vocabulary()
    share = logits_SBV[..., 20 * rank : 20 * rank + 20].clone().requires_grad_()
    # Megatron's fused kernel is a torch.compile of Python code: run that as it stands, compiling it takes 20 s.
    with torch.compiler.set_stance("force_eager"):
        losses_BS = unreduced_token_loss_fn(share, labels_BS, fused, real_vocab_size=33)
        losses_BS.square().sum().backward()
    with torch.no_grad():
        unreduced_token_loss_fn(share, labels_BS)
    is_unchanged = torch.equal(share.detach(), logits_SBV[..., 20 * rank : 20 * rank + 20])
    return losses_BS.detach(), share.grad, is_unchanged


def _whole_vocabulary() -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(11)
    logits_SBV = 2.0 * torch.randn(5, 3, 40, generator=rng)
    labels_BS = torch.randint(0, 33, (3, 5), generator=rng)
    labels_BS[1, 2] = -100
    return logits_SBV, labels_BS


# The fused kernel rounds the gradient to bfloat16, which has 8 bits.
@pytest.mark.parametrize(("fused", "rtol"), [(False, 1.3e-6), (True, 2.0**-8)], ids=["unfused", "fused"])
def test_vocab_parallel_loss_equals_the_plain_one(fused, rtol):
    logits_SBV, labels_BS = _whole_vocabulary()
    logits_SBV.requires_grad_()
    expected_BS = unreduced_token_loss_fn(logits_SBV, labels_BS, real_vocab_size=33)
    expected_BS.square().sum().backward()
    results = run_on_ranks(2, _vocab_parallel_loss, fused)
    for losses_BS, _, is_unchanged in results:
        torch.testing.assert_close(losses_BS, expected_BS.detach())
        assert is_unchanged
    torch.testing.assert_close(
        torch.cat([grad for _, grad, _ in results], dim=-1), logits_SBV.grad, rtol=rtol, atol=1e-5
    )
