# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Runs packed batches through a model that is asked, not trained: static shapes, compiled layers, CUDA graphs.

Letters: T tokens of a packed batch, B slots for sequences, H hidden, V vocabulary.
"""

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bionemo.core.errors import ConfigError
from bionemo.llm.data.collate import MLM_LOSS_IGNORE_INDEX
from bionemo.llm.data.packing import SLOTS_MULTIPLE, cover_tail
from bionemo.llm.model.biobert.hidden_states import hidden_states_of
from bionemo.llm.model.biobert.model import MegatronBioBertModel
from bionemo.llm.model.compiled import GRAPHS_MAX_HIDDEN_SIZE, compile_layers, kernel_cache_dir
from bionemo.llm.model.half_precision import cast_for_good


logger = logging.getLogger(__name__)

AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Precision to the dtype that autocast computes in."""
CPU_TOKENS_PER_BATCH, GPU_TOKENS_PER_BATCH = 4096, 32_768
MIN_PACKS_TO_COMPILE = 1000
TOKENS_MULTIPLE = 4096
"""Packs on a GPU are rounded up to this: an attention kernel prepares itself once for each shape."""
SLOTS_OF_ONE_SHAPE = 128
"""Up to here the slots of a pack are rounded up by `SLOTS_MULTIPLE`, beyond it by a quarter to a half of them."""


def choose_compiler(
    asked: bool | None, *, device: str, precision: str, num_tokens: int, max_tokens: int
) -> str | None:
    """Decide whether a model is compiled before it embeds, as the flag says or where that repays, and log it.

    Args:
        asked: ``--compile``; None leaves it to the amount of work.
        device: Kind of device, named as torch or as a trainer does.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        num_tokens: Tokens of the whole run, about.
        max_tokens: Tokens of a packed batch.

    Returns:
        Backend of ``torch.compile``; None: uncompiled.

    Raises:
        ConfigError: Compilation is asked for on a CPU.
    """
    if device not in ("cuda", "gpu"):
        if asked:
            raise ConfigError("--compile: works on a GPU only. Leave it out on a CPU.")
        return None
    num_packs = num_tokens // max_tokens
    if asked is None and (precision != "bf16-mixed" or num_packs < MIN_PACKS_TO_COMPILE):
        logger.info(
            "Not compiling: from %d packed batches of %d tokens in bf16-mixed on it repays, this run has about %d in "
            "%s; --compile compiles anyway",
            MIN_PACKS_TO_COMPILE, max_tokens, num_packs, precision,
        )  # fmt: skip
        return None
    if asked is False:
        return None
    logger.info(
        "Compiling the encoder layers at the first packed batch: about 15 s on an H200, less where an earlier run "
        "left its kernels in %s; --no-compile starts at once",
        kernel_cache_dir(),
    )
    return "inductor"


def precision_on(device: torch.device, precision: str) -> str:
    """Return what "auto" means on a device; any other precision as it is."""
    if precision != "auto":
        return precision
    return "bf16-mixed" if device.type == "cuda" else "32-true"


def check_precision(precision: str) -> None:
    """Refuse what is no precision.

    Raises:
        ConfigError: The message names all that there are.
    """
    if precision not in AUTOCAST:
        raise ConfigError(f"precision {precision}: not one of {', '.join(AUTOCAST)}.")


