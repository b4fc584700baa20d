# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Versions of the archive header's layout."""

from dataclasses import astuple, dataclass


@dataclass(eq=False)
class Version:
    """A version in three numbers, written ``major.minor.point``; equal numbers are equal versions.

    A reader refuses a greater major number; a greater minor number only adds what an older reader may ignore.
    """

    major: int = 0
    minor: int = 0
    point: int = 0

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.point}"

    def __eq__(self, other: object) -> bool:
        return astuple(self) == astuple(other) if isinstance(other, Version) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # the numbers may be changed


class SCDLVersion(Version):
    """Version of an archive header."""

    def __repr__(self) -> str:
        return f"SCDLVersion(major={self.major}, minor={self.minor}, point={self.point})"


class CurrentSCDLVersion(SCDLVersion):
    """The layout that this package writes: 0.1.0."""

    def __init__(self) -> None:
        super().__init__(major=0, minor=1, point=0)
