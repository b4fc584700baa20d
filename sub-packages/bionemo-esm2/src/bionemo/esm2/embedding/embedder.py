# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Proteins through a model, packed by length, to vectors in the order asked for.

Letters: P proteins, R residues of all of them, T tokens and B proteins of a packed batch, H hidden, V vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.esm2.data.tokenizer import MASK_ID, PAD_ID, with_specials
from bionemo.esm2.embedding.windows import windows_of
from bionemo.esm2.model.model import ESM2MaskedLM
from bionemo.esm2.variants.windows import window_start
from bionemo.llm.data.packing import build_packed_batch
from bionemo.llm.model.biobert.inference import CPU_TOKENS_PER_BATCH, PackEncoder, PlacedPack, check_precision
from bionemo.llm.model.host_copy import HostCopy, to_device


EmbeddingKind = Literal["mean", "cls", "max", "sum"]
_SHORTEST_BOUND = 1024  # of the sequence lengths of a pack on a GPU: the context that ESM-2 was trained with


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions:
    """What is computed of each protein.

    Attributes:
        kinds: Vectors of a whole protein; may be empty.
        layers: Hidden states of which `kinds` and `include_hiddens` speak: 0 is the embedding, L or -1 the last.
        max_tokens: Tokens of a packed batch; a longer protein has one of its own.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        compile_backend: Compile the layers, see :class:`bionemo.llm.model.biobert.inference.PackEncoder`.
        include_hiddens: Give a vector of each residue.
        include_logits: Give scores over the vocabulary at each residue.
        include_input_ids: Give the tokens.
        pseudo_perplexity: Mask every residue in turn.
        window: Tokens of a window for proteins of more, see `bionemo.esm2.embedding.windows`; None: all run whole.
        special_tokens: Give of each protein also what belongs to its two special tokens, around its residues.
    """

    kinds: tuple[EmbeddingKind, ...] = ()
    layers: tuple[int, ...] = (-1,)
    max_tokens: int = CPU_TOKENS_PER_BATCH
    precision: str = "32-true"
    compile_backend: str | None = None
    include_hiddens: bool = False
    include_logits: bool = False
    include_input_ids: bool = False
    pseudo_perplexity: bool = False
    window: int | None = None
    special_tokens: bool = False


