"""What a person may write for a local endpoint, and what is said of the rest."""

import pytest

from terratunnel.forwarding.endpoint import EndpointError, parse_endpoint


@pytest.mark.parametrize(
    ("text", "host", "port", "tls", "path", "shown"),
    [
        ("http://localhost:3000", "localhost", 3000, False, None, "http://localhost:3000"),
        ("http://127.0.0.1", "127.0.0.1", 80, False, None, "http://127.0.0.1"),
        ("https://box", "box", 443, True, None, "https://box"),
        ("HTTPS://Box:8443/", "box", 8443, True, None, "https://Box:8443"),
        ("http://[::1]:3000", "::1", 3000, False, None, "http://[::1]:3000"),
        ("unix:/run/app.sock", "localhost", 0, False, "/run/app.sock", "unix:/run/app.sock"),
        ("unix:///run/app.sock", "localhost", 0, False, "/run/app.sock", "unix:///run/app.sock"),
    ],
)
def test_an_endpoint_is_read(text: str, host: str, port: int, tls: bool, path: str | None, shown: str) -> None:
    endpoint = parse_endpoint(text)
    assert (endpoint.host, endpoint.port, endpoint.tls, endpoint.path) == (host, port, tls, path)
    assert str(endpoint) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3000",
        "localhost:3000",
        "ftp://localhost",
        "http://",
        "http://:80",
        "http://localhost:99999",
        "http://localhost:http",
        "http://[::1",
        "http://localhost/path",
        "http://localhost?x",
        "http://localhost#x",
        "http://me:secret@localhost",
        "http://:secret@localhost",
        "http://localhost:0",
        "unix:",
        "unix://",
    ],
)
def test_an_endpoint_that_cannot_be_used_is_explained(text: str) -> None:
    with pytest.raises(EndpointError) as caught:
        parse_endpoint(text)
    assert repr(text) in str(caught.value)
    assert str(caught.value).endswith((".", "/path."))
