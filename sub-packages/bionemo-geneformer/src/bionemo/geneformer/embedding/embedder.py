# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Cells through a model, packed, to embeddings in the order asked for.

Letters: C cells, S tokens of a cell, H hidden, V vocabulary, T tokens of a pack.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.geneformer.api import GeneformerMaskedLM
from bionemo.geneformer.data.packed_cells import PackedCellDataset
from bionemo.geneformer.data.tokenized_cells import TokenizedCells
from bionemo.geneformer.embedding.pooling import EmbeddingKind, GeneMeans, pool_cells
from bionemo.geneformer.embedding.predictions import CellHead
from bionemo.geneformer.tokenizer.gene_tokenizer import GeneTokenizer
from bionemo.llm.data.pack_loaders import PackLoading, build_pack_loader
from bionemo.llm.model.biobert.hidden_states import layer_index
from bionemo.llm.model.biobert.inference import AUTOCAST, PackEncoder, PlacedPack


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """What is computed of each cell.

    Attributes:
        kinds: Embeddings, see `pool_cells`; may be empty.
        layer: 0 is the last, -1 the one before.
        max_tokens: Tokens of a pack.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        compile_backend: Compile the layers, see :class:`bionemo.llm.model.biobert.inference.PackEncoder`; not with a
            head.
        skip_last_gene: See `pool_cells`.
        include_input_ids: Also give the tokens.
        include_hiddens: Also give the layer's hidden states.
        include_logits: Also give the scores over the vocabulary.
        num_workers: Processes that read and rank cells while the model computes.
    """

    kinds: tuple[EmbeddingKind, ...]
    layer: int = -1
    max_tokens: int = 4096
    precision: str = "32-true"
    compile_backend: str | None = None
    skip_last_gene: bool = False
    include_input_ids: bool = False
    include_hiddens: bool = False
    include_logits: bool = False
    num_workers: int = 0