@dataclass
class ProteinOutputs:
    """What was computed of P proteins, in the order in which they were given."""

    offsets: NDArray[np.int64]
    """[P + 1], where the residues (with `special_tokens` the tokens) of each protein begin in `residues`."""

    embeddings: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Name, such as ``mean`` or ``mean_layer_6``, to [P, H]."""

    residues: dict[str, NDArray[Any]] = field(default_factory=dict)
    """``hidden_states`` (or ``hidden_states_layer_6``) [R, H], ``token_logits`` [R, V], ``input_ids`` [R] uint8."""

    pseudo_perplexity: NDArray[np.float64] | None = None
    """[P], exp of the mean of -log p(residue | all others)."""


class ProteinEmbedder:
    """A model with what it needs to embed proteins.

    Args:
        module: The model, on the device where it shall run.
        options: What to compute.
        encoder: The same model, prepared for these options before.

    Raises:
        ConfigError: There is no such layer or precision, or the model has no head for logits.
    """

    def __init__(self, module: ESM2MaskedLM, options: EmbeddingOptions, encoder: PackEncoder | None = None):
        check_precision(options.precision)
        if module.model.lm_head is None and (options.include_logits or options.pseudo_perplexity):
            raise ConfigError("logits and pseudo-perplexity need a masked-token head, which this model lacks.")
        self.module = module.eval()
        self.options = options
        self.device = next(module.parameters()).device
        num_layers = module.config.num_layers
        for layer in options.layers:
            if not -num_layers - 1 <= layer <= num_layers:
                raise ConfigError(f"layer {layer}: expected 0 (the embedding) to {num_layers} (the last), or -1.")
        self.layers = tuple(dict.fromkeys(layer % (num_layers + 1) for layer in options.layers))
        self._encoder = encoder

    @property
    def encoder(self) -> PackEncoder:
        """The model as it runs; its layers are prepared at the first use."""
        if self._encoder is None:
            options = self.options
            self._encoder = PackEncoder(
                self.module.model,
                precision=options.precision,
                max_tokens=options.max_tokens,
                compile_backend=options.compile_backend,
            )
        return self._encoder

    def names(self, kind: str) -> dict[int, str]:
        """Names of what is computed of each layer: plain where there is one layer."""
        return {layer: kind if len(self.layers) == 1 else f"{kind}_layer_{layer}" for layer in self.layers}

    def embed(self, proteins: Sequence[bytes]) -> ProteinOutputs:
        """Embed proteins.

        Args:
            proteins: P times the token ids of a protein, one byte a residue, without special tokens, none empty.
        """
        lengths = np.fromiter(map(len, proteins), dtype=np.int64, count=len(proteins))
        outputs = self._empty_outputs(lengths)
        if self.options.include_input_ids:
            whole = map(with_specials, proteins) if self.options.special_tokens else proteins
            outputs.residues["input_ids"][:] = np.frombuffer(b"".join(whole), dtype=np.uint8)
        needs_states = bool(self.options.kinds) or self.options.include_hiddens or self.options.include_logits
        order = np.argsort(-lengths, kind="stable")
        window = self.options.window
        num_long = 0 if window is None else int((lengths + 2 > window).sum())  # the first ones of the order
        before: _PackResults | None = None
        for results in self._results(proteins, lengths, order, num_long) if needs_states else ():
            if before is not None:  # is copied to the host while the device computes the next
                self._fill(outputs, before)
            before = results
        if before is not None:
            self._fill(outputs, before)
        if self.options.pseudo_perplexity:
            outputs.pseudo_perplexity = self._pseudo_perplexity(proteins, lengths, order)
        return outputs

    def _results(
        self, proteins: Sequence[bytes], lengths: NDArray[np.int64], order: NDArray[np.int64], num_long: int
    ) -> "Iterator[_PackResults]":
        """Run the proteins in an order, the first ones in windows, the others packed."""
        for place in order[:num_long]:
            yield self._pooled(np.array([place]), lengths[[place]], *self._run_windows(_tokens_of(proteins[place])))
        rest = order[num_long:]
        for places in cut_packs(rest, lengths[rest] + 2, self.options.max_tokens):
            pack = self._pack(np.concatenate([_tokens_of(proteins[place]) for place in places]), lengths[places] + 2)
            yield self._pooled(places, lengths[places], *self._forward(pack))

    def _empty_outputs(self, lengths: NDArray[np.int64]) -> ProteinOutputs:
        offsets = np.concatenate([[0], np.cumsum(lengths + 2 * self.options.special_tokens)])
        hidden_size, num_residues = self.module.config.hidden_size, int(offsets[-1])
        outputs = ProteinOutputs(offsets)
        for kind in self.options.kinds:
            for name in self.names(kind).values():
                outputs.embeddings[name] = np.empty((len(lengths), hidden_size), dtype=np.float32)
        if self.options.include_hiddens:
            for name in self.names("hidden_states").values():
                outputs.residues[name] = np.empty((num_residues, hidden_size), dtype=np.float32)
        if self.options.include_logits:
            vocab_size = self.module.model.vocab_size
            outputs.residues["token_logits"] = np.empty((num_residues, vocab_size), dtype=np.float32)
        if self.options.include_input_ids:
            outputs.residues["input_ids"] = np.empty(num_residues, dtype=np.uint8)
        return outputs

    def _run_windows(self, tokens: NDArray[np.uint8]) -> tuple[dict[int, Tensor], Tensor | None]:
        """Hidden states and logits of a long protein, put together from its windows."""
        size = self.options.window
        assert size is not None
        windows = windows_of(len(tokens), size)
        states: dict[int, list[Tensor]] = {layer: [] for layer in self.layers}
        logits: list[Tensor] = []
        sizes = np.full(len(windows), size)
        for chosen in cut_packs(np.arange(len(windows)), sizes, self.options.max_tokens):
            starts = [windows[number].start for number in chosen]
            pack = self._pack(np.concatenate([tokens[start : start + size] for start in starts]), sizes[chosen])
            found, logits_TV = self._forward(pack)
            for place, number in enumerate(chosen):
                start, keep_start, keep_stop = windows[number]
                first = place * size - start
                rows = slice(first + keep_start, first + keep_stop)
                for layer, states_TH in found.items():
                    states[layer].append(states_TH[rows].clone())  # the next pack overwrites it
                if logits_TV is not None:
                    logits.append(logits_TV[rows].clone())
        return {layer: torch.cat(parts) for layer, parts in states.items()}, torch.cat(logits) if logits else None

    def _pooled(
        self,
        places: NDArray[np.int64],
        lengths: NDArray[np.int64],
        states: Mapping[int, Tensor],
        logits_TV: Tensor | None,
    ) -> "_PackResults":
        """Pool what was computed of a pack, and have what is wanted of it copied to the host."""
        num_tokens = int(lengths.sum()) + 2 * len(lengths)
        on_device = to_device(lengths, self.device)
        pooled: dict[str, Tensor] = {}
        residues: dict[str, Tensor] = {}
        with torch.no_grad():
            for layer, hidden_TH in states.items():
                hidden_TH = hidden_TH[:num_tokens].float()
                for kind, pooled_BH in pool_proteins(hidden_TH, on_device, self.options.kinds).items():
                    pooled[self.names(kind)[layer]] = pooled_BH
                if self.options.include_hiddens:
                    residues[self.names("hidden_states")[layer]] = hidden_TH
            if logits_TV is not None:
                residues["token_logits"] = logits_TV[:num_tokens].float()
        return _PackResults(places, lengths, HostCopy(pooled), HostCopy(residues))

    def _fill(self, outputs: ProteinOutputs, results: "_PackResults") -> None:
        """Put what a pack gave where its proteins stand."""
        for name, pooled_BH in results.pooled.arrays().items():
            outputs.embeddings[name][results.places] = pooled_BH
        for name, values_TX in results.residues.arrays().items():
            _scatter(outputs.residues[name], values_TX, outputs, results.places, results.lengths)

    def _forward(self, pack: PlacedPack) -> tuple[dict[int, Tensor], Tensor | None]:
        """Hidden states of the layers asked for and logits; blocks behind the last layer needed are not computed."""
        return self.encoder.encode(pack, self.layers, with_logits=self.options.include_logits)

    def _pseudo_perplexity(
        self, proteins: Sequence[bytes], lengths: NDArray[np.int64], order: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Mask each residue of each protein in turn: a copy of the protein for each, packed like proteins."""
        sums = np.zeros(len(proteins))
        owners = np.repeat(order, lengths[order])
        masked = np.concatenate([np.arange(1, length + 1) for length in lengths[order]])  # tokens of their proteins
        sizes_of_all = np.minimum(lengths[owners] + 2, self.options.window or np.iinfo(np.int64).max)
        for copies in cut_packs(np.arange(len(owners)), sizes_of_all, self.options.max_tokens):
            sizes = sizes_of_all[copies]
            tokens, rows = [], np.cumsum(sizes) - sizes
            for place, (owner, token, size) in enumerate(zip(owners[copies], masked[copies], sizes, strict=True)):
                whole = _tokens_of(proteins[owner])
                start = window_start(int(token), int(token), len(whole), int(size))
                tokens.append(whole[start : start + size])
                rows[place] += token - start
            packed = np.concatenate(tokens)
            targets = torch.from_numpy(packed[rows].astype(np.int64)).to(self.device)
            packed[rows] = MASK_ID
            pack = self._pack(packed, sizes)
            last = self.module.config.num_layers
            states, _ = self.encoder.encode(pack, (last,))
            with self.encoder.no_gradients():
                logits_MV = self.encoder.model.logits(states[last][to_device(rows, self.device)])
                scores = logits_MV.double().log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
            np.add.at(sums, owners[copies], scores.cpu().numpy())
        perplexity: NDArray[np.float64] = np.exp(-sums / lengths)
        return perplexity

    def _pack(self, tokens: NDArray[np.uint8], sizes: NDArray[np.int64]) -> PlacedPack:
        """Lay proteins into a pack on the device."""
        batch = build_packed_batch(
            tokens, sizes, np.arange(len(sizes)), max_tokens=len(tokens), pad_token_id=PAD_ID, sequences_multiple=1
        )
        return self.encoder.place(batch, max(_SHORTEST_BOUND, 1 << (batch["max_seqlen"] - 1).bit_length()))


