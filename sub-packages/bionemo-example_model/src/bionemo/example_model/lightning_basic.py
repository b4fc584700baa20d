# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""The smallest complete model of this house: an auto-encoder of handwritten digits and its fine-tuned classifiers.

Copy it for a model of your own. From top to bottom: the data, the networks, their losses, a config that builds a
network (from a checkpoint, if one is named), and the LightningModule that the training engine trains.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypedDict

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, random_split

from bionemo.core.cache_dir import BIONEMO_CACHE_DIR
from bionemo.core.data.multi_epoch_dataset import IdentityMultiEpochDatasetWrapper, MultiEpochDatasetResampler
from bionemo.core.errors import CheckpointError
from bionemo.example_model.digits import SIZE, MNISTCustomDataset, MnistItem
from bionemo.llm import lightning as engine
from bionemo.llm.checkpoints.hf_directory import load_checkpoint, save_checkpoint
from bionemo.llm.model.config import OVERRIDE_BIONEMO_CONFIG_DEFAULTS, MegatronBioNeMoTrainableModelConfig
from bionemo.llm.model.loss import SameSizeLossDict
from bionemo.llm.utils.weight_utils import load_weights_skipping_prefixes


logger = logging.getLogger(__name__)

NUM_PIXELS, LATENT_SIZE, NUM_CLASSES = SIZE * SIZE, 3, 10


