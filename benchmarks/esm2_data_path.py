# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Speed of the ESM-2 data path on one core: sequence store to packed, masked batches.

    python benchmarks/esm2_data_path.py [FASTA]

Takes the given FASTA, or the real UniRef90 sample beside the checkout, or generates proteins of natural lengths. The
sampler's plan is part of what is measured. The peer, in the same process, is the usual way: one sample at a time,
encoded from text, masked with a torch generator and padded into batches of 16. CPU seconds, median of five runs.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bionemo.core.data.size_aware_batching import TokenBudgetBatchSampler
from bionemo.esm2.data.packed_dataset import PackedProteinDataset, build_masking
from bionemo.esm2.data.sequence_store import SequenceStore
from bionemo.esm2.data.sequence_store_writer import build_store
from bionemo.esm2.data.tokenizer import get_tokenizer
from bionemo.llm.data.collate import bert_padding_collate_fn
from bionemo.llm.data.masking import BertMaskConfig, apply_bert_pretraining_mask
from bionemo.llm.data.types import BertSample


REQUIRED_TOKENS_PER_S = 6e6
MAX_SEQ_LENGTH = 1024
SEED = 42
NUM_RUNS = 5
REAL_FASTA = Path(__file__).resolve().parents[2] / "shared" / "data" / "uniref90_9k.fasta.gz"


def main() -> int:
    """Print tokens per second, without padding, of both ways; 1 where the packed one is below the requirement."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else REAL_FASTA
        path = path if path.exists() else generate_fasta(Path(folder) / "generated.fasta")
        start = time.process_time()
        store = build_store(path, Path(folder) / "store")
        num_tokens = len(store.tokens)
        print(f"{path.name}: {len(store)} sequences, {num_tokens} tokens, {torch.__version__=}, {np.__version__=}")
        print(f"FASTA to store: {num_tokens / (time.process_time() - start) / 1e6:.1f} M tokens/s")
        peer = tokens_per_s(lambda: padded_epoch(store))
        print(f"one sample at a time, padded: {peer / 1e6:.2f} M tokens/s")
        slowest = min(report(store, max_tokens, peer) for max_tokens in (4096, 32_768))
    print(f"required: {REQUIRED_TOKENS_PER_S / 1e6:.0f} M tokens/s")
    return 0 if slowest >= REQUIRED_TOKENS_PER_S else 1


def report(store: SequenceStore, max_tokens: int, peer: float) -> float:
    """Measure and print the packed path at a token budget."""
    speed = tokens_per_s(lambda: packed_epoch(store, max_tokens))
    print(f"packed, {max_tokens:6d} tokens: {speed / 1e6:.1f} M tokens/s, {speed / peer:.0f} times the padded way")
    return speed


def tokens_per_s(epoch: Callable[[], int]) -> float:
    """Tokens by CPU seconds of an epoch: median of the runs, after one to warm up."""
    epoch()
    speeds = []
    for _ in range(NUM_RUNS):
        start = time.process_time()
        num_tokens = epoch()
        speeds.append(num_tokens / (time.process_time() - start))
    return float(np.median(speeds))


def packed_epoch(store: SequenceStore, max_tokens: int) -> int:
    """Plan, gather, mask and pack an epoch; returns its tokens."""
    dataset = PackedProteinDataset(
        store, seed=SEED, max_seq_length=MAX_SEQ_LENGTH, max_tokens=max_tokens, masking=build_masking(seed=SEED)
    )
    sampler = TokenBudgetBatchSampler(
        dataset.token_lengths, max_tokens, num_samples=len(dataset), seed=SEED, num_epochs=1
    )
    return sum(dataset[pack]["num_tokens"] for pack in sampler)


def padded_epoch(store: SequenceStore, num_sequences: int = 1024, batch_size: int = 16) -> int:
    """Encode, mask and pad the first sequences in random order; returns their tokens."""
    tokenizer = get_tokenizer()
    config = BertMaskConfig(tokenizer=tokenizer, random_tokens=range(4, 31))
    order = np.random.default_rng(SEED).permutation(min(num_sequences, len(store))).tolist()
    num_tokens = 0
    for start in range(0, len(order), batch_size):
        samples = []
        for idx in order[start : start + batch_size]:
            ids = torch.tensor(tokenizer.encode(store.sequence(idx)))[:MAX_SEQ_LENGTH]
            text, labels, loss_mask = apply_bert_pretraining_mask(ids, SEED + idx, config)
            zeros = torch.zeros_like(text)
            samples.append(
                BertSample(
                    text=text,
                    types=zeros,
                    attention_mask=torch.ones_like(text),
                    labels=labels,
                    loss_mask=loss_mask,
                    is_random=zeros,
                )
            )
            num_tokens += len(text)
        bert_padding_collate_fn(samples, tokenizer.pad_token_id)
    return num_tokens


def generate_fasta(path: Path, num_sequences: int = 9000) -> Path:
    """Proteins with the length distribution of UniRef90: log-normal, median 277, mean 335."""
    rng = np.random.default_rng(SEED)
    lengths = np.clip(rng.lognormal(np.log(277), 0.62, num_sequences), 20, 5000).astype(int)
    residues = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", dtype=np.uint8)
    with path.open("wb") as file:
        for idx, length in enumerate(lengths.tolist()):
            file.write(b">generated_%d\n%s\n" % (idx, rng.choice(residues, length).tobytes()))
    return path


if __name__ == "__main__":
    sys.exit(main())
