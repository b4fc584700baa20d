# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The BioBERT encoder on Megatron-core's transformer block, for packed batches; padded ones are packed on entry.

Letters: T tokens of a pack, M rows that get logits, B sequences, S padded length, H hidden, V vocabulary.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, Protocol, TypedDict, TypeVar

import torch
import torch.nn.functional as F
from megatron.core.enums import ModelType
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_block import TransformerBlock, TransformerBlockSubmodules
from torch import Tensor, nn

from bionemo.core.errors import ConfigError, DataError
from bionemo.llm.data.packing import pack_padded, unpack_to_padded
from bionemo.llm.model.attention import PackedCoreAttention, takes_varlen_kernel
from bionemo.llm.model.biobert.config import ACTIVATIONS, BioBertConfig, to_megatron
from bionemo.llm.model.biobert.embedding import BertEmbedding
from bionemo.llm.model.biobert.transformer_specs import get_biobert_spec
from bionemo.llm.model.context_attention import ContextParallelCoreAttention, ContextTable, context_table
from bionemo.llm.model.device_placement import Placement
from bionemo.llm.model.half_precision import as_weights
from bionemo.llm.model.plain_layers import PlainLayerNorm, init_normal
from bionemo.llm.model.rotary import RotaryEmbedding
from bionemo.llm.model.varlen.kernels import KERNELS, choose_kernel, choose_kernel_with_dropout
from bionemo.llm.model.varlen.reference import SequenceTable


__all__ = ["BertOutput", "BioBertConfig", "MegatronBioBertModel", "PackedOutput", "build_model"]


PositionEmbeddingKinds = Literal["learned_absolute", "rope"]


class BioBertOutputCore(TypedDict):
    """What every BioNeMo 2 compatible forward pass returns."""

    token_logits: Tensor
    binary_logits: Tensor | None


class BioBertOutput(BioBertOutputCore, total=False):
    """What a BioNeMo 2 compatible forward pass returns by the config's switches."""

    hidden_states: Tensor
    embeddings: Tensor
    input_ids: Tensor


class ModelTokenizer(Protocol):
    """What a model needs to know of its tokenizer."""

    @property
    def vocab_size(self) -> int:
        """Tokens there are."""

    @property
    def mask_token_id(self) -> int:
        """Mask token id."""

    @property
    def pad_token_id(self) -> int:
        """Id that fills up a batch."""


class PackedOutput(NamedTuple):
    """Result of one packed forward pass.

    Attributes:
        token_logits: [M, V] over the real vocabulary, for the rows asked for; None if not wanted.
        hidden_states: [T, H] after the final LayerNorm (post-LN: of the last block), of this rank's run of the packed
            batch;
            on a pipeline stage before the last [T, 1, H], as it is sent on.
        all_hidden_states: If asked for, L + 1 tensors [T, H]: the embedding, each block's output, and in the place of
            the last block's the final LayerNorm's.
    """

    token_logits: Tensor | None
    hidden_states: Tensor
    all_hidden_states: tuple[Tensor, ...] | None


class BertOutput(NamedTuple):
    """Result of a padded forward pass in batch-first layout.

    Attributes:
        token_logits: [B, S, V] over the real vocabulary; zero at padding. None of a model without masked-token head.
        hidden_states: If asked for, L + 1 tensors [B, S, H] as in :class:`PackedOutput`; zero at padding.
    """

    token_logits: Tensor | None
    hidden_states: tuple[Tensor, ...] | None


class LanguageModelHead(nn.Module):
    """Dense layer, activation and LayerNorm before the output layer."""

    def __init__(self, config: BioBertConfig) -> None:
        super().__init__()
        assert isinstance(config.activation_func, str)
        self.activation = ACTIVATIONS[config.activation_func]
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        init_normal(self.dense.weight, config.init_method_std)
        nn.init.zeros_(self.dense.bias)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Transform [M, H] to [M, H]."""
        normed: Tensor = self.layer_norm(self.activation(self.dense(as_weights(hidden_states, self.dense.weight))))
        return normed


class OutputLayer(nn.Module):
    """Projection to the vocabulary: its own weight, or the word embedding's, and a bias."""

    def __init__(self, hidden_size: int, padded_vocab_size: int, vocab_size: int, *, tied: bool, std: float) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.bias = nn.Parameter(torch.zeros(padded_vocab_size))
        self.register_parameter("weight", None)
        if not tied:
            self.weight = nn.Parameter(init_normal(torch.empty(padded_vocab_size, hidden_size), std))

    def forward(self, states: Tensor, weight: Tensor) -> Tensor:
        """Project [M, H] to the real vocabulary, [M, V]."""
        weight = as_weights(weight, self.bias)  # that of an embedding may keep more bits
        return F.linear(as_weights(states, weight), weight[: self.vocab_size], self.bias[: self.vocab_size])