class MNISTDataModule(pl.LightningDataModule):
    """Training, validation and test digits; each rank reads every W-th of the same order.

    Args:
        data_dir: Where MNIST's files may be.
        batch_size: Digits per rank and step.
        num_workers: Processes that prepare batches.
    """

    def __init__(self, data_dir: str | Path = BIONEMO_CACHE_DIR, batch_size: int = 32, num_workers: int = 0) -> None:
        super().__init__()
        self.data_dir, self.micro_batch_size, self.num_workers = Path(data_dir), batch_size, num_workers

    def setup(self, stage: str = "fit") -> None:
        """Split the training digits 11 to 1 into training and validation, and put each part into its order; once."""
        if hasattr(self, "mnist_train"):
            return
        train = MNISTCustomDataset(self.data_dir, train=True)
        sizes = (len(train) - len(train) // 12, len(train) // 12)
        parts = random_split(train, sizes, generator=torch.Generator().manual_seed(42))
        test = MNISTCustomDataset(self.data_dir, train=False)
        self.mnist_train = self._in_order(parts[0], seed=44, shuffle=True, num_epochs=1000)
        self.mnist_val = self._in_order(parts[1], seed=45, shuffle=False)
        self.mnist_test = self._in_order(test, seed=43, shuffle=False)

    def _in_order(self, dataset: Any, **order: Any) -> MultiEpochDatasetResampler[MnistItem]:
        return MultiEpochDatasetResampler(IdentityMultiEpochDatasetWrapper(dataset), **order)

    def _loader(self, dataset: MultiEpochDatasetResampler[MnistItem]) -> DataLoader[MnistItem]:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        mine = range(rank, len(dataset), world_size)
        return DataLoader(dataset, batch_size=self.micro_batch_size, sampler=mine, num_workers=self.num_workers)

    def train_dataloader(self) -> DataLoader[MnistItem]:
        """Shuffled anew in every epoch."""
        return self._loader(self.mnist_train)

    def val_dataloader(self) -> DataLoader[MnistItem]:
        """In order."""
        return self._loader(self.mnist_val)

    def test_dataloader(self) -> DataLoader[MnistItem]:
        """In order."""
        return self._loader(self.mnist_test)

    predict_dataloader = test_dataloader


class ExampleModelOutput(TypedDict):
    """What the auto-encoder gives."""

    x_hat: Tensor
    """[b, 784] reconstructed pixels."""
    z: Tensor
    """[b, 3] code."""


class ExampleFineTuneOutput(ExampleModelOutput):
    """The same with a classifier beside the decoder."""

    digit_logits: Tensor
    """[b, 10]"""


class ExampleModelTrunk(nn.Module):
    """Encodes [b, 1, 28, 28] images into [b, 3]."""

    def __init__(self, config: "ExampleGenericConfig") -> None:
        super().__init__()
        self.linear1 = nn.Linear(NUM_PIXELS, config.hidden_size)
        self.relu = nn.ReLU()
        self.linear2 = nn.Linear(config.hidden_size, LATENT_SIZE)

    def forward(self, x: Tensor) -> Any:
        """Encode."""
        return self.linear2(self.relu(self.linear1(x.flatten(1))))


class ExampleModel(ExampleModelTrunk):
    """Encodes and decodes."""

    def __init__(self, config: "ExampleGenericConfig") -> None:
        super().__init__(config)
        self.linear3 = nn.Linear(LATENT_SIZE, config.hidden_size)
        self.relu2 = nn.ReLU()
        self.linear4 = nn.Linear(config.hidden_size, NUM_PIXELS)

    def forward(self, x: Tensor) -> Any:
        """Return an :class:`ExampleModelOutput`."""
        z = super().forward(x)
        return {"x_hat": self.linear4(self.relu2(self.linear3(z))), "z": z}


class ExampleFineTuneBothModel(ExampleModel):
    """Encodes, decodes and classifies."""

    def __init__(self, config: "ExampleGenericConfig") -> None:
        super().__init__(config)
        self.digit_classifier = nn.Linear(LATENT_SIZE, NUM_CLASSES)

    def forward(self, x: Tensor) -> Any:
        """Return an :class:`ExampleFineTuneOutput`."""
        output = super().forward(x)
        return {**output, "digit_logits": self.digit_classifier(output["z"])}


class ExampleFineTuneModel(ExampleModelTrunk):
    """Encodes and classifies; the decoder is dropped."""

    def __init__(self, config: "ExampleGenericConfig") -> None:
        super().__init__(config)
        self.digit_classifier = nn.Linear(LATENT_SIZE, NUM_CLASSES)

    def forward(self, x: Tensor) -> Any:
        """Return logits [b, 10]."""
        return self.digit_classifier(super().forward(x))


class MSELossReduction:
    """Mean squared error of the reconstruction."""

    def forward(self, batch: Mapping[str, Tensor], forward_out: Any) -> tuple[Tensor, SameSizeLossDict]:
        """Return the mean loss of a batch, to be differentiated and to be logged."""
        loss = self.loss(batch, forward_out)
        return loss, {"avg": loss}

    def loss(self, batch: Mapping[str, Tensor], forward_out: Any) -> Tensor:
        """The loss itself; other losses override it."""
        x_hat = forward_out["x_hat"]
        return nn.functional.mse_loss(x_hat, batch["data"].flatten(1).to(x_hat.dtype))

    def reduce(self, losses: Sequence[SameSizeLossDict]) -> Tensor:
        """Mean over the batches of a step."""
        return torch.stack([loss["avg"].detach() for loss in losses]).mean()


class ClassifierLossReduction(MSELossReduction):
    """Cross-entropy of the digit's logits, nats."""

    def loss(self, batch: Mapping[str, Tensor], forward_out: Any) -> Tensor:
        """See the class."""
        return nn.functional.cross_entropy(forward_out, batch["label"])


class MSEPlusClassifierLossReduction(MSELossReduction):
    """The sum of both."""

    def loss(self, batch: Mapping[str, Tensor], forward_out: Any) -> Tensor:
        """See the class."""
        error = super().loss(batch, forward_out)
        return error + nn.functional.cross_entropy(forward_out["digit_logits"], batch["label"])


@dataclass(frozen=True, kw_only=True)
class ExampleGenericConfig(MegatronBioNeMoTrainableModelConfig):
    """What to build and how to train it. With ``initial_ckpt_path``, size and weights come from that checkpoint."""

    default_override_parent_fields: ClassVar[tuple[str, ...]] = (*OVERRIDE_BIONEMO_CONFIG_DEFAULTS, "loss_cls")

    model_cls: type[ExampleModelTrunk] = ExampleModel
    loss_cls: type[MSELossReduction] = MSELossReduction
    hidden_size: int = 64

    def hf_layout(self) -> "ExampleLayout":
        """How its checkpoints are named."""
        return ExampleLayout()

    def get_loss_reduction_class(self) -> type[MSELossReduction]:
        """Its loss."""
        return self.loss_cls

    def configure_model(self) -> ExampleModelTrunk:
        """Build the network.

        Raises:
            CheckpointError: The checkpoint lacks weights beyond those of the prefixes, or has them in another shape.
        """
        path = self.initial_ckpt_path
        if path is None:
            return self.model_cls(self)
        model = self.model_cls(self.load_settings_from_checkpoint(path))
        if not self.initial_ckpt_path_ignore_weights:
            self.update_model_from_checkpoint(model, path)
        return model

    def update_model_from_checkpoint(self, model: nn.Module, path: str | Path) -> None:
        """Load weights, except those with the prefixes; those that the model has no use for are named in the log."""
        state = load_checkpoint(path, self.hf_layout()).state
        taken = {name: tensor for name, tensor in state.items() if name in model.state_dict()}
        if unused := sorted(state.keys() - taken.keys()):
            logger.info("%s: the model has no use for %s", path, ", ".join(unused))
        load_weights_skipping_prefixes(model, taken, self.initial_ckpt_skip_keys_with_these_prefixes, path)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(ExampleGenericConfig):
    """The auto-encoder."""


@dataclass(frozen=True, kw_only=True)
class ExampleFineTuneBothConfig(ExampleGenericConfig):
    """Classifier beside the decoder."""

    model_cls: type[ExampleModelTrunk] = ExampleFineTuneBothModel
    loss_cls: type[MSELossReduction] = MSEPlusClassifierLossReduction


@dataclass(frozen=True, kw_only=True)
class ExampleFineTuneConfig(ExampleGenericConfig):
    """Classifier instead of the decoder."""

    model_cls: type[ExampleModelTrunk] = ExampleFineTuneModel
    loss_cls: type[MSELossReduction] = ClassifierLossReduction


class ExampleLayout:
    """Names in ``config.json`` and ``model.safetensors``: the weights keep their own."""

    model_type = "bionemo_example"

    def tensors_to_hf(self, state: Mapping[str, Tensor], config: ExampleGenericConfig) -> dict[str, Tensor]:
        """The weights as they are."""
        return dict(state)

    def tensors_from_hf(self, tensors: Mapping[str, Tensor], config: ExampleGenericConfig) -> dict[str, Tensor]:
        """The weights as they are."""
        return dict(tensors)

    def config_to_hf(self, config: ExampleGenericConfig) -> dict[str, Any]:
        """What another program needs to build the network."""
        names = [config.model_cls.__name__]
        return {"model_type": self.model_type, "architectures": names, "hidden_size": config.hidden_size}

    def config_from_hf(self, values: Mapping[str, Any], source: str) -> ExampleGenericConfig:
        """The settings that a fine-tuned model takes over.

        Raises:
            CheckpointError: Another kind of model.
        """
        if values.get("model_type") != self.model_type:
            raise CheckpointError(f"{source}: model_type {values.get('model_type')}, expected {self.model_type}.")
        return ExampleGenericConfig(hidden_size=values["hidden_size"])

    def save_tokenizer(self, directory: Path) -> None:
        """Digits need none."""


class BionemoLightningModule(engine.BionemoLightningModule):
    """The training engine's module with this example's batches, Adam and logged losses.

    Args:
        config: What to train.
        lr: Adam's learning rate.
        model_transform: Applied to the network once it is built, for example :func:`freeze_parent`.
    """

    def __init__(
        self,
        config: ExampleGenericConfig,
        lr: float = 1e-4,
        model_transform: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        reduction = config.get_loss_reduction_class()()

        def loss_sum_and_count(batch: Mapping[str, Tensor], forward_out: Any) -> tuple[Tensor, Tensor]:
            mean, count = reduction.forward(batch, forward_out)[0], len(batch["data"])
            return mean * count, torch.tensor(count, device=mean.device)  # so that unequal batches count rightly

        super().__init__(
            config,
            lambda module, batch: module(batch["data"]),
            model_transform=model_transform,
            loss_function=loss_sum_and_count,
        )
        self.lr = lr

    def loss_reduction_class(self) -> type[MSELossReduction]:
        """The config's loss; training engines that reduce losses themselves make one for each stage."""
        reduction: type[MSELossReduction] = self.config.get_loss_reduction_class()
        return reduction

    def training_loss_reduction(self) -> MSELossReduction:
        """A new one."""
        return self.loss_reduction_class()()

    validation_loss_reduction = test_loss_reduction = training_loss_reduction

    def configure_optimizers(self) -> Any:
        """Adam on what is not frozen."""
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=self.lr, fused=True)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Compute the loss for the training engine, and log the mean."""
        loss = super().training_step(batch, batch_idx)
        count = len(batch["data"])
        mean = loss.detach() / (count * self.trainer.accumulate_grad_batches)
        self.log("train_loss", mean, on_step=True, on_epoch=True, prog_bar=True, batch_size=count)
        return loss

    def on_validation_epoch_end(self) -> None:
        """Log the mean over all ranks."""
        self.log("val_loss", self.accounting.mean(self.accounting.val_losses[0], self.trainer), prog_bar=True)

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the network's output."""
        return self(batch)

    def save(self, directory: str | Path) -> None:
        """Write a checkpoint that ``initial_ckpt_path`` and any reader of safetensors opens."""
        assert self.module is not None
        save_checkpoint(directory, self.config, self.module.state_dict(), ExampleLayout(), overwrite=True)


def freeze_parent(model: nn.Module) -> nn.Module:
    """Leave only the classifier to be trained."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("digit_classifier")
    return model


MNISTCustom = MNISTCustomDataset
ExampleConfig = PretrainConfig
ExampleFineTuneDropParentModel, ExampleFineTuneDropParentConfig = ExampleFineTuneModel, ExampleFineTuneConfig
LitAutoEncoder = BionemoLightningModule


def __getattr__(name: str) -> Any:
    """Make the objects that tutorials import when they are first asked for."""
    makers: dict[str, Callable[[], Any]] = {
        "data_module": MNISTDataModule,
        "checkpoint_callback": lambda: pl.callbacks.ModelCheckpoint(monitor="val_loss", save_last=True),
    }
    if name not in makers:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, makers[name]())
