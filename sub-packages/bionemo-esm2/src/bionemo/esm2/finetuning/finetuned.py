# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuned models for Python: train on sequences in memory, predict any others.

Letters: P proteins, S residues of a protein, C classes.
"""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bionemo.core.errors import DataError
from bionemo.core.files import write_text
from bionemo.esm2.data.fasta_records import encode_sequence
from bionemo.esm2.finetuning.config import FinetuneESM2Config
from bionemo.esm2.finetuning.head_config import HeadConfig
from bionemo.esm2.finetuning.head_layout import load_finetuned
from bionemo.esm2.finetuning.heads import ESM2WithHead
from bionemo.esm2.finetuning.predictor import HeadPredictor, TargetPrediction, decode
from bionemo.llm.model.biobert.inference import precision_on


class FinetunedESM2:
    """A fine-tuned ESM-2 that labels sequences.

    Args:
        module: The model, on the device where it shall run.
        run_dir: Folder of the run that trained it, or None.
        precision: "auto", "32-true", "bf16-mixed" or "16-mixed"; auto: bf16-mixed on a GPU, else 32-true.
    """

    def __init__(self, module: ESM2WithHead, *, run_dir: Path | None = None, precision: str = "auto") -> None:
        self.module = module.eval()
        self.run_dir = run_dir
        self.precision = precision_on(next(module.parameters()).device, precision)

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike[str], *, device: str = "auto", precision: str = "auto"
    ) -> "FinetunedESM2":
        """Load a model that ``finetune_esm2`` or transformers fine-tuned.

        Args:
            source: Folder of the run or of one checkpoint, or a name on the Hugging Face Hub.
            device: "cpu", "cuda", ...; "auto" takes a GPU where there is one.
            precision: "auto", "32-true", "bf16-mixed" or "16-mixed"; auto: bf16-mixed on a GPU, else 32-true.

        Raises:
            CheckpointError: There is no such model, or it has no head.

        Example:
            >>> FinetunedESM2.from_pretrained("results/esm2-finetune").predict(["MKT"])  # doctest: +SKIP
            array([1.52], dtype=float32)
        """
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(load_finetuned(source).to(device), run_dir=Path(source), precision=precision)

    @property
    def head(self) -> HeadConfig:
        """What is predicted."""
        return self.module.head_config

    @property
    def scores(self) -> dict[str, Any]:
        """Scores of the proteins that the run held out, as ``scores.json`` has them.

        Raises:
            DataError: The model comes from no run folder.
        """
        path = None if self.run_dir is None else self.run_dir / "scores.json"
        if path is None or not path.is_file():
            raise DataError("this model comes from no folder of finetune_esm2, which holds scores.")
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def predict(self, sequences: str | Sequence[str]) -> Any:
        """Predict the labels of sequences or of their residues.

        Args:
            sequences: One or P.

        Returns:
            Of sequences [P]: float32 values, class names, or tuples of them (multilabel). Of residues P times [S]
            float32 values or class names. With several targets a dictionary by column.

        Raises:
            DataError: A sequence is empty or holds a letter that ESM-2 does not know.
        """
        found = {p.target.column: self._named(p, lengths) for p, lengths in self._decoded(sequences)}
        return found if len(found) > 1 else next(iter(found.values()))

    def predict_proba(self, sequences: str | Sequence[str]) -> Any:
        """Return the probabilities of all classes: [P, C], of residues P times [S, C]; with several targets by column.

        Raises:
            DataError: As `predict`; or the model predicts values alone.
        """
        found = {}
        for prediction, lengths in self._decoded(sequences):
            if prediction.probabilities is not None:
                found[prediction.target.column] = self._by_protein(prediction.probabilities, lengths)
        if not found:
            raise DataError("this model predicts values, which have no probabilities. Use predict().")
        return found if len(self.head.targets) > 1 else next(iter(found.values()))

    def _decoded(self, sequences: str | Sequence[str]) -> list[tuple[TargetPrediction, list[int]]]:
        given = [sequences] if isinstance(sequences, str) else list(sequences)
        proteins = [encode_sequence(place, text) for place, text in enumerate(given)]
        outputs = HeadPredictor(self.module, precision=self.precision).outputs(proteins)
        return [(prediction, [len(protein) for protein in proteins]) for prediction in decode(outputs, self.head)]

    def _named(self, prediction: TargetPrediction, lengths: list[int]) -> Any:
        target, values, _ = prediction
        if target.kind == "multilabel":
            names = np.array(target.classes)
            return [tuple(names[row].tolist()) for row in values]
        if target.kind == "classification":
            values = np.array(target.classes)[values]
        return self._by_protein(values, lengths)

    def _by_protein(self, values: Any, lengths: list[int]) -> Any:
        return np.split(values, np.cumsum(lengths)[:-1]) if self.head.level == "residue" else values


def labeled_csv(sequences: Sequence[str], labels: Sequence[Any]) -> str:
    r"""Return sequences and labels as the CSV that ``finetune_esm2`` reads, columns ``sequence`` and ``labels``.

    Args:
        sequences: P.
        labels: For each a number, a class, a list (of residues' labels, or of classes: tuples), or None.

    Raises:
        DataError: There is another number of labels than of sequences.

    >>> labeled_csv(["MKT", "MKV"], [0.5, None])
    'sequence,labels\nMKT,0.5\nMKV,\n'
    """
    if len(sequences) != len(labels):
        raise DataError(
            f"{len(labels)} labels for {len(sequences)} sequences; each needs one, None where it has none."
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["sequence", "labels"])
    for sequence, label in zip(sequences, labels, strict=True):
        if isinstance(label, tuple):
            cell: Any = ";".join(label) or ";"
        elif isinstance(label, list | np.ndarray):
            cell = json.dumps([None if value is None else value for value in np.asarray(label, object).tolist()])
        else:
            cell = "" if label is None else label
        writer.writerow([sequence, cell])
    return text.getvalue()


def finetune_in_memory(
    source: str | os.PathLike[str], sequences: Sequence[str], labels: Sequence[Any], run_dir: Path, **settings: Any
) -> FinetunedESM2:
    """Fine-tune a model on sequences in memory; see `bionemo.esm2.esm2.ESM2.finetune`."""
    from bionemo.esm2.finetuning.finetune import finetune

    data = run_dir.parent / f"{run_dir.name}-labeled.csv"
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    write_text(data, labeled_csv(sequences, labels))
    config = FinetuneESM2Config(
        restore_from_checkpoint_path=Path(source),
        train_data_path=data,
        result_dir=run_dir.parent,
        experiment_name=run_dir.name,
        **settings,
    )
    return FinetunedESM2.from_pretrained(finetune(config))
