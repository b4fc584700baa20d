# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""A free port can be listened on, is not one of outgoing connections, and does not follow a test's seed."""

import random
import socket

import pytest

from bionemo.testing import network_ports
from bionemo.testing.network_ports import LISTENING_PORTS, free_port


def test_a_free_port_can_be_listened_on():
    port = free_port()
    assert port in LISTENING_PORTS
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_seed_does_not_give_the_same_port_again():
    ports = set()
    for _ in range(5):
        random.seed(1)
        ports.add(free_port())
    assert len(ports) > 1


def test_a_port_that_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        only = taken.getsockname()[1]
        monkeypatch.setattr(network_ports, "LISTENING_PORTS", [only] * 100)
        with pytest.raises(OSError, match="in use"):
            free_port()


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(OSError, match="assign"):
        free_port("192.0.2.1")
