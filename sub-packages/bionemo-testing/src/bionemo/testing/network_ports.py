# SPDX-FileCopyrightText: Copyright (c) 2026 The BioNeMo project authors
# SPDX-License-Identifier: Apache-2.0
"""TCP ports for processes that have to be told one before any of them listens."""

import random
import socket


LISTENING_PORTS = range(20_000, 32_768)
"""Below the ports that Linux, macOS and Windows give to outgoing connections by default (from 32,768 or 49,152 on)."""


def free_port(address: str = "127.0.0.1") -> int:
    """Find a TCP port that nobody listens on, and that no outgoing connection is given meanwhile.

    A port that the system itself picks (port 0) is one of those of outgoing connections: between this call and the
    moment when a process listens, any connection of the machine may take it. Ports are tried in random order, so that
    processes which look at the same time rarely meet.

    Args:
        address: Address of this machine on which will be listened.

    Raises:
        OSError: No port of the range is free, or the address is not this machine's.

    Example:
        >>> from bionemo.testing.network_ports import free_port
        >>> 20_000 <= free_port() < 32_768
        True
    """
    ports = random.SystemRandom().sample(LISTENING_PORTS, 100)  # tests seed the other generator
    for port in ports:
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                refusal = error
            else:
                return port
    raise refusal
