# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""What a model configuration is: plain settings that can build a model, and name the loss it trains with."""

from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor


__all__ = ("BionemoModelConfig", "BionemoTrainableModelConfig", "LossType", "Model", "ModelOutput", "ModelType")

ModelOutput = TypeVar("ModelOutput", Tensor, list[Tensor], tuple[Tensor], dict[str, Tensor], covariant=True)
"""What a forward pass may return."""

LossType = TypeVar("LossType")
"""How a model's loss is computed and reduced; the training engine decides what it must offer."""


class Model(Protocol[ModelOutput]):
    """Anything with a forward pass."""

    def forward(self, *args: Any, **kwargs: Any) -> ModelOutput:
        """Compute the model's output."""
        ...


ModelType = TypeVar("ModelType", bound=Model[Any])
"""The kind of model that a configuration builds."""


class BionemoModelConfig(Generic[ModelType], ABC):
    """A configuration that builds a model."""

    @abstractmethod
    def configure_model(self, *args: Any, **kwargs: Any) -> Model[Any]:
        """Build the model that this configuration describes."""
        raise NotImplementedError


class BionemoTrainableModelConfig(Generic[ModelType, LossType], BionemoModelConfig[ModelType]):
    """A configuration that builds a model and knows the loss to train it with."""

    @abstractmethod
    def get_loss_reduction_class(self) -> type[LossType]:
        """Name the class that computes and reduces the loss."""
        raise NotImplementedError
