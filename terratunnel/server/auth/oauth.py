"""Sign-in with GitHub and GitLab (OAuth 2, RFC 6749, with PKCE S256). Used by the pages and by the token exchange.

Rule (security.md A2): a callback counts once, within minutes, and only in the browser that began it; it leads back to a
path of ours and nowhere else.
"""

import hashlib
import hmac
import logging
import secrets
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from terratunnel.errors import TerratunnelError
from terratunnel.logs import escape
from terratunnel.server.auth.cookies import SetCookie, cookie_name, value_of
from terratunnel.server.auth.providers import KINDS, ProviderClient, ProviderFailed, TokenRefused
from terratunnel.server.config import AccountsConfig, ProviderConfig
from terratunnel.server.storage.users import Profile

log = logging.getLogger(__name__)

COOKIE: Final = "terratunnel_oauth"
STATE_SECONDS: Final = 600  # for somebody who has to find a password and a second factor first
MAX_USED_STATES: Final = 10_000
MAX_TOKEN_CHARS: Final = 4_096
MAX_PATH_CHARS: Final = 1_024
_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "terratunnel oauth"
_LOG_IN: Final = "get a key on its pages or by: terratunnel login"
_BEGIN_AGAIN: Final = "The sign-in was not begun in this browser, or too long ago; begin again."


class SignInFailed(TerratunnelError):
    """The sign-in came to nothing. `status`: 400 the browser's fault, 403 the user's will, 502 the provider's fault."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Redirection:
    """Where the browser goes, and the cookie that it takes along."""

    url: str
    cookie: SetCookie


@dataclass(frozen=True)
class SignedIn:
    """Who has signed in, where they wanted to go, and the cookie that ends the matter."""

    profile: Profile
    next_path: str
    cookie: SetCookie


def safe_path(text: str) -> str:
    """Return a path of this site, `/` for nothing. Raises SignInFailed for whatever might lead elsewhere."""
    if not text:
        return "/"
    # No // further on either: a client that drops the dots of /.//host has another site in its hands.
    wrong = not text.startswith("/") or "//" in text.partition("?")[0] or "\\" in text or len(text) > MAX_PATH_CHARS
    if wrong or not text.isascii() or not text.isprintable() or " " in text:
        raise SignInFailed(400, "redirect_uri is not a path of this site, like /tunnels/new.")
    return text


class OAuth:
    """The sign-in, for every provider that is configured."""

    def __init__(
        self,
        config: AccountsConfig,
        secret: bytes,
        base_url: Callable[[], str],
        secure: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.providers = config.providers
        self._config = config
        self._key = hashlib.sha256(b"terratunnel oauth state\0" + secret).digest()
        self._base_url = base_url
        self._secure = secure
        self._clock = clock
        self._used: OrderedDict[str, float] = OrderedDict()
        self._tls: ssl.SSLContext | None = None

    def begin(self, provider_name: str, redirect_uri: str = "") -> Redirection:
        """Send a browser to a provider. Raises SignInFailed."""
        provider = self._provider(provider_name)
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        claims = {
            "aud": _AUDIENCE,
            "exp": int(self._clock()) + STATE_SECONDS,
            "provider": provider.name,
            "state": state,
            "verifier": verifier,
            "next": safe_path(redirect_uri),
        }
        url = prepare_grant_uri(
            f"{provider.url}{KINDS[provider.name].authorize}",
            provider.client_id,
            "code",
            redirect_uri=self.callback_url(provider.name),
            scope=KINDS[provider.name].scope,
            state=state,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return Redirection(str(url), self._cookie(jwt.encode(claims, self._key, _ALGORITHM)))

    async def finish(self, provider_name: str, query: Mapping[str, str], cookies: Iterable[str]) -> SignedIn:
        """Take a browser's return from a provider. Raises SignInFailed."""
        provider = self._provider(provider_name)
        begun = self._begun(provider, query.get("state", ""), cookies)
        if "error" in query:
            log.info("sign_in_declined provider=%s error=%s", provider.name, escape(query["error"]))
            raise SignInFailed(403, f"{provider.label} did not let you in; begin again if that is not what you wanted.")
        request = prepare_token_request(
            "authorization_code",
            redirect_uri=self.callback_url(provider.name),
            code=query.get("code", ""),
            code_verifier=begun["verifier"],
            client_id=provider.client_id,
            client_secret=provider.client_secret,
        )
        try:
            client = self._client(provider)
            profile = await client.profile(await client.token(request))
        except ProviderFailed as error:
            raise SignInFailed(502, str(error)) from error
        return SignedIn(profile, safe_path(str(begun["next"])), self._cookie(""))

    async def exchange_token(self, provider_name: str, token: str) -> Profile:
        """Return whose token of a provider it is. Raises SignInFailed: 401 for a token that is not accepted."""
        provider = self._provider(provider_name)
        if self._config.token_exchange == "off":
            raise SignInFailed(403, "This server gives no keys for tokens; sign in on its pages.")
        if not token or len(token) > MAX_TOKEN_CHARS or not token.isascii() or not token.isprintable():
            raise SignInFailed(401, f"This is no token of {provider.label}.")
        client = self._client(provider)
        try:
            if self._config.token_exchange == "own" and not await client.issued_to_us(token):
                raise SignInFailed(401, f"{provider.label} has not given this token to this server's app; {_LOG_IN}")
            return await client.profile(token)
        except TokenRefused as error:
            raise SignInFailed(401, str(error)) from error
        except ProviderFailed as error:
            raise SignInFailed(502, str(error)) from error

    def callback_url(self, provider_name: str) -> str:
        """Return where a provider sends browsers back to; it is what an OAuth app is registered with."""
        return f"{self._base_url()}/auth/{provider_name}/callback"

    def _provider(self, name: str) -> ProviderConfig:
        provider = self._config.provider(name)
        if provider is None:
            raise SignInFailed(404, "This server has no sign-in of that name.")
        return provider

    def _client(self, provider: ProviderConfig) -> ProviderClient:
        if self._tls is None:  # reading the authorities takes a moment
            self._tls = ssl.create_default_context()
        return ProviderClient(provider, self._tls)

    def _cookie(self, value: str) -> SetCookie:
        return SetCookie(cookie_name(COOKIE, self._secure), value, STATE_SECONDS, self._secure)

    def _begun(self, provider: ProviderConfig, state: str, cookies: Iterable[str]) -> Mapping[str, Any]:
        """Return what was kept in the browser, if this is its callback and the first one."""
        token = value_of(cookies, cookie_name(COOKIE, self._secure))
        options: Any = {"require": ["aud", "exp"], "verify_exp": False}
        try:
            claims = jwt.decode(token or "", self._key, algorithms=[_ALGORITHM], audience=_AUDIENCE, options=options)
        except jwt.InvalidTokenError as error:
            raise SignInFailed(400, _BEGIN_AGAIN) from error
        known = str(claims["state"])
        same = hmac.compare_digest(known.encode(), state.encode()) and claims["provider"] == provider.name
        if not same or claims["exp"] <= self._clock() or not self._use(known):
            raise SignInFailed(400, _BEGIN_AGAIN)
        return claims

    def _use(self, state: str) -> bool:
        """Use a state up; False when it was before."""
        now = self._clock()
        while self._used and (len(self._used) >= MAX_USED_STATES or next(iter(self._used.values())) <= now):
            self._used.popitem(last=False)
        if state in self._used:
            return False
        self._used[state] = now + STATE_SECONDS
        return True
