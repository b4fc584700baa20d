# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Where the digits come from: MNIST's IDX files, or drawn ones that need no download."""

import gzip
import logging
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bionemo.core.errors import ConfigError, DataFileError, FormatError


logger = logging.getLogger(__name__)

SIZE = 28
_UINT8 = 8  # IDX's type byte; MNIST has no other


class MnistItem(TypedDict):
    """One digit."""

    data: Tensor
    """[1, 28, 28] float32, 0 is black and 1 white."""
    label: int
    idx: int


class MNISTCustomDataset(Dataset[MnistItem]):
    """MNIST from its IDX files below ``root``, or as many drawn digits where there are none.

    Args:
        root: Folder of the files, or of ``raw/`` or ``MNIST/raw/`` with them.
        train: The 60,000 training digits, else the 10,000 of the test set.
        transform: Applied to each image.
        download: Not offered.

    Raises:
        ConfigError: ``download`` is asked for.
        FormatError: A file is damaged.
    """

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable[[Tensor], Tensor] | None = None,
        download: bool = False,
    ) -> None:
        if download:
            raise ConfigError(f"download=True: nothing is downloaded. Put MNIST's four IDX files into {root}.")
        self.train, self.transform = train, transform
        self.files = find_mnist(Path(root), train)
        if self.files is None and train:
            logger.info("%s: no MNIST files there, digits are drawn instead", root)

    def __len__(self) -> int:
        drawn = 60_000 if self.train else 10_000
        return drawn if self.files is None else len(self.files[1])

    def __getitem__(self, index: int) -> MnistItem:
        if self.files is None:
            image, label = draw_digit(seed=0 if self.train else 1, index=index)
        else:
            image, label = self.files[0][index], int(self.files[1][index])
        data = torch.tensor(image, dtype=torch.float32).unsqueeze(0) / 255
        return {"data": data if self.transform is None else self.transform(data), "label": label, "idx": index}


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, compressed when its name ends in ``.gz``.

    Layout: two zero bytes, the type, the number of dimensions, each one's size (big-endian uint32), the values.

    Returns:
        uint8 array of the shape that the header gives.

    Raises:
        DataFileError: The file cannot be read.
        FormatError: It is not IDX, holds another type, or has more or fewer values than its header says.
    """
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"{path}: cannot be read ({error}).") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != _UINT8:
        raise FormatError(f"{path}: begins with {raw[:4].hex()}, expected 000008 and the number of dimensions.")
    start = 4 + 4 * raw[3]
    shape = tuple(np.frombuffer(raw[4:start], dtype=">u4").tolist()) if len(raw) >= start else ()
    if not shape or len(raw) - start != math.prod(shape):
        raise FormatError(f"{path}: {len(raw) - start} values, its header says {' x '.join(map(str, shape)) or '?'}.")
    return np.frombuffer(raw, dtype=np.uint8, offset=start).reshape(shape)


def find_mnist(root: Path, train: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """Read images [N, 28, 28] and labels [N] from ``root``, ``root/raw`` or ``root/MNIST/raw``; None without files.

    Raises:
        FormatError: Images and labels do not belong together, or are not those of 28 x 28 digits.
    """
    prefix = "train" if train else "t10k"
    for folder in (root, root / "raw", root / "MNIST" / "raw"):
        paths = [folder / f"{prefix}-{name}" for name in ("images-idx3-ubyte", "labels-idx1-ubyte")]
        found = [next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.exists()), None) for path in paths]
        if found[0] is not None and found[1] is not None:
            images, labels = read_idx(found[0]), read_idx(found[1])
            if images.shape != (len(labels), SIZE, SIZE) or labels.ndim != 1 or labels.max(initial=0) > 9:
                raise FormatError(f"{found[0]}: {images.shape} images do not fit {labels.shape} labels 0-9 beside it.")
            return images, labels
    return None


def _arc(x: float, y: float, rx: float, ry: float, start: float, stop: float) -> list[tuple[float, float]]:
    """Points of an ellipse's arc, angles in degrees from the right, growing downwards."""
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in np.radians(np.linspace(start, stop, 9)).tolist()]


