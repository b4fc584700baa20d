# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Lightning data modules for webdataset tars."""

import glob
import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Any, get_args

import lightning as L

from bionemo.core.errors import ConfigError, MissingFileError
from bionemo.webdatamodule._decoding import DecodeAndExtract
from bionemo.webdatamodule._loader import EpochLoader, Position
from bionemo.webdatamodule._shard_writing import check_complete
from bionemo.webdatamodule._sharding import Remainder
from bionemo.webdatamodule.dataset import PlannedDataset, RankFunction, StreamedDataset, data_rank
from bionemo.webdatamodule.utils import as_suffixes, pickles_to_tars


Stage = Callable[[Any], Any]
Stages = Stage | Iterable[Stage]
Invocations = Sequence[tuple[str, dict[str, Any]]]

# Asking for one of these means: webdataset shall split, shuffle, cache or resample in its own way.
_STREAMED_ARGUMENTS = frozenset(
    {"nodesplitter", "workersplitter", "resampled", "mode", "detshuffle", "cache_dir", "cache_size", "url_to_name"}
)


class Split(Enum):
    """The parts of a data set."""

    train = auto()
    val = auto()
    test = auto()


class WebDataModule(L.LightningDataModule):
    """Serves the samples of webdataset tars as tuples.

    Every sample is read exactly once per epoch over all ranks and loader workers. The shards are permuted anew in each
    training epoch (``kwargs_wds={split: {"shardshuffle": False}}`` turns that off) and keep their order in validation
    and test. ``state_dict`` holds the position in the training data, so that a run continues with the rest of its
    epoch.

    Args:
        suffix_keys_wds: Sample parts to extract, matched as ``*.{suffix}``; each sample becomes a tuple in that order.
        dirs_tars_wds: Folder of each split; its shards are the sorted files ``{dir}/{prefix}-*.tar``.
        prefix_tars_wds: That prefix.
        pipeline_wds: Per split, functions from iterator to iterator for samples; they run in the loader's workers.
        pipeline_prebatch_wld: Per split, the same for what leaves the loader: the place to batch.
        kwargs_wds: Per split, arguments of ``webdataset.WebDataset``. ``seed`` (0 unless given) must be the same on
            all ranks. ``urls`` replaces the folder. Remote urls, ``nodesplitter``, ``workersplitter``, ``resampled``,
            ``detshuffle`` or a cache select webdataset's own reader, whose guarantees then hold instead.
        kwargs_wld: Per split, arguments of ``webdataset.WebLoader``, which are those of torch's DataLoader. Its
            ``batch_size`` is 1 by default: pass ``None`` when a stage batches.
        invoke_wds: Per split, ``(method, kwargs)`` pairs called last on the dataset; each returns the new dataset.
        invoke_wld: Per split, the same for the loader.
        allow_pickle: Unpickle any class. A tar can then run code: only for tars of your own making.
        max_unpacked_bytes: Bound for what a ``.gz`` member unpacks to; 64 MiB or 100 times its size unless given.
        remainder: What happens to samples that cannot be shared out evenly over the ranks: "pad" repeats up to
            (number of ranks - 1) of them, "drop" leaves as many out, "uneven" gives some ranks one more.
        rank_function: Returns (rank, world size) of the data-parallel group; all ranks of torch.distributed by
            default. With tensor or pipeline parallelism, pass the data-parallel ones.

    Raises:
        TypeError: ``suffix_keys_wds`` is neither a string nor iterable.
        ConfigError: ``remainder`` is none of its three values.
    """

    def __init__(
        self,
        suffix_keys_wds: str | Iterable[str],
        dirs_tars_wds: dict[Split, str],
        prefix_tars_wds: str = "wdshards",
        pipeline_wds: dict[Split, Stages] | None = None,
        pipeline_prebatch_wld: dict[Split, Stages] | None = None,
        kwargs_wds: dict[Split, dict[str, Any]] | None = None,
        kwargs_wld: dict[Split, dict[str, Any]] | None = None,
        invoke_wds: dict[Split, Invocations] | None = None,
        invoke_wld: dict[Split, Invocations] | None = None,
        *,
        allow_pickle: bool = False,
        max_unpacked_bytes: int | None = None,
        remainder: Remainder = "pad",
        rank_function: RankFunction = data_rank,
    ) -> None:
        super().__init__()
        self._suffix_keys_wds = as_suffixes(suffix_keys_wds, "suffix_keys_wds")
        if remainder not in get_args(Remainder):
            raise ConfigError(f"remainder must be one of {', '.join(get_args(Remainder))}, but got {remainder!r}.")
        self._dirs_tars_wds = dirs_tars_wds
        self._prefix_tars_wds = prefix_tars_wds
        self._pipeline_wds = pipeline_wds
        self._pipeline_prebatch_wld = pipeline_prebatch_wld
        self._kwargs_wds = kwargs_wds
        self._kwargs_wld = kwargs_wld
        self._invoke_wds = invoke_wds
        self._invoke_wld = invoke_wld
        self._max_unpacked_bytes = max_unpacked_bytes
        self._allow_pickle, self._remainder, self._rank_function = allow_pickle, remainder, rank_function
        self._dataset: dict[Split, PlannedDataset | StreamedDataset] = {}
        self._position = Position()

    def prepare_data(self) -> None:
        """Do nothing: the tars exist already."""

    def setup(self, stage: str) -> None:
        """Build the datasets of a stage and count their samples.

        Args:
            stage: "fit" (train and val), "validate" (val), "test" or "predict" (test).

        Raises:
            NotImplementedError: Another stage.
            RuntimeError: A split has no folder.
            MissingFileError: A folder has no matching tars.
            DataFileError: A tar is cut off, or the writing of a set of tars was interrupted.
        """
        splits = {
            "fit": (Split.train, Split.val),
            "validate": (Split.val,),
            "test": (Split.test,),
            "predict": (Split.test,),
        }
        if stage not in splits:
            raise NotImplementedError(f"Data setup with stage='{stage}' is not implemented.")
        for split in splits[stage]:
            self._dataset[split] = self._setup_wds(split)

    def train_dataloader(self) -> EpochLoader:
        """Return the loader of the training split."""
        return self._setup_dataloader(Split.train)

    def val_dataloader(self) -> EpochLoader:
        """Return the loader of the validation split."""
        return self._setup_dataloader(Split.val)

    def test_dataloader(self) -> EpochLoader:
        """Return the loader of the test split."""
        return self._setup_dataloader(Split.test)

    def predict_dataloader(self) -> EpochLoader:
        """Return the loader of the test split."""
        return self._setup_dataloader(Split.test)

    def state_dict(self) -> dict[str, int]:
        """Return the position in the training data as integers; Lightning puts it into its checkpoints."""
        return self._position.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue the training data behind a saved position."""
        self._position.load_state_dict(state_dict)

    def _setup_wds(self, split: Split) -> PlannedDataset | StreamedDataset:
        kwargs = dict((self._kwargs_wds or {}).get(split, {}))
        urls = kwargs.pop("urls", None)
        if urls is None:
            urls = self._find_tars(split)
        kwargs.setdefault("shardshuffle", 100 if split is Split.train and not kwargs.get("resampled") else False)
        kwargs["rank_function"] = self._rank_function
        dataset: Any
        if _STREAMED_ARGUMENTS & kwargs.keys() or not _are_local(urls):
            dataset = StreamedDataset(urls, **kwargs)
        else:
            dataset = PlannedDataset([str(url) for url in _expand(urls)], remainder=self._remainder, **kwargs)
        decode = DecodeAndExtract(
            self._suffix_keys_wds, allow_pickle=self._allow_pickle, max_unpacked_bytes=self._max_unpacked_bytes
        )
        dataset = dataset.compose(decode)
        dataset = dataset.compose(*_as_stages(self._pipeline_wds, split))
        return _invoke(dataset, self._invoke_wds, split)  # type: ignore[no-any-return]

    def _find_tars(self, split: Split) -> list[str]:
        if split not in self._dirs_tars_wds:
            raise RuntimeError(f"_setup_wds() is called with {split} split that doesn't have the input tar dir")
        folder, pattern = Path(self._dirs_tars_wds[split]), f"{self._prefix_tars_wds}-*.tar"
        check_complete(folder, self._prefix_tars_wds)
        tars = sorted(str(path) for path in folder.glob(glob.escape(self._prefix_tars_wds) + "-*.tar"))
        if not tars:
            raise MissingFileError(
                f"{folder / pattern}: no tars match for the split '{split.name}'. Check dirs_tars_wds and "
                "prefix_tars_wds, or run prepare_data of PickledDataWDS first."
            )
        return tars

    def _setup_dataloader(self, split: Split) -> EpochLoader:
        if split not in self._dataset:
            raise ValueError(
                f"_setup_dataloader() is called with {split} split without setting up the corresponding dataset."
            )
        loader: Any = EpochLoader(
            self._dataset[split],
            position=self._position if split is Split.train else None,
            module=self,
            **(self._kwargs_wld or {}).get(split, {}),
        )
        loader = loader.compose(*_as_stages(self._pipeline_prebatch_wld, split))
        return _invoke(loader, self._invoke_wld, split)  # type: ignore[no-any-return]


class PickledDataWDS(WebDataModule):
    """A WebDataModule that first writes its tars from a folder of pickled files.

    Args:
        dir_pickles: Folder with one file ``{name}.{suffix}`` per name and suffix.
        names_subset: The names of each split.
        args: Arguments of :class:`WebDataModule`.
        n_tars_wds: Number of tars per split; without it a new tar starts after 100,000 samples.
        kwargs: More arguments of :class:`WebDataModule`.
    """

    def __init__(
        self,
        dir_pickles: str,
        names_subset: dict[Split, list[str]],
        *args: Any,
        n_tars_wds: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._dir_pickles = dir_pickles
        self._names_subset = names_subset
        self._n_tars_wds = n_tars_wds

    def prepare_data(self) -> None:
        """Write the tars of every split, replacing those of an earlier call.

        Raises:
            RuntimeError: A split has no folder, or a file is missing or cannot be written.
        """
        folders: dict[Path, Split] = {}
        for split, names in self._names_subset.items():
            if split not in self._dirs_tars_wds:
                raise RuntimeError(f"prepare_data() is called with {split} split that doesn't have the output tar dir")
            other = folders.setdefault(Path(self._dirs_tars_wds[split]).resolve(), split)
            if other is not split:
                raise ConfigError(
                    f"dirs_tars_wds: the splits '{other.name}' and '{split.name}' have the same folder "
                    f"{self._dirs_tars_wds[split]}; their tars would replace each other. Give each its own."
                )
            pickles_to_tars(
                self._dir_pickles,
                names,
                self._suffix_keys_wds,
                self._dirs_tars_wds[split],
                self._prefix_tars_wds,
                min_num_shards=self._n_tars_wds,
            )


def _as_stages(stages: dict[Split, Stages] | None, split: Split) -> list[Stage]:
    chosen = (stages or {}).get(split)
    if chosen is None:
        return []
    return list(chosen) if isinstance(chosen, Iterable) else [chosen]


def _invoke(target: Any, calls: dict[Split, Invocations] | None, split: Split) -> Any:
    for method, kwargs in (calls or {}).get(split) or ():
        target = getattr(target, method)(**kwargs)
    return target


def _expand(urls: Any) -> list[Any]:
    from webdataset.shardlists import expand_urls

    return list(expand_urls(urls) if isinstance(urls, str) else urls)


def _are_local(urls: Any) -> bool:
    if isinstance(urls, dict) or (isinstance(urls, str) and urls.endswith((".yaml", ".yml", "/"))):
        return False
    return not any(re.match(r"(?!file:)[a-z][a-z0-9+.-]*:|-$", str(url)) for url in _expand(urls))
