"""Another host on this machine: a network namespace behind a virtual cable. Used to let a host vanish for real.

Rule: it needs root and `ip`, changes nothing but what it made, and nothing leaves the machine.
"""

import os
import shutil
import subprocess
from ipaddress import ip_address
from typing import Final

AVAILABLE: Final = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("ip") is not None
# 198.18.0.0/15, which is nobody's (RFC 2544), has a subnet of four addresses for each process that may run the tests.
_SUBNET: Final = ip_address("198.18.0.0") + 4 * (os.getpid() % 32_768)
HERE: Final = str(_SUBNET + 1)
_THERE: Final = str(_SUBNET + 2)


class OtherHost:
    """Reaches this machine at HERE. `prefix` before a command runs it there."""

    def __init__(self) -> None:
        self._name = f"tt{os.getpid()}"
        self.prefix = ["ip", "netns", "exec", self._name]

    def __enter__(self) -> "OtherHost":
        ip("netns", "add", self._name)
        try:
            ip("link", "add", self._name, "type", "veth", "peer", "name", "there", "netns", self._name)
            ip("address", "add", f"{HERE}/30", "dev", self._name)
            ip("link", "set", self._name, "up")
            self._ip("address", "add", f"{_THERE}/30", "dev", "there")
            self._ip("link", "set", "lo", "up")
            self.come_back()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        ip("netns", "delete", self._name)

    def vanish(self) -> None:
        """Its cable is pulled: no packet gets here or there, and no connection is closed."""
        self._ip("link", "set", "there", "down")

    def come_back(self) -> None:
        """The cable is in again."""
        self._ip("link", "set", "there", "up")

    def _ip(self, *arguments: str) -> None:
        ip("-netns", self._name, *arguments)


def ip(*arguments: str) -> None:
    """Run `ip`; its error is the test's."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)
