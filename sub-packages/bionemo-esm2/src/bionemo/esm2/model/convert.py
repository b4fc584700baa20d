# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""BioNeMo 2 compatible names for conversion; ``convert_esm2`` does the same for every form.

Nothing here needs a NeMo 2 folder: training and inference open the Hugging Face model itself.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from bionemo.core.command import CommandGroup, command
from bionemo.core.errors import ConfigError
from bionemo.esm2.convert_config import ConvertESM2Config
from bionemo.llm.checkpoints.convert_config import ConversionFlags


if TYPE_CHECKING:
    from bionemo.esm2.api import ESM2Config, ESM2MaskedLM
    from bionemo.esm2.data.tokenizer import BioNeMoESMTokenizer


__all__ = ["HFESM2Exporter", "HFESM2Importer", "app"]


@dataclass(frozen=True, kw_only=True)
class ConvertHFToNemoConfig(ConversionFlags):
    """Write a NeMo 2 folder for BioNeMo Framework 2; nothing here needs it."""


@dataclass(frozen=True, kw_only=True)
class ConvertNemoToHFConfig(ConversionFlags):
    """Write a NeMo 2 folder, or a checkpoint or run of ours, as a Hugging Face folder."""


class _Connector:
    """A model to convert.

    Args:
        source: Folder, file or name on the Hugging Face Hub.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = str(source)

    @property
    def config(self) -> "ESM2Config":
        """The model's configuration."""
        from bionemo.esm2.model.hf_layout import ESM2Layout
        from bionemo.llm.checkpoints.model_source import load_model

        config: ESM2Config = load_model(self.source, ESM2Layout()).config
        return config

    @property
    def tokenizer(self) -> "BioNeMoESMTokenizer":
        """ESM-2's tokenizer."""
        from bionemo.esm2.data.tokenizer import get_tokenizer

        return get_tokenizer()

    def init(self) -> "ESM2MaskedLM":
        """Load the model, in float32 on the CPU."""
        from bionemo.esm2.api import load_esm2

        return load_esm2(self.source)

    def convert_state(self, *_: Any) -> NoReturn:
        """Refuse to copy weights into a model of NeMo.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("convert_state: copies into a NeMo model, which is not built here. Use init() or apply().")


class HFESM2Importer(_Connector):
    """A Hugging Face model on its way in.

    Example:
        >>> HFESM2Importer("facebook/esm2_t6_8M_UR50D").apply("esm2-8m")  # doctest: +SKIP
        PosixPath('esm2-8m')
    """

    def apply(self, output_path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a NeMo 2 folder.

        Raises:
            CheckpointError: There is no such model, or it is damaged.
            DataFileError: The folder exists and ``overwrite`` is off.
        """
        return hf_to_nemo(ConvertHFToNemoConfig(source=self.source, out_path=Path(output_path), overwrite=overwrite))


class HFESM2Exporter(_Connector):
    """A NeMo 2 folder or a checkpoint of ours on its way out.

    Example:
        >>> HFESM2Exporter("results/esm2").apply("esm2-hf")  # doctest: +SKIP
        PosixPath('esm2-hf')
    """

    def apply(self, output_path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a Hugging Face folder.

        Raises:
            CheckpointError: There is no such model, or it is damaged.
            DataFileError: The folder exists and ``overwrite`` is off.
        """
        return nemo_to_hf(ConvertNemoToHFConfig(source=self.source, out_path=Path(output_path), overwrite=overwrite))


def hf_to_nemo(config: ConvertHFToNemoConfig) -> Path:
    """Do what ``convert-hf-to-nemo`` was asked for; any other readable form is converted too."""
    return _convert(config, "nemo2")


def nemo_to_hf(config: ConvertNemoToHFConfig) -> Path:
    """Do what ``convert-nemo-to-hf`` was asked for; any other readable form is converted too.

    Raises:
        CheckpointError: There is no such model, or it is damaged.
    """
    return _convert(config, "hf")


def _convert(config: ConversionFlags, to: Literal["hf", "nemo2"]) -> Path:
    from bionemo.esm2.convert import convert_esm2

    return convert_esm2(
        ConvertESM2Config(
            source=config.source, out_path=config.out_path, to=to, dtype=config.dtype, overwrite=config.overwrite
        )
    )


PROG = "python -m bionemo.esm2.model.convert"
app = CommandGroup(
    prog=PROG,
    commands={
        "convert-hf-to-nemo": command(ConvertHFToNemoConfig, hf_to_nemo, prog=f"{PROG} convert-hf-to-nemo"),
        "convert-nemo-to-hf": command(ConvertNemoToHFConfig, nemo_to_hf, prog=f"{PROG} convert-nemo-to-hf"),
    },
)


if __name__ == "__main__":
    sys.exit(app())
