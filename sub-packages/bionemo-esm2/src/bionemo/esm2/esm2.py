# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""ESM-2 for Python: load a model once, then embed and score any sequences.

Letters: P proteins, S residues of a protein, H hidden, V the 33 tokens.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from bionemo.core.errors import DataError
from bionemo.esm2.api import ESM2MaskedLM, load_esm2
from bionemo.esm2.contacts.predictor import ContactMethod, ContactPredictor
from bionemo.esm2.data.fasta_records import encode_sequence
from bionemo.esm2.embedding.embedder import EmbeddingKind, EmbeddingOptions, ProteinEmbedder, ProteinOutputs
from bionemo.esm2.variants.masked_copies import ForwardOptions, MaskedCopies
from bionemo.esm2.variants.scoring import MultiMutants, Protocol, ScoreOptions, VariantScorer, scan
from bionemo.esm2.variants.variant_file import TableRow
from bionemo.esm2.variants.variant_table import check_rows
from bionemo.esm2.variants.wild_types import decode_residues, join_chains
from bionemo.esm2.variants.windows import WINDOW_TOKENS
from bionemo.llm.checkpoints.model_source import ModelSource
from bionemo.llm.model.biobert.inference import (
    CPU_TOKENS_PER_BATCH,
    GPU_TOKENS_PER_BATCH,
    PackEncoder,
    choose_compiler,
    encoder_of,
    precision_on,
)


if TYPE_CHECKING:
    import pandas as pd

    from bionemo.esm2.finetuning.finetuned import FinetunedESM2
    from bionemo.esm2.finetuning.head_config import Level, TargetKind


