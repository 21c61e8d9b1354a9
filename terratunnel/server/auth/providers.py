"""What differs between GitHub and GitLab: addresses, scopes, and how each describes a user. Used by the sign-in.

Rule: a provider's answer is checked before anything is made of it; whatever is wrong with it is ProviderFailed.
"""

import json
import ssl
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from terratunnel.errors import TerratunnelError
from terratunnel.server.config import ProviderConfig
from terratunnel.server.names import is_valid_username
from terratunnel.server.storage.users import Profile

if TYPE_CHECKING:
    import httpx

TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 1_048_576
MAX_FIELD_CHARS: Final = 1_000


class ProviderFailed(TerratunnelError):
    """The provider did not answer, or not as it should."""


class TokenRefused(ProviderFailed):
    """The provider does not take this token."""


@dataclass(frozen=True)
class Kind:
    """One kind of provider (product.md §2: scopes)."""

    scope: str
    authorize: str
    token: str
    user: str


KINDS: Final = {
    "github": Kind("read:user user:email", "/login/oauth/authorize", "/login/oauth/access_token", "/user"),
    "gitlab": Kind("read_user", "/oauth/authorize", "/oauth/token", "/user"),
}


class ProviderClient:
    """Asks one provider. Each question is a connection of its own: sign-ins are rare."""

    def __init__(self, config: ProviderConfig, tls: ssl.SSLContext) -> None:
        self.config = config
        self.kind = KINDS[config.name]
        self._tls = tls

    async def token(self, body: str) -> str:
        """Send a token request (RFC 6749 §4.1.3); return the access token. Raises ProviderFailed."""
        answer = await self._ask(
            "POST",
            f"{self.config.url}{self.kind.token}",
            content=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        if not isinstance(answer, dict) or answer.get("error") or not _text(answer.get("access_token")):
            raise TokenRefused(f"{self.config.label} did not accept the sign-in; begin again.")
        return str(answer["access_token"])

    async def profile(self, token: str) -> Profile:
        """Return whose token it is. Raises ProviderFailed."""
        found = await self._ask("GET", f"{self.config.api_url}{self.kind.user}", token=token)
        profile = _profile(self.config, found)
        if profile.email is None and self.config.name == "github":
            return await self._with_email(profile, token)
        return profile

    async def issued_to_us(self, token: str) -> bool:
        """Whether a token was given to our own OAuth app, not to another one. Raises ProviderFailed."""
        ours = (self.config.client_id, self.config.client_secret)
        try:
            if self.config.name == "github":
                url = f"{self.config.api_url}/applications/{self.config.client_id}/token"
                await self._ask("POST", url, json={"access_token": token}, auth=ours)
                return True
            found = await self._ask("GET", f"{self.config.url}/oauth/token/info", token=token)
        except TokenRefused:
            return False
        application = found.get("application") if isinstance(found, dict) else None
        return isinstance(application, dict) and application.get("uid") == self.config.client_id

    async def _with_email(self, profile: Profile, token: str) -> Profile:
        """GitHub tells a hidden address only by its own list."""
        try:
            found = await self._ask("GET", f"{self.config.api_url}/user/emails", token=token)
        except TokenRefused:  # its scope does not reach so far
            return profile
        for item in found if isinstance(found, list) else []:
            if isinstance(item, dict) and item.get("primary") is True and item.get("verified") is True:
                return replace(profile, email=_text(item.get("email")))
        return profile

    async def _ask(self, method: str, url: str, token: str = "", **options: Any) -> Any:
        import httpx  # here: it takes a tenth of a second, and a server starts more often than somebody signs in

        headers = {"Accept": "application/json", "User-Agent": "terratunnel", **options.pop("headers", {})}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with (
                httpx.AsyncClient(verify=self._tls, timeout=TIMEOUT_S) as client,
                client.stream(method, url, headers=headers, **options) as response,
            ):
                return await self._answer(response)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderFailed(f"{self.config.label} does not answer; try again in a moment.") from error

    async def _answer(self, response: "httpx.Response") -> Any:
        body = b""
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                raise ProviderFailed(f"{self.config.label} sent an answer that is too long.")
        if response.status_code in (400, 401, 403, 404, 422):
            raise TokenRefused(f"{self.config.label} does not accept this token.")
        if response.status_code != 200:
            raise ProviderFailed(f"{self.config.label} answered {response.status_code}; try again in a moment.")
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ProviderFailed(f"{self.config.label} sent an answer that is no JSON.") from error


def _profile(config: ProviderConfig, found: Any) -> Profile:
    user: Mapping[str, Any] = found if isinstance(found, dict) else {}
    number = user.get("id")
    username = _text(user.get("login" if config.name == "github" else "username"))
    if not isinstance(number, int) or isinstance(number, bool) or not is_valid_username(username or ""):
        raise ProviderFailed(f"{config.label} did not say who you are.")
    picture = _text(user.get("avatar_url"))
    if picture is not None and not picture.startswith("https://"):
        picture = None  # the pages show it as it is
    email, name = _text(user.get("email")), _text(user.get("name"))
    return Profile(config.name, str(number), str(username), email, name, picture)


def _text(value: object) -> str | None:
    """Return a text of a sane length that every database takes, or None."""
    if not isinstance(value, str) or len(value) > MAX_FIELD_CHARS:
        return None
    return "".join(filter(_is_storable, value)) or None


def _is_storable(char: str) -> bool:
    return unicodedata.category(char) not in ("Cc", "Cs")
