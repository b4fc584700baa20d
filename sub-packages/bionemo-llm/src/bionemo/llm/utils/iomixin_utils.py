# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Hyper-parameters of a dataclass that can be read, and set apart from the values in use."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

from bionemo.core.errors import ConfigError


class UnknownHparamError(ConfigError, KeyError):
    """A hyper-parameter was named that there is not."""

    __str__ = Exception.__str__  # a KeyError shows its message in quotes


@runtime_checkable
class WillHaveGetSetHparam(Protocol):
    """What a class with settable hyper-parameters offers."""

    def set_hparam(self, attribute: str, value: Any, also_change_value: bool = True) -> None:
        """Record a hyper-parameter."""

    def get_hparam(self, attribute: str) -> Any:
        """The recorded value."""

    def get_hparams(self) -> dict[str, Any]:
        """All recorded values."""

    def get_non_default_hparams(self) -> list[str]:
        """Names of those that are not at their default."""


class IOMixinWithGettersSetters:
    """For dataclasses: each field is a hyper-parameter; ``get_hparams()`` is a plain dict, ready for JSON or YAML."""

    def set_hparam(self, attribute: str, value: Any, also_change_value: bool = True) -> None:
        """Record a hyper-parameter.

        Args:
            attribute: Name of a field.
            value: What is recorded.
            also_change_value: Whether the attribute itself changes as well.

        Raises:
            UnknownHparamError: There is no such field; it is also a ``KeyError``.
        """
        self.get_hparam(attribute)  # refuses an unknown name
        set_apart = vars(self).setdefault("_hparams", {})
        if also_change_value:
            setattr(self, attribute, value)
            set_apart.pop(attribute, None)
        else:
            set_apart[attribute] = value

    def get_hparam(self, attribute: str) -> Any:
        """The recorded value of a field.

        Raises:
            UnknownHparamError: There is no such field; the message lists all.
        """
        hparams = self.get_hparams()
        if attribute not in hparams:
            raise UnknownHparamError(
                f"Attribute '{attribute}' not found in hyper-parameters. Options: {sorted(hparams)}"
            )
        return hparams[attribute]

    def get_hparams(self) -> dict[str, Any]:
        """Name and recorded value of every field, as of now."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {**own, **vars(self).get("_hparams", {})}

    def get_non_default_hparams(self) -> list[str]:
        """Names of the fields whose recorded value is not their default; fields without one are always among them."""
        hparams = self.get_hparams()
        names = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            factory = field.default_factory
            default = field.default if factory is dataclasses.MISSING else factory()
            if default is dataclasses.MISSING or hparams[field.name] != default:
                names.append(field.name)
        return names
