"""The server's configuration: what cannot work is said in a sentence, and where URLs come from."""

from dataclasses import replace

import pytest

from terratunnel.server.config import AccountsConfig, ConfigError, ProviderConfig, ServerConfig

LOCAL = ServerConfig()
PRODUCTION = ServerConfig(domain="tunnel.example.com")


@pytest.mark.parametrize("domain", ["localhost", "app.localhost", "tunnel.example.com", "a-b.example"])
def test_a_host_name_is_a_domain(domain: str) -> None:
    replace(LOCAL, domain=domain).check()


@pytest.mark.parametrize("domain", ["", "a..b", ".a", "a b", "a/b", "exämple.com", "a:80", "http://a", "a_b"])
def test_anything_else_is_not(domain: str) -> None:
    with pytest.raises(ConfigError, match="is not a host name"):
        replace(LOCAL, domain=domain).check()


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_is_in_range(port: int) -> None:
    with pytest.raises(ConfigError, match="not between 0 and 65535"):
        replace(LOCAL, port=port).check()


@pytest.mark.parametrize("url", ["tunnel.example.com", "ftp://a", "https://", "https://a/path"])
def test_a_public_url_is_a_scheme_and_a_host(url: str) -> None:
    with pytest.raises(ConfigError, match="is not like"):
        replace(LOCAL, public_url=url).check()


@pytest.mark.parametrize(
    ("config", "base", "tunnel"),
    [
        (LOCAL, "http://localhost:8000", "http://app.localhost:8000"),
        (PRODUCTION, "https://tunnel.example.com", "https://app.tunnel.example.com"),
        (
            replace(PRODUCTION, public_url="http://tunnel.example.com:8080/"),
            "http://tunnel.example.com:8080",
            "http://app.tunnel.example.com:8080",
        ),
    ],
)
def test_urls_are_made_from_the_configuration(config: ServerConfig, base: str, tunnel: str) -> None:
    config.check()
    assert config.base_url(8000) == base
    assert config.tunnel_url("app", 8000) == tunnel


@pytest.mark.parametrize(("domain", "local"), [("localhost", True), ("a.localhost", True), ("localhost.com", False)])
def test_local_is_localhost_and_what_is_below_it(domain: str, local: bool) -> None:
    assert replace(LOCAL, domain=domain).is_local is local


@pytest.mark.parametrize(("config", "secure"), [(LOCAL, False), (PRODUCTION, True)])
def test_the_pages_are_secure_where_their_url_is(config: ServerConfig, secure: bool) -> None:
    assert config.is_secure is secure
    assert replace(config, public_url="http://tunnel.example.com").is_secure is False


# ---------------------------------------------------------------------- accounts

APP = ProviderConfig("github", "GitHub", "id", "secret", "https://github.com", "https://api.github.com")


def test_a_provider_is_found_by_its_name() -> None:
    config = AccountsConfig((APP,))
    assert config.provider("github") is APP
    assert config.provider("gitlab") is None


@pytest.mark.parametrize(("name", "admin"), [("root", True), ("Root", True), ("root2", False), ("", False)])
def test_an_administrator_is_a_name_at_a_provider(name: str, admin: bool) -> None:
    config = AccountsConfig(admins=frozenset({("github", "root")}))
    assert config.is_admin("github", name) is admin
    assert not config.is_admin("gitlab", name)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (replace(APP, client_id=""), "GITHUB_CLIENT_ID is not set"),
        (replace(APP, client_secret=""), "GITHUB_CLIENT_SECRET is not set"),
        (replace(APP, url="github.com"), "is not like https://github.example.com"),
        (replace(APP, api_url="ftp://github.com"), "is not like https://github.example.com"),
        (replace(APP, api_url="https://"), "is not like https://github.example.com"),
        (replace(APP, url="https://github.com?x"), "is not like https://github.example.com"),
    ],
)
def test_half_a_provider_is_refused_with_the_rest_of_the_configuration(wrong: ProviderConfig, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(LOCAL, accounts=AccountsConfig((wrong,))).check()
