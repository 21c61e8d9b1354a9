"""Terratunnel: a permanent public URL for a service on somebody's laptop.

The version below is the only one: packaging, `--version` and the handshake read it from here.
"""

__version__ = "0.1.0"
