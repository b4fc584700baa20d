#!/usr/bin/env python3
# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0

"""List the BioNeMo 2 names that import from a source tree, one `module:name` a line.

The contract is a folder of one Markdown page per package (`core.md`, `llm.md`, ...) that names public objects as
inline code. A name is listed where a module below offers it: defines it, re-exports it or makes it on access.
`ci/tests/bionemo2_names.txt` was made by this script from the sources before release 3.0 moved modules:

    python ci/scripts/list_public_names.py CONTRACT_DIR TREE > ci/tests/bionemo2_names.txt
"""

import argparse
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType


WORD = re.compile(r"[A-Za-z]\w*")
# The modules of BioNeMo 2 whose paths users import. Others may move freely.
MODULES = {
    "core": """api data.api data.load data.multi_epoch_dataset data.permute data.resamplers data.resource
        data.size_aware_batching model.config utils.batching_utils utils.dtypes utils.random_utils
        utils.subprocess_utils""",
    "esm2": """api data.datamodule data.dataset data.tokenizer model.attention model.embedding model.lr_scheduler
        model.model scripts.train_esm2""",
    "example_model": "lightning lightning.lightning_basic lightning_basic",
    "fw": "dependency_graph",
    "geneformer": """api data.preprocess data.singlecell.datamodule data.singlecell.dataset data.singlecell.preprocess
        data.singlecell.utils model.config model.finetune_token_regressor model.model scripts.infer_geneformer
        scripts.train_geneformer tokenizer.gene_tokenizer tokenizer.label2id_tokenizer""",
    "llm": """api data.collate data.datamodule data.label2id_tokenizer data.masking data.types lightning
        model.biobert.config model.biobert.lightning model.biobert.model model.biobert.testing_utils
        model.biobert.transformer_specs model.config model.layers model.loss model.lr_scheduler utils.callbacks
        utils.datamodule_utils utils.iomixin_utils utils.logger_utils utils.remote utils.weight_utils""",
    "scdl": """api.single_cell_row_dataset data data.load index.row_feature_index io.single_cell_collection
        io.single_cell_memmap_dataset schema.header schema.headerutil schema.magic schema.version
        scripts.convert_h5ad_to_scdl util.async_worker_queue util.filecopyutil util.memmap_utils util.scdl_constants
        util.torch_dataloader_utils""",
    "testing": """assert_optimizer_grads_match callbacks data.esm2 data.fasta data.load data.resource harnesses.mode
        harnesses.stop_and_go lightning megatron_dataset_compatibility megatron_parallel_state_utils subprocess_utils
        tensorboard testing_callbacks torch utils""",
    "webdatamodule": "datamodule utils",
}


def words_in_code(page: Path) -> set[str]:
    """Return every identifier that stands in inline code of a page."""
    spans = re.findall(r"`([^`]+)`", page.read_text(encoding="utf-8"))
    return {word for span in spans for word in WORD.findall(span)}


def offers(module: ModuleType, name: str) -> bool:
    """Tell whether a module has a name of ours, and not merely something that it imported from elsewhere."""
    try:
        value = getattr(module, name)
    except Exception:  # noqa: BLE001 - a name made on access that cannot be made here is not offered here
        return False
    if isinstance(value, ModuleType):
        return False
    origin = getattr(value, "__module__", None)
    return name in getattr(module, "__all__", ()) or not isinstance(origin, str) or origin.startswith("bionemo.")


def names_of(package: str, words: set[str]) -> Iterator[str]:
    """Yield each public module of a package that imports, and `module:name` for the words that it offers."""
    for path in ("", *MODULES[package].split()):
        module_name = f"bionemo.{package}.{path}".rstrip(".")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            print(f"{module_name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        yield module_name
        yield from (f"{module_name}:{word}" for word in sorted(words) if offers(module, word))


def main(argv: list[str] | None = None) -> int:
    """Print the names of all packages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("contract", type=Path, help="Folder of the pages.")
    parser.add_argument("tree", type=Path, help="Checkout whose sources are imported.")
    args = parser.parse_args(argv)
    sys.path[:0] = [str(folder) for folder in sorted(args.tree.resolve().glob("sub-packages/*/src"))]
    for package in MODULES:
        print("\n".join(names_of(package, words_in_code(args.contract / f"{package}.md"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
