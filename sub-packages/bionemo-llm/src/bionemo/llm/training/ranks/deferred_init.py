# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""Random weights of a model that is nowhere whole: its initialization is recorded, then replayed tensor by tensor.

A seed gives the weights that it gives a model built the ordinary way, because the same operations draw from the same
generator in the same order.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map


ModuleT = TypeVar("ModuleT", bound=nn.Module)
Sink = Callable[[str, Tensor], None]


class _Call(NamedTuple):
    """One operation that made or filled memory."""

    op: Any
    args: Any
    kwargs: dict[str, Any]
    results: tuple[Tensor, ...]
    """Tensors in new memory."""


class Initialization:
    """What a model's constructor did to the memory of its parameters and buffers.

    Args:
        module: The model, on the meta device.
        calls: The operations, in order.
    """

    def __init__(self, module: nn.Module, calls: list[_Call]) -> None:
        self._calls = calls
        self._last_use = {
            _memory(tensor): idx for idx, call in enumerate(calls) for tensor in _tensors((call, call.results))
        }
        named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        self._names: dict[int, list[tuple[str, Tensor]]] = {}
        for name, tensor in named.items():
            self._names.setdefault(_memory(tensor), []).append((name, tensor))

    def replay(self, seed: int, sink: Sink) -> None:
        """Initialize on the CPU; memory holds the tensors of about one layer.

        Args:
            seed: Of torch's generator, which is left as it was.
            sink: Called with the name and the values of each parameter and buffer, once; it copies what it keeps.
        """
        real: dict[int, Tensor] = {}

        def to_real(value: Any) -> Any:
            if isinstance(value, torch.device):
                return torch.device("cpu") if value.type == "meta" else value
            if not isinstance(value, Tensor) or not value.is_meta:
                return value
            return real[_memory(value)].as_strided(value.size(), value.stride(), value.storage_offset())

        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            for idx, call in enumerate(self._calls):
                made = call.op(*tree_map(to_real, call.args), **tree_map(to_real, call.kwargs))
                for meta, tensor in zip(call.results, _tensors(made), strict=False):
                    real[_memory(meta)] = tensor
                for memory in {_memory(tensor) for tensor in _tensors((call, call.results))}:
                    if self._last_use[memory] == idx:
                        for name, tensor in self._names.get(memory, ()):
                            sink(name, to_real(tensor))
                        real.pop(memory, None)


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no type for it
        self.calls: list[_Call] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = op(*args, **kwargs)
        known = {_memory(tensor) for tensor in _tensors((args, kwargs))}
        results = tuple(tensor for tensor in _tensors(result) if _memory(tensor) not in known)
        if results or op._schema.is_mutable:  # a view makes and fills nothing
            self.calls.append(_Call(op, args, kwargs, results))
        return result


def build_recorded(build: Callable[[], ModuleT]) -> tuple[ModuleT, Initialization]:
    """Build a module without memory, and record how its parameters and buffers are initialized.

    Args:
        build: Builds the module; draws from torch's global generator only.

    Returns:
        The module on the meta device, and its initialization.

    Example:
        >>> from torch import nn
        >>> module, initialization = build_recorded(lambda: nn.Linear(2, 3))
        >>> initialization.replay(0, lambda name, tensor: print(name, tuple(tensor.shape)))
        weight (3, 2)
        bias (3,)
    """
    recorder = _Recorder()
    with torch.device("meta"), recorder:
        module = build()
    return module, Initialization(module, recorder.calls)


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_iter(values) if isinstance(value, Tensor)]


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
