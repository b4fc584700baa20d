# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""YAML in which no mapping may give a key twice; PyYAML lets the last one win without a word."""

from typing import Any

import yaml


class _UniqueKeysLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """The safe loader, with YAML's own rule that keys are unique."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; a repeated key is an error at its second place."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key_node.value!r} is given twice", key_node.start_mark
                    )
                seen.add(key_node.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def load_yaml(text: str) -> Any:
    """Read YAML text into plain values.

    Raises:
        yaml.YAMLError: The text is not YAML, holds a tag of Python objects, gives a key twice, or nests too deeply.
    """
    try:
        return yaml.load(text, Loader=_UniqueKeysLoader)
    except RecursionError:
        raise yaml.constructor.ConstructorError(None, None, "it is nested too deeply") from None
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        # PyYAML's own: dates that do not exist, numbers of thousands of digits, tags on values of another type.
        raise yaml.constructor.ConstructorError(None, None, f"a value cannot be read ({error})") from error
