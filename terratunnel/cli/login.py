"""`terratunnel login`, `logout` and `whoami`: a key for this user, approved in a browser. Used by `cli.main`.

Rule: the key goes from the server into the user's file; it is printed nowhere.
"""

from typing import TYPE_CHECKING, Final

import click

from terratunnel.cli import options
from terratunnel.cli.answers import say
from terratunnel.errors import TerratunnelError

if TYPE_CHECKING:
    from terratunnel.cli.calling import Reply
    from terratunnel.client.credentials import Credentials, CredentialStore

DEFAULT_SERVER: Final = "http://localhost:8000"
DEVICE: Final = "/api/auth/device"
MAX_WAIT_S: Final = 3_600.0


class LoginError(TerratunnelError):
    """There is no key; the sentence says why."""


def server_option(command: options.Command) -> options.Command:
    """`--server-url`, as the client has it."""
    return click.option(
        "--server-url",
        envvar="TERRATUNNEL_SERVER_URL",
        default="",
        help="The server: https, http, wss or ws.  [default: that of the latest login]",
    )(command)


@click.command()
@server_option
@click.option("--browser/--no-browser", default=True, help="Whether to open the page where you approve.")
@options.output_option
def login(server_url: str, browser: bool, output: str) -> None:
    """Get a key for this machine, and keep it."""
    from terratunnel.cli.calling import call
    from terratunnel.client.credentials import Credentials

    store = credential_store()
    path = store.prepare()  # before anybody approves a key that could not be kept
    latest = store.latest()
    url = server_url.strip() or (latest.server_url if latest else DEFAULT_SERVER)
    begun = call(url, "POST", DEVICE, {"client_name": _client_name()})
    _ask_for_approval(begun, browser, output)
    made = _wait(url, begun)
    kept = Credentials(url, made.text("api_key"), made.text("tunnel_url"))
    store.put(kept)
    username = call(url, "GET", "/api/auth/me", key=kept.api_key).text("username")
    sentence = (
        f"You are logged in at {url} as {username}; the key is kept in {path}.\n"
        f"Your service gets {kept.tunnel_url} with: terratunnel http 3000"
    )
    say(sentence, output, "logged_in", server_url=url, username=username, tunnel_url=kept.tunnel_url)


def _client_name() -> str:
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no such user, as in some containers
        user = "somebody"
    name = f"terratunnel login of {user} on {socket.gethostname()}"
    return "".join(char for char in name if char.isprintable())[:100]


def _ask_for_approval(begun: "Reply", browser: bool, output: str) -> None:
    """Show where to approve, and open it."""
    code, url = begun.text("user_code"), begun.text("verification_url_complete")
    # A browser opens much more than pages, and it is the server that chose this.
    if not url.startswith(("https://", "http://")):
        raise LoginError(f"The server's page {url} is no address of the web.")
    sentence = f"Approve this login at {url}\nThe page shows the code {code}; compare it. Waiting …"
    say(sentence, output, "approve", url=url, user_code=code)
    # A program decides by itself, and a browser in the terminal would write between its lines.
    if browser and output != options.JSON:
        _open(url)


def _open(url: str) -> None:
    import webbrowser

    try:
        webbrowser.open(url)
    except webbrowser.Error:
        return  # the URL is on the screen


def _wait(server_url: str, begun: "Reply") -> "Reply":
    """Ask until the login is approved or over; a server that restarts meanwhile is asked again."""
    import time

    from terratunnel.cli.calling import CallFailed, call

    body = {"device_code": begun.text("device_code")}
    every_s = begun.number("interval_s", 1, 60)
    until = time.monotonic() + begun.number("expires_in_s", 1, MAX_WAIT_S)
    while time.monotonic() < until:
        time.sleep(every_s)
        try:
            reply = call(server_url, "POST", f"{DEVICE}/token", body)
        except CallFailed as error:
            if error.status in (0, 429, 502, 503):
                continue
            raise
        if reply.status == 200:
            return reply
    raise LoginError("Nobody approved this login in time; start again with: terratunnel login")


@click.command()
@server_option
@options.output_option
def logout(server_url: str, output: str) -> None:
    """Forget the key of a server."""
    store = credential_store()
    kept = kept_for(store, server_url)
    if kept is None:
        raise LoginError(_not_logged_in(server_url))
    store.remove(kept.server_url)
    sentence = (
        f"The key of {kept.server_url} is forgotten here. It works until you make a new one on the server's pages, "
        "in case somebody has a copy."
    )
    say(sentence, output, "logged_out", server_url=kept.server_url)


@click.command()
@server_option
@options.output_option
def whoami(server_url: str, output: str) -> None:
    """Say who you are at a server."""
    from terratunnel.cli.calling import CallFailed, call

    kept = kept_for(credential_store(), server_url)
    if kept is None:
        raise LoginError(_not_logged_in(server_url))
    try:
        me = call(kept.server_url, "GET", "/api/auth/me", key=kept.api_key)
    except CallFailed as error:
        if error.status != 401:
            raise
        raise LoginError(f"{error} Log in again with: terratunnel login --server-url {kept.server_url}") from error
    username, provider = me.text("username"), me.text("provider")
    sentence = f"You are {username} ({provider}) at {kept.server_url}; your tunnel is {kept.tunnel_url}"
    named = {"server_url": kept.server_url, "tunnel_url": kept.tunnel_url}
    say(sentence, output, "whoami", username=username, provider=provider, **named)


def kept_for(store: "CredentialStore", server_url: str) -> "Credentials | None":
    """Return what is kept for a server, by default for that of the latest login."""
    return store.get(server_url.strip()) if server_url.strip() else store.latest()


def credential_store() -> "CredentialStore":
    """Return this user's keys."""
    from terratunnel.client.credentials import CredentialStore, default_config_dir

    return CredentialStore(default_config_dir())


def _not_logged_in(server_url: str) -> str:
    where = f" at {server_url.strip()}" if server_url.strip() else ""
    return f"You are not logged in{where}; do so with: terratunnel login --server-url https://tunnel.example.com"