class MegatronBioBertModel(MegatronModule):  # type: ignore[misc]  # megatron has no types
    """Embedding, transformer block and masked-token head of the BERT family.

    A pipeline stage builds only what it owns: ``embedding`` is None on later ones, the head's parts on earlier ones.

    Args:
        config: The architecture.
        tokenizer: Its vocabulary size and special ids.
        placement: Which part of the model is here; None: all of it.
    """

    model_type = ModelType.encoder_or_decoder  # read by Megatron's schedules

    def __init__(self, config: BioBertConfig, tokenizer: ModelTokenizer, placement: Placement | None = None) -> None:
        placement = placement or Placement(to_megatron(config))
        super().__init__(config=placement.config)
        self.bert_config = config
        self.placement = placement
        self.pre_process, self.post_process = placement.pre_process, placement.post_process
        self.vp_stage = placement.vp_stage
        self.share_embeddings_and_output_weights = config.share_embeddings_and_output_weights
        self.attention_kernel = "auto"
        """Variable-length kernel on a GPU: a key of ``KERNELS``, or "auto"."""
        self.vocab_size = tokenizer.vocab_size
        self.pad_token_id = tokenizer.pad_token_id
        padded_vocab_size = config.padded_vocab_size(self.vocab_size, placement.groups.tp.size())
        self.embedding: BertEmbedding | None = None
        if self.pre_process:
            self.embedding = self.build_embedding(padded_vocab_size, tokenizer)
        self.rotary_pos_emb: RotaryEmbedding | None = None
        if config.position_embedding_type == "rope":
            self.rotary_pos_emb = RotaryEmbedding(config.head_dim, config.rotary_base)
        is_post_norm = config.norm_placement == "post"
        layer = get_biobert_spec(
            config.biobert_spec_option,
            config.qk_layernorm,
            ContextParallelCoreAttention if placement.is_context_parallel else PackedCoreAttention,
            post_norm_config=placement.config if is_post_norm else None,
            tensor_parallel=placement.is_tensor_parallel,
        )
        self.encoder = TransformerBlock(
            placement.config,
            TransformerBlockSubmodules(layer_specs=[layer] * placement.num_layers, layer_norm=PlainLayerNorm),
            pre_process=self.pre_process,
            post_process=self.post_process,
            post_layer_norm=not is_post_norm,
            pg_collection=placement.groups,
            vp_stage=placement.vp_stage,
        )
        for block in self.encoder.layers:
            # Megatron switches gradients on for its compiled residual sum; a post-LN sum has parameters, and under
            # torch.no_grad() would keep the inputs of every norm.
            block.bias_dropout_add_exec_handler = nullcontext
        self.lm_head: LanguageModelHead | None = None
        self.output_layer: nn.Module | None = None
        if self.post_process:
            self.lm_head = LanguageModelHead(config)
            self.output_layer = self.build_output_layer(padded_vocab_size)

    def build_embedding(self, padded_vocab_size: int, tokenizer: ModelTokenizer) -> BertEmbedding:
        """Build the embedding; models with an embedding of their own override this."""
        return BertEmbedding(self.bert_config, padded_vocab_size, tokenizer.vocab_size, self.placement)

    def build_output_layer(self, padded_vocab_size: int) -> nn.Module:
        """Build the projection to the vocabulary.

        A tied weight is the embedding's where that is here too, and a copy that Megatron keeps equal where it is not.
        """
        config, tied = self.bert_config, self.share_embeddings_and_output_weights and self.pre_process
        if not self.placement.is_tensor_parallel:
            std = config.init_method_std
            return OutputLayer(config.hidden_size, padded_vocab_size, self.vocab_size, tied=tied, std=std)
        from bionemo.llm.model.parallel_layers import VocabParallelOutput

        return VocabParallelOutput(self.placement, padded_vocab_size, self.vocab_size, tied=tied)

    def shared_embedding_or_output_weight(self) -> Tensor | None:
        """Return this stage's copy of a weight that embedding and output layer share; Megatron asks for it."""
        if self.embedding is not None:
            table: Any = self.embedding.word_embeddings  # plain or vocabulary-parallel
            weight: Tensor = table.weight
            return weight
        output: Any = self.output_layer
        return None if output is None else output.weight

    def units_of_sharding(self) -> list[nn.Module]:
        """Modules that sharded ranks gather one at a time; the rest of the model is gathered as one more."""
        return list(self.encoder.layers)

    def set_input_tensor(self, input_tensor: list[Tensor]) -> None:
        """Take what the stage before this one sent; None on the first."""
        self.encoder.set_input_tensor(input_tensor[0])

    def sharded_state_dict(
        self, prefix: str = "", sharded_offsets: tuple[Any, ...] = (), metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Describe this rank's part of every parameter, for a checkpoint that other layouts can read."""
        from bionemo.llm.model.sharding import shard_shared_parts

        sharded: dict[str, Any] = super().sharded_state_dict(prefix, sharded_offsets, metadata)
        shard_shared_parts(sharded, self, prefix)
        return sharded

    def sequence_table(
        self, position_ids: Tensor, cu_seqlens: Tensor, max_seqlen: int, num_tokens: int | None, *, kernel: str | None
    ) -> SequenceTable:
        """Gather what every layer's attention needs to know of a packed batch.

        A varlen kernel reads ``cu_seqlens`` on the device; without one the pack is split on the host.
        """
        cos, sin = self.rotary_pos_emb(position_ids) if self.rotary_pos_emb is not None else (None, None)
        lengths = plan = None
        if kernel is None:
            lengths = tuple(length for length in cu_seqlens.diff().tolist() if length)
        else:
            plan = KERNELS[kernel].plan(cu_seqlens, self.num_own_heads, self.bert_config.head_dim)
        if num_tokens is None:
            num_tokens = int(cu_seqlens[-1])
        return SequenceTable(cu_seqlens, max_seqlen, num_tokens, lengths, cos, sin, kernel, plan)

    @property
    def num_own_heads(self) -> int:
        """Attention heads of a layer on this rank."""
        heads: int = self.bert_config.num_attention_heads // self.placement.groups.tp.size()
        return heads

    def choose_kernel(self, embedded: Tensor) -> str | None:
        """Name the variable-length kernel for this input; None where there is none for it."""
        # A parameter, not .weight: that would add adapters up, and gather them on sharded ranks.
        weights = next(self.encoder.layers[0].self_attention.linear_qkv.parameters())
        config, dtype = self.bert_config, compute_dtype(embedded, weights)
        if not takes_varlen_kernel(embedded.device, dtype, config.head_dim):
            return None
        shape = (self.num_own_heads, config.head_dim, dtype, embedded.device)
        if self.training and config.attention_dropout > 0:
            return None if self.placement.is_context_parallel else choose_kernel_with_dropout(*shape)
        return choose_kernel(self.attention_kernel, *shape)

    def forward_packed(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        cu_seqlens: Tensor,
        max_seqlen: int,
        *,
        num_tokens: int | None = None,
        logit_rows: Tensor | None = None,
        skip_logits: bool = False,
        output_hidden_states: bool = False,
    ) -> PackedOutput:
        """Run a packed batch.

        Args:
            input_ids: [T] int64.
            position_ids: [T] int, counted from 0 in each sequence.
            cu_seqlens: [B + 1] int32.
            max_seqlen: Length of the longest sequence.
            num_tokens: Tokens that belong to a sequence; without it a GPU is asked for the last of ``cu_seqlens``.
            logit_rows: [M] int64, tokens that get logits, counted in this rank's run of the pack; default all T.
            skip_logits: Leave the head out.
            output_hidden_states: Also return the embedding and every block's output.

        Returns:
            See :class:`PackedOutput`.

        Raises:
            ConfigError: A sequence is longer than the learned positions.
            DataError: On a CPU, an id is outside the vocabulary.
        """
        states = self.first_states(input_ids, position_ids, cu_seqlens, max_seqlen)
        kernel = self.choose_kernel(states)
        pack = self.sequence_table(position_ids, cu_seqlens, max_seqlen, num_tokens, kernel=kernel)
        table: SequenceTable | ContextTable = pack
        if self.placement.is_context_parallel:
            table = context_table(pack, self.placement.own_tokens(len(input_ids)))
        inner: list[Tensor] = []
        hooks = []
        if output_hidden_states:
            assert self.placement.holds_whole_model
            inner.append(states.squeeze(1))
            hooks = [
                layer.register_forward_hook(lambda m, i, out: inner.append(out[0].squeeze(1)))
                for layer in self.encoder.layers
            ]
        try:
            hidden_states: Tensor = self.encoder(states, table)
        finally:
            for hook in hooks:
                hook.remove()
        if not self.post_process:
            return PackedOutput(None, hidden_states, None)
        hidden_states = self.last_states(hidden_states)
        if output_hidden_states:
            inner[-1] = hidden_states
        logits = None
        if not skip_logits and self.lm_head is not None:
            rows = hidden_states if logit_rows is None else hidden_states.index_select(0, logit_rows)
            logits = self.logits(rows)
        return PackedOutput(logits, hidden_states, tuple(inner) if output_hidden_states else None)

    def first_states(self, input_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor, max_seqlen: int) -> Tensor:
        """Return what this stage's first layer reads: the embedding of this rank's tokens, or what another stage sent.

        Sequence statistics, such as token dropout's, are taken over the whole packed batch before it is cut.
        """
        if self.embedding is None:
            states: Tensor = self.encoder.input_tensor
            return states
        if input_ids.device.type == "cpu":  # not on a GPU: only `forward_padded` waits for it anyway
            check_token_ids(input_ids, self.vocab_size)
        if self.embedding.position_embeddings is not None and max_seqlen > self.embedding.max_positions:
            raise ConfigError(
                f"a sequence of {max_seqlen} tokens exceeds the {self.embedding.max_positions} learned positions."
            )
        states = self.embedding(input_ids, position_ids, cu_seqlens).unsqueeze(1)
        if self.placement.is_context_parallel:
            states = states[self.placement.own_tokens(len(input_ids))]
        if self.config.sequence_parallel:
            from megatron.core.tensor_parallel import scatter_to_sequence_parallel_region

            states = scatter_to_sequence_parallel_region(states, group=self.placement.groups.tp)
        return states

    def last_states(self, hidden_states: Tensor) -> Tensor:
        """Return the last layer's output for every token of this rank's run, [T, H]."""
        if self.config.sequence_parallel:
            from megatron.core.tensor_parallel import gather_from_sequence_parallel_region

            # The head is the same on every tensor-parallel rank, and so are its gradients: they are cut, not summed.
            hidden_states = gather_from_sequence_parallel_region(
                hidden_states, tensor_parallel_output_grad=False, group=self.placement.groups.tp
            )
        return hidden_states.squeeze(1)

    def remove_token_head(self) -> None:
        """Remove the masked-token head in place: hidden states are all that is left."""
        self.lm_head = None
        self.output_layer = None

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Project [M, H] to the real vocabulary, [M, V]; tensor-parallel ranks to their share of the padded one."""
        assert self.lm_head is not None
        assert self.output_layer is not None
        weight = self.output_layer.weight
        if weight is None:
            weight = self.shared_embedding_or_output_weight()
        logits: Tensor = self.output_layer(self.lm_head(hidden_states), weight)
        return logits

    def forward_padded(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, *, output_hidden_states: bool = False
    ) -> BertOutput:
        """Run a padded batch through the packed path: padding costs nothing.

        Args:
            input_ids: [B, S] int64.
            attention_mask: [B, S], non-zero at real tokens; default: all but the pad token.
            output_hidden_states: Also return the embedding and every block's output.

        Returns:
            See :class:`BertOutput`.

        Raises:
            DataError: An id at a real token is outside the vocabulary, or a row of the mask has a gap.
        """
        if attention_mask is None:
            attention_mask = input_ids != self.pad_token_id
        packed = pack_padded(input_ids, attention_mask)
        check_token_ids(packed["input_ids"], self.vocab_size)
        output = self.forward_packed(
            packed["input_ids"],
            packed["position_ids"],
            packed["cu_seqlens"],
            packed["max_seqlen"],
            num_tokens=packed["num_tokens"],
            output_hidden_states=output_hidden_states,
        )

        def to_padded(values: Tensor) -> Tensor:
            return unpack_to_padded(values, packed["cu_seqlens"], *input_ids.shape, attention_mask=attention_mask)

        logits = None if output.token_logits is None else to_padded(output.token_logits)
        hidden_states = None
        if output.all_hidden_states is not None:
            hidden_states = tuple(to_padded(states) for states in output.all_hidden_states)
        return BertOutput(logits, hidden_states)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, tokentype_ids: Tensor | None = None
    ) -> dict[str, Tensor | None]:
        """Run a padded batch and answer in the BioNeMo 2 compatible layout.

        Args:
            input_ids: [B, S] int64.
            attention_mask: [B, S], non-zero at real tokens.
            tokentype_ids: Accepted for old callers; must be None.

        Returns:
            ``token_logits`` [S, B, padded V] and ``binary_logits`` None, and by the config's switches
            ``hidden_states`` [B, S, H], ``embeddings`` [B, H] (mean without first and last token) and ``input_ids``.

        Raises:
            ConfigError: Token types were given.
        """
        if tokentype_ids is not None:
            raise ConfigError("tokentype_ids: this model has no token types; pass None.")
        config = self.bert_config
        want_hidden = config.include_hiddens or config.include_embeddings or config.return_embeddings
        output = self.forward_padded(input_ids, attention_mask, output_hidden_states=want_hidden)
        result: dict[str, Tensor | None] = {"binary_logits": None}
        if output.token_logits is not None and not config.skip_logits:
            padding = config.padded_vocab_size(self.vocab_size) - self.vocab_size
            logits = output.token_logits.transpose(0, 1)  # padding columns take no probability
            result["token_logits"] = F.pad(logits, (0, padding), value=torch.finfo(logits.dtype).min)
        if output.hidden_states is not None:
            last = output.hidden_states[-1]
            if config.include_hiddens:
                result["hidden_states"] = last
            if config.include_embeddings or config.return_embeddings:
                mask = attention_mask if attention_mask is not None else input_ids != self.pad_token_id
                result["embeddings"] = mean_of_inner_tokens(last, mask.bool())
        if config.include_input_ids:
            result["input_ids"] = input_ids
        return result


MegatronBioBertModelType = TypeVar("MegatronBioBertModelType", bound=MegatronBioBertModel)


def mean_of_inner_tokens(hidden_BSH: Tensor, mask_BS: Tensor) -> Tensor:
    """Average each sequence over its tokens but the first and the last, in float32; [B, H]."""
    length_B1 = mask_BS.sum(dim=1, keepdim=True)
    rank_BS = mask_BS.cumsum(dim=1)
    inner_BS = mask_BS & (rank_BS > 1) & (rank_BS < length_B1)
    total_BH = (hidden_BSH.float() * inner_BS.unsqueeze(-1)).sum(dim=1)
    return (total_BH / inner_BS.sum(dim=1, keepdim=True).clamp(min=1)).to(hidden_BSH.dtype)


def check_token_ids(input_ids: Tensor, vocab_size: int) -> None:
    """Refuse ids outside the vocabulary: the table's padding rows, up to a multiple of 128, would answer to some.

    Args:
        input_ids: Integers of any shape.
        vocab_size: Tokens of the vocabulary, without padding.

    Raises:
        DataError: The message names the first such id.
    """
    outside = (input_ids < 0) | (input_ids >= vocab_size)
    if bool(outside.any()):
        raise DataError(
            f"input_ids holds the id {int(input_ids[outside][0])}, but the vocabulary has {vocab_size} tokens (ids 0 "
            f"to {vocab_size - 1}). Use the tokenizer that belongs to the model."
        )


def compute_dtype(states: Tensor, weights: Tensor) -> torch.dtype:
    """Dtype in which matrix products run: autocast's where it is on, else the one with fewer bits.

    A post-LN state has more than the weights (:mod:`bionemo.llm.model.half_precision`); weights have more than the
    state where sharded ranks cast a layer's when they gather it.
    """
    device = states.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return min(states.dtype, weights.dtype, key=lambda dtype: dtype.itemsize)


def build_model(
    config: BioBertConfig,
    tokenizer: ModelTokenizer,
    *,
    seed: int | None = None,
    placement: Placement | None = None,
) -> MegatronBioBertModel:
    """Build the model that a configuration describes.

    Args:
        config: The architecture; its class knows the model's class.
        tokenizer: Vocabulary size and special ids.
        seed: Makes the random weights a function of it and leaves torch's global generator as it was.
        placement: Which part of the model is here; the weights of a part are not meaningful before they are loaded.

    Returns:
        The model in float32 on the CPU.
    """
    if seed is None:
        return config.model_class()(config, tokenizer, placement)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return config.model_class()(config, tokenizer, placement)
