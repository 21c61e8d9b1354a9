"""Which Host values are taken, and what name they route to."""

import pytest

from terratunnel.http1 import hosts
from terratunnel.http1.hosts import hostname, is_authority


@pytest.mark.parametrize(
    "host",
    [b"a", b"happy-panda.localhost", b"a.b:1", b"A_b.example.", b"127.0.0.1:65535", b"[::1]", b"[fe80::1]:8000"],
)
def test_a_name_or_an_address_with_or_without_port_is_an_authority(host: bytes) -> None:
    assert is_authority(host)


@pytest.mark.parametrize(
    "host",
    [
        b"", b".", b":80", b"a:", b"a:x", b"a:123456", b"a:1:2", b"user@a", b"a/../x?y", b"a b", b"a,b", b"%61",
        b"a\x80", b"[]", b"[::1", b"[a]", b"[::1]80", b"[::1]:", b"[::g]", b"[::1]]", b"::1", b"a[::1]", b"a#b",
        b"a\\b", b"a:\xb2",
    ],
)  # fmt: skip
def test_anything_else_is_none(host: bytes) -> None:
    assert not is_authority(host)
    assert hostname(host) == ""


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"Happy-Panda.LocalHost:8000", "happy-panda.localhost"),
        (b"a.example.", "a.example"),
        (b"a.example.:80", "a.example"),
        (b"[::1]:8000", "[::1]"),
        (b"[FE80::1]", "[fe80::1]"),
    ],
)
def test_a_hostname_has_no_case_port_or_final_dot(host: bytes, name: str) -> None:
    assert hostname(host) == name


def test_names_are_remembered_within_a_bound() -> None:
    for n in range(3000):
        assert hostname(b"A%d.localhost:80" % n) == f"a{n}.localhost"
    assert 0 < len(hosts._hostnames) <= 1024


@pytest.mark.parametrize(("start", "end"), [(b"", b":65535"), (b"", b""), (b"[::", b"]")])
def test_a_host_longer_than_any_name_is_none_and_is_not_remembered(start: bytes, end: bytes) -> None:
    digits = b"1" * (261 - len(start) - len(end))
    assert is_authority(start + digits + end)
    long = start + digits + b"1" + end
    assert not is_authority(long)
    assert long not in hosts._hostnames