@contextlib.contextmanager
def inference(device: torch.device, precision: str) -> Iterator[None]:
    """Compute without gradients and in a precision: "32-true", "bf16-mixed" or "16-mixed"."""
    dtype = AUTOCAST[precision]
    with torch.inference_mode(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
        yield


class PlacedPack(NamedTuple):
    """A packed batch on a model's device.

    Attributes:
        batch: The ``PackedBatch``; its tail may be longer or shorter than it was.
        cu_seqlens: [B + 1] int32, as the model gets it: with static shapes the tail is divided into sequences too.
        max_seqlen: Length that no sequence exceeds.
        num_tokens: Tokens that belong to the sequences of ``cu_seqlens``.
    """

    batch: dict[str, Any]
    cu_seqlens: Tensor
    max_seqlen: int
    num_tokens: int


class PackEncoder:
    """A model as a function from packed batches to hidden states and logits.

    Args:
        model: In evaluation mode, on the device where it shall run.
        precision: "32-true", "bf16-mixed" or "16-mixed": computed by autocast.
        max_tokens: Tokens of a packed batch; larger ones may come.
        compile_backend: Compile each layer with this backend of ``torch.compile`` and, in bf16-mixed, cast the model's
            weights to bfloat16 for good, which is faster than autocast. Small models are replayed as CUDA graphs.

    Raises:
        ConfigError: There is no such precision.

    Attributes:
        model: The model.
        device: Where it runs.
    """

    def __init__(
        self, model: MegatronBioBertModel, *, precision: str, max_tokens: int, compile_backend: str | None = None
    ) -> None:
        check_precision(precision)
        self.model = model
        self.device = next(model.parameters()).device
        self.max_tokens = max_tokens
        self.is_compiled = compile_backend is not None
        self._dtype = AUTOCAST[precision]
        if compile_backend is not None:
            compile_layers(model.encoder.layers, backend=compile_backend)
            if self._dtype == torch.bfloat16:
                cast_for_good(model, self._dtype)
                self._dtype = None
        is_gpu = self.device.type == "cuda"
        self.has_static_shapes = is_gpu or self.is_compiled
        self._replays = is_gpu and self.is_compiled and model.bert_config.hidden_size <= GRAPHS_MAX_HIDDEN_SIZE
        self._graphs: dict[Any, _Graph] = {}

    @contextlib.contextmanager
    def no_gradients(self) -> Iterator[None]:
        """Run the model by hand in this block: without gradients, in the right precision."""
        with torch.no_grad(), torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype is not None):
            yield

    def place(self, batch: Mapping[str, Any], max_seqlen: int) -> PlacedPack:
        """Bring a pack to the device, with few shapes on a GPU and without a tail on a CPU.

        Args:
            batch: A ``PackedBatch`` on the CPU.
            max_seqlen: Length that no sequence exceeds, the same for many packs.
        """
        num_tokens = batch["num_tokens"]
        placed = {name: self._moved(value) for name, value in self._resized(batch).items()}
        if not self.has_static_shapes:
            return PlacedPack(placed, placed["cu_seqlens"], batch["max_seqlen"], num_tokens)
        size = len(placed["input_ids"])
        slots = batch["num_sequences"] + -(-(size - num_tokens) // max_seqlen)
        multiple = SLOTS_MULTIPLE
        while self.is_compiled and slots > SLOTS_OF_ONE_SHAPE // SLOTS_MULTIPLE * multiple:
            multiple *= 2
        cu_seqlens = cover_tail(batch["cu_seqlens"], batch["num_sequences"], size, max_seqlen, multiple)
        return PlacedPack(placed, self._moved(cu_seqlens), max_seqlen, size)

    def encode(
        self, pack: PlacedPack, blocks: Sequence[int], *, with_logits: bool = False
    ) -> tuple[dict[int, Tensor], Tensor | None]:
        """Compute hidden states, and logits if asked for; blocks behind those needed are not computed.

        The next call may overwrite what this one returns: work on the device that reads it must be issued before.

        Args:
            pack: From :meth:`place`.
            blocks: Numbers of blocks, 0 (the embedding) to L (the last block and the final LayerNorm).
            with_logits: Also score the vocabulary at each token.

        Returns:
            Number of blocks to [T, H], and [T, V] or None.
        """
        inputs = (pack.batch["input_ids"], pack.batch["position_ids"], pack.cu_seqlens)
        compute = partial(
            self._compute,
            max_seqlen=pack.max_seqlen,
            num_tokens=pack.num_tokens,
            blocks=tuple(blocks),
            with_logits=with_logits,
        )
        with self.no_gradients():
            if not self._replays:
                return compute(*inputs)
            key = (tuple(len(x) for x in inputs), pack.max_seqlen, tuple(blocks), with_logits)
            if key not in self._graphs:
                self._graphs[key] = _Graph(compute, inputs)
            found: tuple[dict[int, Tensor], Tensor | None] = self._graphs[key](inputs)
            return found

    def _compute(
        self, *inputs: Tensor, max_seqlen: int, num_tokens: int, blocks: tuple[int, ...], with_logits: bool
    ) -> tuple[dict[int, Tensor], Tensor | None]:
        last = len(self.model.encoder.layers)
        needed = {*blocks, last} if with_logits else set(blocks)
        input_ids, position_ids, cu_seqlens = inputs
        states = hidden_states_of(
            self.model, input_ids, position_ids, cu_seqlens, max_seqlen, num_tokens=num_tokens, blocks=needed
        )
        return states, self.model.logits(states[last]) if with_logits else None

    def _resized(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        num_tokens = batch["num_tokens"]
        if not self.has_static_shapes:
            size = num_tokens
        elif self.is_compiled and num_tokens <= self.max_tokens:
            size = self.max_tokens
        else:
            size = max(-(-num_tokens // TOKENS_MULTIPLE), 1) * TOKENS_MULTIPLE
        fills = {"input_ids": self.model.pad_token_id, "labels": MLM_LOSS_IGNORE_INDEX, "position_ids": 0}
        resized = {
            name: F.pad(batch[name], (0, size - len(batch[name])), value=fill)  # a negative padding cuts
            for name, fill in fills.items()
            if name in batch and len(batch[name]) != size
        }
        return {**batch, **resized}

    def _moved(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.device == self.device:
            return value
        return value.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else value


def encoder_of(
    model: MegatronBioBertModel, *, precision: str, max_tokens: int, compile_backend: str | None
) -> PackEncoder:
    """Build a :class:`PackEncoder` that leaves the model as it is: a copy of it is compiled and cast.

    >>> from bionemo.esm2 import build_esm2, esm2_config
    >>> model = build_esm2(esm2_config("8M", num_layers=1)).eval().model
    >>> encoder_of(model, precision="32-true", max_tokens=4096, compile_backend=None).model is model
    True
    """
    if compile_backend is not None:
        model = copy.deepcopy(model)
    return PackEncoder(model, precision=precision, max_tokens=max_tokens, compile_backend=compile_backend)


class _Graph:
    """A function of tensors of fixed shapes, captured as a CUDA graph; a call overwrites the results of the last."""

    def __init__(self, function: Callable[..., Any], inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(x.clone() for x in inputs)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # what is compiled or prepared at a first call is not captured
            for _ in range(2):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._results = function(*self._inputs)

    def __call__(self, inputs: tuple[Tensor, ...]) -> Any:
        for target, value in zip(self._inputs, inputs, strict=True):
            target.copy_(value, non_blocking=True)
        self._graph.replay()
        return self._results
