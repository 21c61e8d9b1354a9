"""What the API takes: nothing unknown, and nothing that is nearly right."""

import pytest
from pydantic import ValidationError

from terratunnel.server.control.schemas import DeviceStart, GithubExchange, ProviderExchange, Query


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (GithubExchange, {"github_token": 5}),
        (GithubExchange, {"github_token": ""}),
        (GithubExchange, {"github_token": "x", "else": 1}),
        (GithubExchange, {"github_token": "x", "api_key_name": "n" * 101}),
        (ProviderExchange, {"provider": "bitbucket", "token": "x"}),
        (ProviderExchange, {"provider": "gitlab"}),
        (DeviceStart, {"client_name": "n" * 101}),
        (Query, {"sql": ""}),
        (Query, {"sql": "x" * 10_001}),
    ],
)
def test_what_is_not_as_described_is_refused(model: type[GithubExchange], given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(given)