# Lines of each digit in a unit square, y downwards.
_STROKES = (
    [[*_arc(0.5, 0.5, 0.3, 0.42, 0, 180), *_arc(0.5, 0.5, 0.3, 0.42, 180, 360)]],
    [[(0.35, 0.25), (0.55, 0.08), (0.55, 0.92)]],
    [[*_arc(0.5, 0.32, 0.28, 0.24, 180, 390), (0.22, 0.92), (0.8, 0.92)]],
    [[*_arc(0.47, 0.29, 0.27, 0.21, 200, 450), *_arc(0.47, 0.71, 0.3, 0.21, 270, 520)]],
    [[(0.62, 0.92), (0.62, 0.08), (0.18, 0.65), (0.84, 0.65)]],
    [[(0.76, 0.08), (0.3, 0.08), (0.27, 0.46), *_arc(0.48, 0.67, 0.29, 0.25, 240, 505)]],
    [[(0.66, 0.08), (0.36, 0.4), *_arc(0.5, 0.68, 0.26, 0.24, 180, 540)]],
    [[(0.2, 0.08), (0.8, 0.08), (0.42, 0.92)]],
    [_arc(0.5, 0.28, 0.22, 0.2, 90, 450), _arc(0.5, 0.7, 0.27, 0.22, 270, 630)],
    [[*_arc(0.48, 0.32, 0.26, 0.24, 0, 360), (0.74, 0.32), (0.66, 0.92)]],
)
_SEGMENTS = [
    np.concatenate([np.stack([line[:-1], line[1:]], axis=1) for line in map(np.array, lines)]) for lines in _STROKES
]
"""Start and end of each digit's line segments, [K, 2, 2]."""
_PIXELS = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE))).reshape(2, -1).astype(np.float32) + 0.5
"""Centres, [2, 784]."""


def draw_digit(seed: int, index: int) -> tuple[np.ndarray, int]:
    """Draw the digit ``index % 10`` with a hand of its own: slant, turn, size, place and width of the pen.

    Returns:
        [28, 28] uint8 image, white on black, and its label: a pure function of (seed, index).
    """
    label = index % 10
    rng = np.random.default_rng([seed, 1, 1, index])
    turn, slant = rng.normal(0.0, 0.12), rng.normal(0.1, 0.12)
    width, height = rng.uniform(13.0, 19.0), rng.uniform(18.0, 22.0)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) @ [[1, -slant], [0, 1]]
    points = _SEGMENTS[label] - 0.5
    points = points + rng.normal(0.0, 0.02, 2) * np.sin(2 * math.pi * points[..., ::-1])
    points = (points * (width, height)) @ matrix.T + SIZE / 2 + rng.uniform(-1.5, 1.5, 2)
    distance = _distance_to_segments(points.astype(np.float32))
    ink = np.clip(rng.uniform(1.3, 2.2) - distance, 0, 1)
    return (ink * 255).astype(np.uint8).reshape(SIZE, SIZE), label


def _distance_to_segments(segments: np.ndarray) -> np.ndarray:
    """[784] float32, distance of every pixel's centre to the nearest of the segments [K, 2, 2]."""
    start, along = segments[:, 0], segments[:, 1] - segments[:, 0]
    length2 = np.maximum((along**2).sum(1, keepdims=True), 1e-6)
    reach = along @ _PIXELS - (start * along).sum(1, keepdims=True)
    share = np.clip(reach / length2, 0, 1)
    distance2 = share * (share * length2 - 2 * reach) - 2 * (start @ _PIXELS) + (start**2).sum(1, keepdims=True)
    distance: np.ndarray = np.sqrt(np.maximum(distance2.min(axis=0) + (_PIXELS**2).sum(0), 0))
    return distance
