"""Builds the package: pure by default, with its hot modules compiled by mypyc when TERRATUNNEL_COMPILE=1.

Used by pip and by the Makefile. Rule: a compiled and a pure build behave alike; only speed differs.
"""

import os
from pathlib import Path
from typing import cast

from setuptools import Extension, setup

# The road of a request. A pattern without a match is skipped, so the list may follow the tree.
COMPILED = (
    "terratunnel/protocol/*.py",
    "terratunnel/http1/*.py",
    "terratunnel/mux/*.py",
    "terratunnel/forwarding/*.py",
    "terratunnel/server/edge/connection.py",
    "terratunnel/server/edge/exchange.py",
)


def compiled_sources() -> list[str]:
    """The modules to compile; packages' own `__init__` stay Python, they hold names only."""
    found = {str(path) for pattern in COMPILED for path in Path().glob(pattern)}
    return sorted(path for path in found if not path.endswith("__init__.py"))


def extensions() -> list[Extension]:
    """Empty for a pure build; mypyc is imported only when asked for, so nobody else has to have it."""
    if os.environ.get("TERRATUNNEL_COMPILE") != "1":
        return []
    from mypyc.build import mypycify

    # mypyc also names distutils' class in its type; setuptools has put its own in that place.
    return cast(list[Extension], mypycify(compiled_sources(), opt_level="3", debug_level="0"))


setup(ext_modules=extensions())