class ESM2:
    """A model that reads sequences.

    Sequences are text such as ``"MKTAYIAK"``; their order is kept, their length not limited. Results are float32.

    Args:
        module: The model, on the device where it shall run.
        precision: "auto", "32-true", "bf16-mixed" or "16-mixed"; auto: bf16-mixed on a GPU, else 32-true.
        compile: Compile the layers of a copy of the model; None: on a GPU, at the first call that repays it.
        source: Where it came from, for fine-tuning; None: its weights are written beside the run.

    >>> from bionemo.esm2 import build_esm2, esm2_config
    >>> model = ESM2(build_esm2(esm2_config("8M", num_layers=1)))  # random weights
    >>> model.embed(["MKTAYIAK", "GSH"]).shape
    (2, 320)
    """

    def __init__(
        self,
        module: ESM2MaskedLM,
        *,
        precision: str = "auto",
        compile: bool | None = None,
        source: ModelSource | None = None,
    ) -> None:
        self.module = module.eval()
        self.precision = precision_on(next(module.parameters()).device, precision)
        self.compile = compile
        self.source = source
        self._encoders: dict[str | None, PackEncoder] = {}

    @classmethod
    def from_pretrained(
        cls, source: ModelSource, *, device: str = "auto", precision: str = "auto", compile: bool | None = None
    ) -> "ESM2":
        """Load a model by name or from any form of checkpoint, see `bionemo.esm2.load_esm2`.

        Args:
            source: For example ``"facebook/esm2_t33_650M_UR50D"`` or a folder.
            device: "cpu", "cuda", "cuda:1", ...; "auto" takes a GPU where there is one.
            precision: "auto", "32-true", "bf16-mixed" or "16-mixed"; auto: bf16-mixed on a GPU, else 32-true.
            compile: Compile the layers; None: on a GPU, at the first call that repays it.

        Raises:
            CheckpointError: There is no such model, or it is damaged or of another kind.

        Example:
            >>> ESM2.from_pretrained("facebook/esm2_t6_8M_UR50D").embed(["MKTAYIAK"]).shape  # doctest: +SKIP
            (1, 320)
        """
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(load_esm2(source).to(device), precision=precision, compile=compile, source=source)

    @overload
    def embed(
        self, sequences: Mapping[str, str], *, kind: EmbeddingKind = "mean", layer: int = -1
    ) -> "pd.DataFrame": ...

    @overload
    def embed(
        self, sequences: str | Sequence[str], *, kind: EmbeddingKind = "mean", layer: int = -1
    ) -> NDArray[np.float32]: ...

    def embed(
        self, sequences: str | Sequence[str] | Mapping[str, str], *, kind: EmbeddingKind = "mean", layer: int = -1
    ) -> "NDArray[np.float32] | pd.DataFrame":
        """Embed whole proteins.

        Args:
            sequences: One, several, or id to sequence.
            kind: ``mean``, ``max`` or ``sum`` over residues without special tokens; ``cls``: the first token's vector.
            layer: 0 is the embedding, -1 the last layer after the final LayerNorm.

        Returns:
            [P, H]; of ids a DataFrame with a row for each id.

        Raises:
            DataError: A sequence is empty or holds a letter that ESM-2 does not know.
            ConfigError: There is no such layer.
        """
        values = self._run(sequences, EmbeddingOptions(kinds=(kind,), layers=(layer,))).embeddings[kind]
        if not isinstance(sequences, Mapping):
            return values
        import pandas as pd

        return pd.DataFrame(values, index=pd.Index(list(sequences), name="id"))

    def embed_residues(self, sequences: str | Sequence[str], *, layer: int = -1) -> list[NDArray[np.float32]]:
        """Embed each residue: P times [S, H], without special tokens.

        Raises:
            DataError, ConfigError: As `embed`.

        >>> from bionemo.esm2 import build_esm2, esm2_config
        >>> [x.shape for x in ESM2(build_esm2(esm2_config("8M", num_layers=1))).embed_residues(["MKT", "G"])]
        [(3, 320), (1, 320)]
        """
        outputs = self._run(sequences, EmbeddingOptions(include_hiddens=True, layers=(layer,)))
        return np.split(outputs.residues["hidden_states"], outputs.offsets[1:-1])

    def logits(self, sequences: str | Sequence[str]) -> list[NDArray[np.float32]]:
        """Score all tokens at each residue, nothing masked: P times [S, V], without special tokens.

        Raises:
            DataError: As `embed`.
            ConfigError: The model has no masked-token head.

        >>> from bionemo.esm2 import build_esm2, esm2_config
        >>> ESM2(build_esm2(esm2_config("8M", num_layers=1))).logits("MKT")[0].shape
        (3, 33)
        """
        outputs = self._run(sequences, EmbeddingOptions(include_logits=True))
        return np.split(outputs.residues["token_logits"], outputs.offsets[1:-1])

    def pseudo_perplexity(self, sequences: str | Sequence[str]) -> NDArray[np.float64]:
        """Mask every residue in turn: [P], exp of the mean of -log p(residue | all others), over the 33 tokens.

        Raises:
            DataError, ConfigError: As `logits`.

        >>> from bionemo.esm2 import build_esm2, esm2_config
        >>> ESM2(build_esm2(esm2_config("8M", num_layers=1))).pseudo_perplexity("MKT").shape
        (1,)
        """
        found = self._run(sequences, EmbeddingOptions(pseudo_perplexity=True)).pseudo_perplexity
        assert found is not None
        return found

    def score_variants(
        self,
        wild_type: str | Sequence[str],
        variants: Sequence[str] | None = None,
        *,
        chains: Sequence[str] | None = None,
        protocol: Protocol = "masked-marginal",
        multi_mutants: MultiMutants = "additive",
        offset: int | None = None,
        window: int = WINDOW_TOKENS,
        linker_length: int = 25,
    ) -> "pd.DataFrame":
        """Score variants of one protein; a higher score is a fitter protein.

        Args:
            wild_type: Sequence, or the sequences of the chains A, B, ... of a complex.
            variants: ``P20L``, ``A1G:C3D``, ``p.Pro20Leu``, ``p.Lys23_Leu24insArg``, ...; None: all single
                substitutions by the 20 standard residues.
            chains: Of a complex the chain of each variant, as ``"A"``, or ``"A:B"`` for a chain of each edit.
            protocol: See `bionemo.esm2.variants.scoring`.
            multi_mutants: Masked marginals of several substitutions: ``additive`` or ``joint``.
            offset: Added to positions to count from 1; None: inferred from the wild-type letters.
            window: Tokens of a window over longer proteins; 0: whole proteins.
            linker_length: Glycines between two chains.

        Returns:
            A row for each variant, in their order: ``chain`` (of a complex), ``mutant``, ``protocol``, ``score``.

        Raises:
            DataError: A variant is no variant, or does not fit the wild type; the message has its number, from 0.
            ConfigError: The model has no masked-token head, or protocol and multi-mutants contradict each other.

        Example:
            >>> from bionemo.esm2 import build_esm2, esm2_config
            >>> model = ESM2(build_esm2(esm2_config("8M", num_layers=1)))  # random weights
            >>> model.score_variants("MKTAYIAK", ["K2R", "T3A:Y5F"])["mutant"].tolist()
            ['K2R', 'T3A:Y5F']
        """
        import pandas as pd

        options = ScoreOptions(protocol=protocol, multi_mutants=multi_mutants)
        sequences = [wild_type] if isinstance(wild_type, str) else list(wild_type)
        names = [chr(ord("A") + number) for number in range(len(sequences))]
        encoded = {name: encode_sequence(name, sequence) for name, sequence in zip(names, sequences, strict=True)}
        protein = join_chains(
            {name: decode_residues(found) for name, found in encoded.items()}, ":".join(names), linker_length
        )
        if variants is None:
            rows = scan(protein, offset=offset or 0)
        else:
            of_each = [None] * len(variants) if chains is None else list(chains)
            if len(of_each) != len(variants):
                raise DataError(f"chains has {len(of_each)} entries, variants has {len(variants)}. Give one for each.")
            table = [TableRow(row, text, None, of_each[row], None) for row, text in enumerate(variants)]
            rows, _ = check_rows(table, {protein.id: protein}, offset=offset, on_bad_row="error", source="variants")
        scorer = VariantScorer(rows, options)
        copies = MaskedCopies(self.module, ForwardOptions(window=window, precision=self.precision))
        scored = list(scorer.scores(copies.answer(scorer.questions)))
        columns = {
            "chain": [each.variant.chain for each in scored],
            "mutant": [each.variant.text for each in scored],
            "protocol": [each.protocol for each in scored],
            "score": np.array([each.score for each in scored]),
        }
        return pd.DataFrame(columns).drop(columns=[] if len(names) > 1 else ["chain"])

    def predict_contacts(self, sequence: str, *, method: ContactMethod = "auto") -> NDArray[np.float32]:
        """Predict contacts between the residues of a protein.

        Args:
            sequence: S residues.
            method: ``attention``: probabilities by the model's regression over attention maps; ``jacobian``: couplings
                by the categorical Jacobian, without a scale; ``auto``: the first if the model has a trained contact
                head.

        Returns:
            [S, S], symmetric.

        Raises:
            DataError: As `embed`.
            ConfigError: The model lacks the head that the method needs.

        Example:
            >>> from bionemo.esm2 import build_esm2, esm2_config
            >>> ESM2(build_esm2(esm2_config("8M", num_layers=1))).predict_contacts("MKTAYIAK").shape
            (8, 8)
        """
        return ContactPredictor(self.module, method, precision=self.precision).predict(encode_sequence("", sequence))

    def finetune(
        self,
        sequences: Sequence[str],
        labels: Sequence[Any],
        *,
        run_dir: str | os.PathLike[str],
        task_type: "TargetKind" = "regression",
        level: "Level" = "sequence",
        **settings: Any,
    ) -> "FinetunedESM2":
        """Fine-tune on labeled sequences and leave a run folder, as ``finetune_esm2`` does.

        Args:
            sequences: P.
            labels: For each a number, a class, or a tuple of classes; of residues a list of them or a text with a
                character for each. None: not labeled.
            run_dir: Folder of the run; must not exist.
            task_type: "regression", "classification" or "multilabel".
            level: Whether a whole "sequence" or each "residue" is labeled.
            settings: Fields of `FinetuneESM2Config`, for example ``encoder_frozen=True`` or ``split="cluster"``.

        Returns:
            The model, with ``predict`` and the ``scores`` of the sequences that were held out.

        Raises:
            DataError: A sequence or a label is bad; the message says which.
            ConfigError: Settings contradict each other, or the folder holds a run.

        >>> import tempfile
        >>> from bionemo.esm2 import build_esm2, esm2_config
        >>> model = ESM2(build_esm2(esm2_config("8M", num_layers=1)))  # random weights
        >>> sequences = ["MKTA", "MKKK", "AAKT", "KKKV", "MAAA"] * 4
        >>> labels = [sequence.count("K") for sequence in sequences]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tuned = model.finetune(sequences, labels, run_dir=folder + "/run", num_epochs=1, encoder_frozen=True)
        >>> tuned.predict(["MKKA", "AAAA"]).shape
        (2,)
        """
        from bionemo.esm2.api import save_esm2
        from bionemo.esm2.finetuning.finetuned import finetune_in_memory

        run = Path(run_dir)
        source = self.source
        if source is None:
            source = run.parent / f"{run.name}-pretrained"
            save_esm2(self.module, source)
        return finetune_in_memory(source, sequences, labels, run, task_type=task_type, level=level, **settings)

    def _run(self, sequences: str | Sequence[str] | Mapping[str, str], options: EmbeddingOptions) -> ProteinOutputs:
        if isinstance(sequences, str):
            sequences = [sequences]
        named = sequences.items() if isinstance(sequences, Mapping) else enumerate(sequences)
        proteins = [encode_sequence(name, sequence) for name, sequence in named]
        device = next(self.module.parameters()).device
        max_tokens = GPU_TOKENS_PER_BATCH if device.type == "cuda" else CPU_TOKENS_PER_BATCH
        backend = choose_compiler(
            self.compile,
            device=device.type,
            precision=self.precision,
            num_tokens=sum((len(x) + 2) * (len(x) if options.pseudo_perplexity else 1) for x in proteins),
            max_tokens=max_tokens,
        )
        if backend not in self._encoders:
            self._encoders[backend] = encoder_of(
                self.module.model, precision=self.precision, max_tokens=max_tokens, compile_backend=backend
            )
        options = replace(options, max_tokens=max_tokens, precision=self.precision)
        return ProteinEmbedder(self.module, options, self._encoders[backend]).embed(proteins)
