"""Who may sign in, as the environment says it."""

import pytest

from terratunnel.cli.accounts import accounts_config, database_variable, user_names
from terratunnel.server.config import AccountsConfig, ConfigError, ProviderConfig

NAMES = (
    *("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET", "GITHUB_URL", "GITHUB_API_URL"),
    *("GITLAB_CLIENT_ID", "GITLAB_CLIENT_SECRET", "GITLAB_URL"),
    *("TERRATUNNEL_GITHUB_ADMIN_USERS", "TERRATUNNEL_GITLAB_ADMIN_USERS", "TERRATUNNEL_LOCAL_ADMIN_USERS"),
    *("JWT_ALGORITHM", "JWT_EXPIRATION_HOURS", "TERRATUNNEL_TOKEN_EXCHANGE", "TERRATUNNEL_AUDIT_RETENTION_DAYS"),
    "TERRATUNNEL_DATABASE_URL",
)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> AccountsConfig:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = accounts_config()
    config.check()
    return config


def test_the_defaults_are_those_of_the_configuration() -> None:
    assert accounts_config() == AccountsConfig()
    assert database_variable() == ""


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_variable_is_one_that_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, **{name: " "}) == AccountsConfig()


def test_every_variable_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    config = given(
        monkeypatch,
        GITHUB_CLIENT_ID="hub",
        GITHUB_CLIENT_SECRET="hub-secret",
        GITLAB_CLIENT_ID="lab",
        GITLAB_CLIENT_SECRET="lab-secret",
        TERRATUNNEL_GITHUB_ADMIN_USERS="Root, @alice ,",
        TERRATUNNEL_GITLAB_ADMIN_USERS="bob.b",
        TERRATUNNEL_LOCAL_ADMIN_USERS="demo",
        JWT_ALGORITHM="HS512",
        JWT_EXPIRATION_HOURS="1.5",
        TERRATUNNEL_AUDIT_RETENTION_DAYS="90",
        TERRATUNNEL_TOKEN_EXCHANGE="own",
    )
    assert config.providers == (
        ProviderConfig("github", "GitHub", "hub", "hub-secret", "https://github.com", "https://api.github.com"),
        ProviderConfig("gitlab", "GitLab", "lab", "lab-secret", "https://gitlab.com", "https://gitlab.com/api/v4"),
    )
    assert config.admins == {("github", "root"), ("github", "alice"), ("gitlab", "bob.b"), ("local", "demo")}
    assert (config.algorithm, config.session_hours, config.audit_retention_days) == ("HS512", 1.5, 90.0)
    assert config.token_exchange == "own"


def test_providers_of_ones_own_are_found_at_their_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    config = given(
        monkeypatch,
        GITHUB_CLIENT_ID="hub",
        GITHUB_CLIENT_SECRET="secret",
        GITHUB_URL="https://github.example.com/",
        GITLAB_CLIENT_ID="lab",
        GITLAB_CLIENT_SECRET="secret",
        GITLAB_URL="https://example.com/gitlab",
    )
    assert [(each.url, each.api_url) for each in config.providers] == [
        ("https://github.example.com", "https://github.example.com/api/v3"),
        ("https://example.com/gitlab", "https://example.com/gitlab/api/v4"),
    ]
    monkeypatch.setenv("GITHUB_API_URL", "https://api.example.com/")
    assert accounts_config().providers[0].api_url == "https://api.example.com"


def test_the_database_is_another_one_if_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRATUNNEL_DATABASE_URL", "postgresql://localhost/tunnels")
    assert database_variable() == "postgresql://localhost/tunnels"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"GITHUB_CLIENT_ID": "hub"}, "GITHUB_CLIENT_SECRET is not set"),
        ({"GITLAB_CLIENT_SECRET": "hush"}, "GITLAB_CLIENT_ID is not set"),
        ({"JWT_ALGORITHM": "none"}, "JWT_ALGORITHM is not one of HS256, HS384, HS512"),
        ({"JWT_ALGORITHM": "RS256"}, "JWT_ALGORITHM is not one of"),
        ({"JWT_EXPIRATION_HOURS": "a day"}, "JWT_EXPIRATION_HOURS is 'a day', which is no number"),
        ({"JWT_EXPIRATION_HOURS": "-1"}, "no number of at least 0"),
        ({"JWT_EXPIRATION_HOURS": "nan"}, "no number of at least 0"),
        ({"JWT_EXPIRATION_HOURS": "inf"}, "no number of at least 0"),
        ({"JWT_EXPIRATION_HOURS": "0"}, "not above 0 and at most 8760"),
        ({"JWT_EXPIRATION_HOURS": "9000"}, "not above 0 and at most 8760"),
        ({"TERRATUNNEL_AUDIT_RETENTION_DAYS": "30d"}, "TERRATUNNEL_AUDIT_RETENTION_DAYS is '30d'"),
        ({"TERRATUNNEL_TOKEN_EXCHANGE": "yes"}, "TERRATUNNEL_TOKEN_EXCHANGE is not one of own, any, off"),
        ({"TERRATUNNEL_GITHUB_ADMIN_USERS": "alice; bob"}, "holds 'alice; bob', which is no user name"),
        ({"TERRATUNNEL_GITLAB_ADMIN_USERS": "al\u0456ce"}, "which is no user name"),
        (
            {"GITHUB_CLIENT_ID": "hub", "GITHUB_CLIENT_SECRET": "hush", "GITHUB_URL": "github.com"},
            "The GitHub URL 'github.com' is not like https://github.example.com",
        ),
    ],
)
def test_what_cannot_be_meant_is_said_and_opens_nothing(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        given(monkeypatch, **variables)
    assert "hush" not in str(refused.value)


def test_no_administrators_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRATUNNEL_GITHUB_ADMIN_USERS", " , ,")
    assert user_names("TERRATUNNEL_GITHUB_ADMIN_USERS") == []
    assert not accounts_config().is_admin("github", "")
