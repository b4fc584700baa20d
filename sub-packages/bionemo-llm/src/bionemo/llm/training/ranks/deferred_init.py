# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A model that is nowhere whole: built without memory, then filled tensor by tensor.

Stored tensors are read one at a time. For the others the model's initialization is recorded and replayed: a seed gives
the weights that it gives a model built the ordinary way, because the same operations draw from the same generator in
the same order.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from bionemo.llm.training.ranks.sharded_model import Fill, WeightSource, fill_from_state, materialize


ModuleT = TypeVar("ModuleT", bound=nn.Module)


class _Call(NamedTuple):
    """One operation that made or filled memory."""

    op: Any
    args: Any
    kwargs: dict[str, Any]
    results: tuple[Tensor, ...]
    """Tensors in new memory."""

    @property
    def written(self) -> set[int]:
        """Memory that it may have filled."""
        return _memories((self.args, self.kwargs, self.results) if self.op._schema.is_mutable else self.results)

    @property
    def draws(self) -> bool:
        """Whether it takes random numbers from the generator."""
        return torch.Tag.nondeterministic_seeded in self.op.tags


class Initialization:
    """What a model's construction did to the memory of its parameters and buffers.

    Args:
        module: The model, on the meta device.
        steps: The operations, in order; before each step the generator is seeded.
    """

    def __init__(self, module: nn.Module, steps: Sequence[Sequence[_Call]]) -> None:
        self._steps = steps
        self._tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        self._memory_of = {name: _memory(tensor) for name, tensor in self._tensors.items()}

    def weights(self, seed: int, stored: Mapping[str, Tensor] | None = None) -> WeightSource:
        """Return what fills the model: stored values, read one at a time, and random ones for the rest.

        Args:
            seed: Of the random values.
            stored: Values of parameters and buffers; those that are missing are initialized.
        """
        known = {} if stored is None else stored
        missing = self._tensors.keys() - set(known)

        def fill_from(fill: Fill) -> None:
            self.replay(seed, fill, missing)
            fill_from_state(known)(fill)

        return fill_from

    def replay(self, seed: int, fill: Fill, names: Collection[str] | None = None) -> None:
        """Initialize on the CPU; memory holds the tensors of about one layer.

        Args:
            seed: Of torch's generator, which is left as it was.
            fill: Called with the name and the values of each parameter and buffer, once; it copies what it keeps.
            names: Of the parameters and buffers that are wanted; None: all.
        """
        wanted: dict[int, list[str]] = {}
        for name in self._tensors if names is None else names:
            wanted.setdefault(self._memory_of[name], []).append(name)
        steps = self._needed(set(wanted))
        last_use = {memory: call for calls in steps for call in calls for memory in _memories(call)}
        real: dict[int, Tensor] = {}

        def to_real(value: Any) -> Any:
            if isinstance(value, torch.device):
                return torch.device("cpu") if value.type == "meta" else value
            if not isinstance(value, Tensor) or not value.is_meta:
                return value
            return real[_memory(value)].as_strided(value.size(), value.stride(), value.storage_offset())

        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for calls in steps:
                torch.manual_seed(seed)
                for call in calls:
                    made = call.op(*tree_map(to_real, call.args), **tree_map(to_real, call.kwargs))
                    for meta, tensor in zip(call.results, _tensors_in(made), strict=False):
                        real[_memory(meta)] = tensor
                    for memory in _memories(call):
                        if last_use[memory] is call:
                            for name in wanted.get(memory, ()):
                                fill(name, to_real(self._tensors[name]))
                            real.pop(memory, None)

    def _needed(self, memories: set[int]) -> list[list[_Call]]:
        """Return the operations that some memory depends on, and the draws before them."""
        steps = []
        for calls in reversed(self._steps):
            needed: list[_Call] = []
            draws = False  # whether a later operation of the step draws
            for call in reversed(calls):
                if call.written & memories or (draws and call.draws):
                    needed.append(call)
                    draws = draws or call.draws
                    memories = memories | _memories(call)
            steps.append(needed[::-1])
        return steps[::-1]


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no type for it
        self.calls: list[_Call] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = op(*args, **kwargs)
        known = _memories((args, kwargs))
        results = tuple(tensor for tensor in _tensors_in(result) if _memory(tensor) not in known)
        if results or op._schema.is_mutable:  # a view makes and fills nothing
            self.calls.append(_Call(op, args, kwargs, results))
        return result


def build_recorded(build: Callable[[], ModuleT], *changes: Callable[[ModuleT], Any]) -> tuple[ModuleT, Initialization]:
    """Build a module without memory, and record how its parameters and buffers are initialized.

    Args:
        build: Builds the module; draws from torch's global generator only.
        changes: Change it in place, each with the generator seeded anew.

    Returns:
        The module on the meta device, and its initialization.

    Example:
        >>> from torch import nn
        >>> module, initialization = build_recorded(lambda: nn.Linear(2, 3))
        >>> initialization.replay(0, lambda name, tensor: print(name, tuple(tensor.shape)))
        weight (3, 2)
        bias (3,)
    """
    steps: list[list[_Call]] = []

    def recorded(step: Callable[[], Any]) -> Any:
        recorder = _Recorder()
        with torch.device("meta"), recorder:
            result = step()
        steps.append(recorder.calls)
        return result

    module: ModuleT = recorded(build)
    for change in changes:
        recorded(partial(change, module))
    return module, Initialization(module, steps)


class DeferredModel(NamedTuple, Generic[ModuleT]):
    """A model on the meta device, and what fills it.

    Attributes:
        module: The model.
        weights: Gives its initial values.
    """

    module: ModuleT
    weights: WeightSource

    def on_host(self) -> ModuleT:
        """Allocate the model's memory on the CPU, fill it, and return the model."""
        materialize(self.module, self.weights, torch.device("cpu"))
        return self.module


def _tensors_in(values: Any) -> list[Tensor]:
    return [value for value in tree_iter(values) if isinstance(value, Tensor)]


def _memories(values: Any) -> set[int]:
    return {_memory(tensor) for tensor in _tensors_in(values)}


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