class _PackResults(NamedTuple):
    """What was computed of the proteins of one pack, on its way to the host."""

    places: NDArray[np.int64]
    lengths: NDArray[np.int64]
    pooled: HostCopy
    residues: HostCopy


def pool_proteins(hidden_TH: Tensor, lengths: Tensor, kinds: Sequence[EmbeddingKind]) -> dict[EmbeddingKind, Tensor]:
    """Pool each protein of a packed batch over its residues; sums are formed in float64.

    Args:
        hidden_TH: Float32 hidden states of the proteins one after the other, each between its two special tokens.
        lengths: [B] int64, residues of each.
        kinds: ``mean``, ``max`` and ``sum`` over residues; ``cls``: the first token's vector.

    Returns:
        Kind to [B, H] float32.

    >>> states = torch.tensor([[9.0], [1.0], [3.0], [9.0]])
    >>> {kind: value.item() for kind, value in pool_proteins(states, torch.tensor([2]), ("mean", "cls")).items()}
    {'mean': 2.0, 'cls': 9.0}
    """
    ones = torch.ones_like(lengths)
    parts = torch.stack((ones, lengths, ones), dim=1).flatten()  # special token, residues, special token
    # "unsafe" leaves out checks of the lengths that wait for the device.
    pooled: dict[EmbeddingKind, Tensor] = {}
    for kind in kinds:
        if kind == "cls":
            pooled[kind] = hidden_TH[(lengths + 2).cumsum(0) - lengths - 2]
        elif kind == "max":
            pooled[kind] = torch.segment_reduce(hidden_TH, "max", lengths=parts, axis=0, unsafe=True)[1::3]
        else:
            sums = torch.segment_reduce(hidden_TH.double(), kind, lengths=parts, axis=0, unsafe=True)
            pooled[kind] = sums[1::3].float()
    return pooled


def _tokens_of(residues: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(with_specials(residues), dtype=np.uint8)


def cut_packs(order: NDArray[np.int64], sizes: NDArray[np.int64], max_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Cut an order into packs of at most `max_tokens`; what is larger stands alone."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        end = max(int(np.searchsorted(ends, before + max_tokens, side="right")), start + 1)
        yield order[start:end]
        start = end


def _scatter(
    target: NDArray[np.float32],
    values: NDArray[np.float32],
    outputs: ProteinOutputs,
    places: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> None:
    """Copy the residues of each protein of a pack to where the protein stands, or all its tokens if that has room."""
    starts = np.cumsum(lengths + 2) - lengths - 2
    for place, start, length in zip(places.tolist(), starts.tolist(), lengths.tolist(), strict=True):
        first, stop = outputs.offsets[place : place + 2].tolist()
        start += (length + 2 - (stop - first)) // 2  # 1 where special tokens are left out
        target[first:stop] = values[start : start + stop - first]
