# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Geneformer for AnnData: load a model once, then embed and perturb the cells of any object."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bionemo.core.config import from_mapping
from bionemo.core.errors import ConfigError
from bionemo.geneformer.api import GeneformerMaskedLM, load_geneformer
from bionemo.geneformer.data.dictionaries import Dictionaries
from bionemo.geneformer.model.dictionary_files import read_model_dictionaries


if TYPE_CHECKING:
    import anndata
    import pandas as pd


class _DictionaryPaths(NamedTuple):
    token_dictionary: Path | None
    gene_medians: Path | None
    gene_names: Path | None
    gene_mapping: Path | None


class Geneformer:
    """A model with its dictionaries.

    Args:
        module: The model, on the device where it shall run.
        dictionaries: Its vocabulary, and medians to rank counts; default: those that it was loaded with.

    Raises:
        ConfigError: There is no vocabulary.
    """

    def __init__(self, module: GeneformerMaskedLM, dictionaries: Dictionaries | None = None) -> None:
        dictionaries = dictionaries or module.dictionaries
        if dictionaries is None:
            raise ConfigError("Geneformer: the model was loaded without a vocabulary; give its dictionaries.")
        self.module = module.eval()
        self.dictionaries = dictionaries

    @classmethod
    def from_pretrained(
        cls,
        directory: str | os.PathLike[str],
        *,
        token_dictionary: str | os.PathLike[str] | None = None,
        gene_medians: str | os.PathLike[str] | None = None,
        gene_names: str | os.PathLike[str] | None = None,
        gene_mapping: str | os.PathLike[str] | None = None,
        device: str = "auto",
    ) -> "Geneformer":
        """Load a model by name or from disk, with its dictionaries.

        Args:
            directory: Folder of a model, ours or a published V1 or V2, or a name on the Hugging Face Hub, for example
                ``"ctheodoris/Geneformer:Geneformer-V2-104M"``.
            token_dictionary: Gene to token id, JSON; default: that of the folder or repository.
            gene_medians: Gene to median, JSON; default: that of the folder or repository.
            gene_names: Symbol to Ensembl id, JSON.
            gene_mapping: Identifier in the data to symbol or Ensembl id, JSON.
            device: "cpu", "cuda", "cuda:1", ...; "auto" takes a GPU where there is one.

        Raises:
            CheckpointError: The folder is no Geneformer, or the vocabulary is not that of the model.
            ConfigError: There is no vocabulary.
        """
        import torch

        module = load_geneformer(directory)
        files = (token_dictionary, gene_medians, gene_names, gene_mapping)
        paths = _DictionaryPaths(*(None if file is None else Path(file) for file in files))
        dictionaries = read_model_dictionaries(paths, module.dictionaries, module.config, Path(directory))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(module.to(device), dictionaries)

    def embed(
        self,
        adata: "anndata.AnnData",
        key_added: str = "X_geneformer",
        *,
        embedding: Literal["cls", "cell"] | None = None,
        layer: int = -1,
        counts_layer: str | None = None,
        feature_type: str | None = None,
        gene_column: str | None = None,
        empty_cells: Literal["error", "nan"] = "error",
        allow_fractional_counts: bool = False,
        min_coverage: float = 0.3,
        precision: str = "auto",
        compile: bool | None = None,
    ) -> None:
        """Embed every cell, into ``adata.obsm[key_added]``: [cells, hidden size] float32.

        Args:
            adata: Raw counts, cells by genes.
            key_added: Key of ``obsm``.
            embedding: ``cls``: the first token's vector; ``cell``: the mean over genes; None: cell for V1, else cls.
            layer: 0 is the last, -1 the one before.
            counts_layer: Key of ``layers``, ``"X"`` or ``"raw.X"``; None: the first of ``raw.X``, ``X`` and the layer
                ``counts`` that holds counts.
            feature_type: Value of ``var["feature_types"]`` in multimodal data; None: gene expression.
            gene_column: Column of ``var`` that names genes; None: the one with most known genes.
            empty_cells: Whether a cell without known genes is an error, or gets NaN.
            allow_fractional_counts: Whether counts may be fractional.
            min_coverage: Share of the counts that known genes must hold.
            precision: "auto", "32-true", "bf16-mixed" or "16-mixed"; auto: bf16-mixed on a GPU, else 32-true.
            compile: Compile the layers of a copy of the model; None: on a GPU, where that repays.

        Raises:
            ConfigError: There are no medians, no such layer or embedding.
            DataError: The counts cannot be ranked; ``adata`` is then as before.
        """
        from bionemo.geneformer.embedding.in_memory import embed_anndata

        adata.obsm[key_added] = embed_anndata(
            self.module,
            self.dictionaries,
            adata,
            embedding=embedding,
            layer=layer,
            counts_layer=counts_layer,
            feature_type=feature_type,
            gene_column=gene_column,
            empty_cells=empty_cells,
            allow_fractional_counts=allow_fractional_counts,
            min_coverage=min_coverage,
            precision=precision,
            compile=compile,
        )

    def perturb(
        self,
        adata: "anndata.AnnData",
        genes: str | Sequence[str] | None = None,
        *,
        counts_layer: str | None = None,
        feature_type: str | None = None,
        gene_column: str | None = None,
        allow_fractional_counts: bool = False,
        min_coverage: float = 0.3,
        precision: str = "auto",
        compile: bool | None = None,
        **settings: Any,
    ) -> "pd.DataFrame":
        """Perturb genes and see how far each cell's embedding moves.

        Args:
            adata: Raw counts, cells by genes; it is not changed.
            genes: An Ensembl id or symbol, or several, perturbed together; None perturbs every gene of a cell, one
                at a time.
            counts_layer: Key of ``layers``, ``"X"`` or ``"raw.X"``; None: the first of ``raw.X``, ``X`` and the layer
                ``counts`` that holds counts.
            feature_type: Value of ``var["feature_types"]`` in multimodal data; None: gene expression.
            gene_column: Column of ``var`` that names genes; None: the one with most known genes.
            allow_fractional_counts: Whether counts may be fractional.
            min_coverage: Share of the counts that known genes must hold.
            precision: "auto", "32-true", "bf16-mixed" or "16-mixed"; auto: bf16-mixed on a GPU, else 32-true.
            compile: Compile the layers of a copy of the model; None: on a GPU, where that repays.
            settings: Fields of `PerturbationSettings`, for example ``perturb_type="overexpress"`` or ``state_key``,
                ``start_state`` and ``goal_state``.

        Returns:
            A row for each edit of each cell: ``cell_id``, ``gene``, ``gene_name``, ``token``, ``perturb_type``,
            ``rank_shift`` and ``cosine``, or with states ``shift_to_start``, ``shift_to_goal``, ``shift_to_alt_NAME``.

        Raises:
            ConfigError: A setting is unknown, or two contradict each other.
            DataError: The counts cannot be ranked, or a gene, column or state is not there.
        """
        from bionemo.geneformer.perturbation.in_memory import perturb_anndata
        from bionemo.geneformer.perturbation.settings import PerturbationSettings

        if genes is not None:
            settings["genes"] = [genes] if isinstance(genes, str) else list(genes)
        return perturb_anndata(
            self.module.model,
            self.dictionaries,
            adata,
            from_mapping(PerturbationSettings, settings, source="perturb"),
            counts_layer=counts_layer,
            feature_type=feature_type,
            gene_column=gene_column,
            allow_fractional_counts=allow_fractional_counts,
            min_coverage=min_coverage,
            precision=precision,
            compile=compile,
        )