@dataclass
class CellOutputs:
    """What was computed of C cells, in the order in which they were asked for."""

    embeddings: dict[str, NDArray[np.float32]]
    """Kind to [C, H]."""
    predictions: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Of the head, if there is one: name to [C], or to [C, classes]."""
    input_ids: list[NDArray[np.int64]] = field(default_factory=list)
    """If asked for, C times [S]."""
    hidden_states: list[NDArray[np.float32]] = field(default_factory=list)
    """If asked for, C times [S, H]."""
    token_logits: list[NDArray[np.float32]] = field(default_factory=list)
    """If asked for, C times [S, V]."""


class _PackStates(NamedTuple):
    batch: dict[str, Any]
    hidden_TH: Tensor
    logits_TV: Tensor | None


class CellEmbedder:
    """A model with what it needs to embed cells.

    Args:
        module: The model, on the device where it shall run.
        tokenizer: Its vocabulary.
        options: What to compute.
        head: Predicts something of each cell besides; its encoder is the module's.

    Raises:
        ConfigError: There is no such layer, embedding or precision.
    """

    def __init__(
        self,
        module: GeneformerMaskedLM,
        tokenizer: GeneTokenizer,
        options: EmbeddingOptions,
        *,
        head: CellHead | None = None,
    ):
        if "cls" in options.kinds and tokenizer.class_id is None:
            raise ConfigError(f"--embedding cls: {tokenizer.variant.name} has no first token for the cell. Use cell.")
        if options.precision not in AUTOCAST:
            raise ConfigError(f"precision {options.precision}: not one of {', '.join(AUTOCAST)}.")
        if options.include_logits and module.model.lm_head is None:
            raise ConfigError("--include-logits: this fine-tuned model has no masked-token head.")
        self.module = module.eval()
        self.tokenizer = tokenizer
        self.options = options
        self.head = head
        self.device = next(module.parameters()).device
        self._num_blocks = layer_index(options.layer, module.config.num_layers)
        self._encoder = PackEncoder(
            module.model,
            precision=options.precision,
            max_tokens=self._max_tokens,
            compile_backend=options.compile_backend,
        )

    @property
    def _max_tokens(self) -> int:
        return max(self.options.max_tokens, self.module.config.seq_length)

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.module.config.hidden_size

    def new_gene_means(self) -> GeneMeans:
        """Nothing added up yet, for `embed`."""
        return GeneMeans(self.tokenizer.vocab_size, self.hidden_size, self.tokenizer.all_special_ids, self.device)

    def embed(
        self,
        cells: TokenizedCells,
        indices: NDArray[np.int64],
        *,
        gene_means: GeneMeans | None = None,
        on_cells: Callable[[int], object] | None = None,
    ) -> CellOutputs:
        """Embed cells.

        Args:
            cells: Tokenized cells, none without a gene.
            indices: [C] int64, which of them.
            gene_means: Where the genes of these cells are added up.
            on_cells: Called with the number of cells of each packed batch that is computed, such as a bar's update.

        Raises:
            DataError: A cell has no gene, or tokens of another vocabulary.
        """
        outputs = CellOutputs(
            {kind: np.empty((len(indices), self.hidden_size), dtype=np.float32) for kind in self.options.kinds}
        )
        ragged: dict[int, tuple[Any, Any, Any]] = {}
        head_outputs: list[NDArray[np.float32]] = []
        order: list[NDArray[np.int64]] = []
        for places, states in self._through_model(cells, indices):
            for kind, result in outputs.embeddings.items():
                pooled = pool_cells(
                    states.hidden_TH,
                    states.batch,
                    kind,  # type: ignore[arg-type]  # a key that came from `kinds`
                    special_ids=self.tokenizer.all_special_ids,
                    skip_last_gene=self.options.skip_last_gene,
                )
                result[places] = pooled.cpu().numpy()
            if gene_means is not None:
                gene_means.add(states.hidden_TH, states.batch)
            if self.head is not None:
                with self._encoder.no_gradients():
                    head_outputs.append(self.head.predict(states.batch).float().cpu().numpy())
                order.append(places)
            ragged.update(zip(places.tolist(), self._split(states), strict=True))
            if on_cells is not None:
                on_cells(len(places))
        if self.head is not None:
            outputs.predictions = self.head.to_columns(np.concatenate(head_outputs)[np.argsort(np.concatenate(order))])
        targets: tuple[list[Any], ...] = (outputs.input_ids, outputs.hidden_states, outputs.token_logits)
        for place in range(len(indices)):
            for target, part in zip(targets, ragged[place], strict=True):
                if part is not None:
                    target.append(part)
        return outputs

    def _through_model(
        self, cells: TokenizedCells, indices: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], _PackStates]]:
        """Packs through the model, each with the places of its cells among those asked for."""
        dataset = _CellsInOrder(
            cells,
            self.tokenizer,
            subset=np.asarray(indices, dtype=np.int64),
            max_seq_length=min(self.module.config.seq_length, max(cells.max_length, 1 + self._num_specials)),
            max_tokens=self._max_tokens,
            sequences_multiple=1,
        )
        loading = PackLoading(tokens_per_batch=dataset.max_tokens, seed=0, pin_memory=self.device.type == "cuda")
        for batch in build_pack_loader(dataset, loading, epochs=1, num_workers=self.options.num_workers):
            places = batch["sample_idx"][: batch["num_sequences"]].numpy()
            yield places, self._compute(self._encoder.place(batch, self.module.config.seq_length))

    @property
    def _num_specials(self) -> int:
        return self.tokenizer.variant.num_framing_tokens

    def _compute(self, pack: PlacedPack) -> _PackStates:
        states, logits = self._encoder.encode(pack, (self._num_blocks,), with_logits=self.options.include_logits)
        with torch.no_grad():
            return _PackStates(
                pack.batch, states[self._num_blocks].float(), None if logits is None else logits.float()
            )

    def _split(self, states: _PackStates) -> list[tuple[Any, Any, Any]]:
        """Tokens, hidden states and logits of each cell of a pack, None where not asked for."""
        bounds = states.batch["cu_seqlens"][1 : states.batch["num_sequences"]].tolist()
        options, size = self.options, states.batch["num_sequences"]
        wanted = (
            (options.include_input_ids, states.batch["input_ids"]),
            (options.include_hiddens, states.hidden_TH),
            (options.include_logits, states.logits_TV),
        )
        parts = [
            [part.cpu().numpy() for part in torch.tensor_split(values[: states.batch["num_tokens"]], bounds)]
            if is_wanted and values is not None
            else [None] * size
            for is_wanted, values in wanted
        ]
        return list(zip(*parts, strict=True))


class _CellsInOrder(PackedCellDataset):
    """Cells whose ``sample_idx`` is their place in the subset: cells may be asked for more than once."""

    def __getitem__(self, pack: Any) -> Any:
        batch = super().__getitem__(pack)
        batch["sample_idx"] = torch.from_numpy(np.asarray(pack.idxs, dtype=np.int64))
        return batch
