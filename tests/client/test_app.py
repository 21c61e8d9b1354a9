"""The client against a real server and rude ones: it connects, comes back, and ends as it should."""

import asyncio
import json
import socket
import ssl
from pathlib import Path

import pytest

from terratunnel.client.app import NAME_A_SERVER, ExitStatus
from terratunnel.client.config import ClientConfig, ConfigError
from terratunnel.client.tokens import TokenStore
from terratunnel.client.wake import SleepDetector
from terratunnel.forwarding.endpoint import EndpointError
from terratunnel.protocol.errors import GoAwayCode
from terratunnel.server.app import Server
from tests import certificates
from tests.client.lab import (
    HOST,
    LIMIT_S,
    OK,
    Handler,
    answer_ok,
    ask,
    config_for,
    ended,
    listening,
    relay_to,
    running,
    serving,
)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def agents(server: Server) -> list[str]:
    return [route.name for route in server.routes.routes() if route.name]


def say_goaway(server: Server, code: GoAwayCode, reason: str) -> None:
    for route in server.routes.routes():
        if route.name:
            route.connection.close(code, reason)


def refusing(status: bytes, body: bytes = b"{}") -> Handler:
    """A server that answers every handshake in its own way."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    return refuse


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


class Gate:
    """A local service that answers when the test says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked.set()
        await self.answer.wait()
        writer.write(OK)


# ---------------------------------------------------------------------- connecting


async def test_a_request_reaches_the_service_and_the_screen(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as server,
        listening(answer_ok) as local,
        running(config_for(server.port, local)) as (_, screen, _),
    ):
        tunnel = await screen.wait_for("online")
        assert tunnel.url == f"http://{tunnel.hostname}:{server.port}"
        assert tunnel.local_endpoint == f"http://{HOST}:{local}"
        assert await ask(server.port, tunnel.hostname, "/hook?a=%2F") == (200, b"ok")
        assert await screen.wait_for("exchange") == (b"GET", b"/hook?a=%2F", 200, "")


async def test_a_key_gives_its_own_name(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, require_auth=True) as server,
        running(config_for(server.port, 1, api_key="sesame")) as (_, screen, _),
    ):
        assert (await screen.wait_for("online")).hostname == "my-app.localhost"


async def test_a_local_service_that_is_down_is_told_to_both_sides(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, running(config_for(server.port, free_port())) as (_, screen, _):
        tunnel = await screen.wait_for("online")
        status, body = await ask(server.port, tunnel.hostname)
        _, _, own_status, error = await screen.wait_for("exchange")
    assert (status, own_status) == (502, 502)
    assert "cannot be reached" in error
    assert error in json.loads(body)["message"]


async def test_the_name_stays_over_a_restart_of_the_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        config = config_for(server.port, 1, state_dir=tmp_path / "state")
        names = []
        for _ in range(2):
            async with running(config) as (_, screen, _):
                names.append((await screen.wait_for("online")).hostname)
    assert names[0] == names[1]


async def test_two_services_of_one_user_have_two_names(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        names = []
        for local in (1, 2):
            async with running(config_for(server.port, local, state_dir=tmp_path / "state")) as (_, screen, _):
                names.append((await screen.wait_for("online")).hostname)
    assert names[0] != names[1]


async def test_a_token_is_not_shown_beside_a_key(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    async with listening(note) as port:
        anonymous = config_for(port, 3000, state_dir=tmp_path)
        TokenStore(tmp_path).put(anonymous.server_url, anonymous.local_endpoint, "my-token")
        for config in (anonymous, config_for(port, 3000, state_dir=tmp_path, api_key="sesame")):
            async with running(config) as (_, _, task):
                await ended(task)
    without, with_key = heads
    assert b"\r\nTerratunnel-Token: my-token\r\n" in without
    assert b"Authorization" not in without
    assert b"\r\nAuthorization: Bearer sesame\r\n" in with_key
    assert b"Token" not in with_key
    assert b"\r\nTerratunnel-Local-Endpoint: http://127.0.0.1:3000\r\n" in without
    assert b"\r\nUser-Agent: terratunnel/" in without


# ---------------------------------------------------------------------- refusals and a server that is not there


@pytest.mark.parametrize("status", [b"401 Unauthorized", b"403 Forbidden", b"426 Upgrade Required"])
async def test_a_refusal_is_final_and_says_why(status: bytes) -> None:
    async with (
        listening(refusing(status, b'{"message": "No key, no tunnel."}')) as port,
        running(config_for(port, 1)) as (client, screen, task),
    ):
        outcome = await ended(task)
        assert outcome.status is ExitStatus.REFUSED
        assert outcome.reason == "The server refuses this client: No key, no tunnel."
        assert screen.names() == ["connecting", "refused"]
        assert client.status()["running"] is False


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (refusing(b"409 Conflict", b'{"message": "The name is in use."}'), "it answers 409, The name is in use."),
        (refusing(b"503 Service Unavailable"), "it answers 503"),
        (refusing(b"404 Not Found", b"<html>nginx</html>"), "it answers 404"),
        (refusing(b"200 OK"), "it answers 200"),
    ],
)
async def test_other_answers_are_worth_another_try(handler: Handler, words: str) -> None:
    async with listening(handler) as port, running(config_for(port, 1)) as (_, screen, _):
        first, second = await screen.wait_for("reconnecting"), await screen.wait_for("reconnecting")
    assert first[0] == 0.0 < second[0]
    assert words in first[1]


async def test_something_that_speaks_no_http_is_named_as_that() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        await reader.read()

    async with listening(greet) as port, running(config_for(port, 1)) as (_, screen, _):
        assert "not HTTP" in (await screen.wait_for("reconnecting"))[1]


async def test_a_server_that_does_not_answer_is_not_waited_for_long() -> None:
    async with listening(silent) as port, running(config_for(port, 1, handshake_timeout_s=0.05)) as (_, screen, _):
        assert "did not answer in time" in (await screen.wait_for("reconnecting"))[1]


async def test_a_server_that_was_never_there_is_given_up_on() -> None:
    port = free_port()
    async with running(config_for(port, 1, first_link_s=0.2)) as (_, screen, task):
        outcome = await ended(task)
    assert outcome.status is ExitStatus.ERROR
    assert outcome.reason == f"The server at ws://{HOST}:{port} cannot be reached: Connection refused."
    assert screen.events[-1] == ("closed", (outcome.reason, True))
    assert "reconnecting" in screen.names()


async def test_one_who_named_no_server_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"ws://{HOST}:{free_port()}"
    monkeypatch.setattr("terratunnel.client.app.DEFAULT_SERVER_URL", url)
    async with running(ClientConfig(url, "http://localhost:1", first_link_s=0.0)) as (_, _, task):
        assert (await ended(task)).reason.endswith(NAME_A_SERVER)


async def test_a_server_that_starts_a_moment_later_is_found(tmp_path: Path) -> None:
    port = free_port()
    async with running(config_for(port, 1)) as (_, screen, _):
        await screen.wait_for("reconnecting")
        async with serving(tmp_path, port):
            await screen.wait_for("online")


async def test_a_name_that_does_not_exist_is_told() -> None:
    config = ClientConfig("ws://no-such-host.invalid", "http://localhost:1", first_link_s=0.0)
    async with running(config) as (_, _, task):
        outcome = await ended(task)
    assert outcome.status is ExitStatus.ERROR
    assert outcome.reason.startswith("The server at ws://no-such-host.invalid cannot be reached: ")


async def test_what_says_tls_is_never_downgraded() -> None:
    heard: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(5))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with listening(plain) as port:
        for scheme in ("wss", "https"):
            config = ClientConfig(f"{scheme}://{HOST}:{port}", "http://localhost:1", first_link_s=0.0)
            async with running(config, context=ssl.create_default_context()) as (_, _, task):
                assert (await ended(task)).status is ExitStatus.ERROR
    assert [data[:2] for data in heard] == [b"\x16\x03", b"\x16\x03"]


async def test_a_server_behind_tls_is_reached_and_verified(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as server,
        listening(answer_ok) as local,
        listening(relay_to(server.port), tls=certificates.server_context()) as port,
        running(
            ClientConfig(f"wss://localhost:{port}", f"http://{HOST}:{local}"), context=certificates.client_context()
        ) as (_, screen, _),
    ):
        tunnel = await screen.wait_for("online")
        assert await ask(server.port, tunnel.hostname) == (200, b"ok")


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as server,
        listening(relay_to(server.port), tls=certificates.server_context()) as port,
        running(ClientConfig(f"wss://localhost:{port}", "http://localhost:1", first_link_s=0.0)) as (_, screen, task),
    ):
        outcome = await ended(task)
        assert outcome.status is ExitStatus.ERROR
        assert "its certificate cannot be trusted (unable to get local issuer certificate)" in outcome.reason
        assert "online" not in screen.names()


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (ClientConfig("nonsense", "http://localhost:1"), ConfigError),
        (ClientConfig("ws://localhost:1", "nonsense"), EndpointError),
    ],
)
async def test_a_setting_that_cannot_work_is_found_before_connecting(
    config: ClientConfig, error: type[Exception]
) -> None:
    async with running(config) as (_, screen, task):
        with pytest.raises(error):
            await ended(task)
        assert screen.events == []


# ---------------------------------------------------------------------- coming back


async def test_the_client_is_back_when_its_server_is(tmp_path: Path) -> None:
    async with listening(answer_ok) as local:
        port = free_port()
        async with running(config_for(port, local)) as (client, screen, _):
            async with serving(tmp_path, port):
                before = await screen.wait_for("online")
            await screen.wait_for("reconnecting")
            assert client.status()["connected"] is False
            async with serving(tmp_path, port) as server:
                after = await screen.wait_for("online")
                assert after.hostname == before.hostname
                assert await ask(server.port, after.hostname) == (200, b"ok")
            assert client.status()["reconnect_attempts"] != 0


async def test_a_server_that_was_there_is_never_given_up_on(tmp_path: Path) -> None:
    now = [0.0]
    port = free_port()
    async with running(config_for(port, 1, first_link_s=1.0), clock=lambda: now[0]) as (_, screen, _):
        async with serving(tmp_path, port):
            await screen.wait_for("online")
        now[0] = 86_400.0
        await screen.wait_for("reconnecting")
        await screen.wait_for("reconnecting")
        async with serving(tmp_path, port):
            await screen.wait_for("online")


async def test_a_request_under_way_when_the_link_drops_is_not_repeated(tmp_path: Path) -> None:
    gate = Gate()
    asked = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await gate(reader, writer)

    async with (
        serving(tmp_path) as server,
        listening(count) as local,
        running(config_for(server.port, local)) as (_, screen, _),
    ):
        tunnel = await screen.wait_for("online")
        visit = asyncio.create_task(ask(server.port, tunnel.hostname))
        await gate.asked.wait()
        for route in server.routes.routes():
            if route.name:
                route.connection.link.abort()
        assert (await visit)[0] == 502
        await screen.wait_for("online")
        gate.answer.set()
        assert (await ask(server.port, tunnel.hostname))[0] == 200
    assert asked == 2


async def test_a_draining_server_is_left_at_once_and_its_request_finished(tmp_path: Path) -> None:
    gate = Gate()
    async with (
        serving(tmp_path) as server,
        listening(gate) as local,
        running(config_for(server.port, local)) as (_, screen, _),
    ):
        tunnel = await screen.wait_for("online")
        visit = asyncio.create_task(ask(server.port, tunnel.hostname))
        await gate.asked.wait()
        say_goaway(server, GoAwayCode.DRAINING, "restarting")
        delay_s, reason = await screen.wait_for("reconnecting")
        assert (delay_s, reason) == (0.0, "The link to the server is gone: restarting.")
        await screen.wait_for("online")
        gate.answer.set()
        assert await visit == (200, b"ok")


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        (GoAwayCode.NORMAL, ExitStatus.ENDED, "The server ended the tunnel: because."),
        (GoAwayCode.REPLACED, ExitStatus.REPLACED, "This tunnel was taken over: because."),
        (GoAwayCode.REVOKED, ExitStatus.REFUSED, "The key of this tunnel was revoked: because."),
    ],
)
async def test_some_goodbyes_are_final(tmp_path: Path, code: GoAwayCode, status: ExitStatus, words: str) -> None:
    async with serving(tmp_path) as server, running(config_for(server.port, 1)) as (_, screen, task):
        await screen.wait_for("online")
        say_goaway(server, code, "because")
        outcome = await ended(task)
    assert (outcome.status, outcome.reason) == (status, words)
    assert "reconnecting" not in screen.names()


async def test_a_second_client_with_the_key_takes_over_and_stays(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, listening(answer_ok) as local:
        config = config_for(server.port, local, api_key="sesame")
        async with running(config) as (_, first, task):
            await first.wait_for("online")
            async with running(config) as (_, second, _):
                await second.wait_for("online")
                assert (await ended(task)).status is ExitStatus.REPLACED
                assert agents(server) == ["my-app"]
                assert await ask(server.port, "my-app.localhost") == (200, b"ok")


async def test_a_machine_that_slept_connects_anew(tmp_path: Path) -> None:
    class Clocks:
        always = 0.0

    clocks = Clocks()
    sleep = SleepDetector(lambda: 0.0, lambda: clocks.always, every_s=0.005)
    async with serving(tmp_path) as server, running(config_for(server.port, 1), sleep=sleep) as (_, screen, _):
        await screen.wait_for("online")
        clocks.always = 3600.0
        assert await screen.wait_for("reconnecting") == (
            0.0,
            "The link to the server is gone: this machine slept for 3600 s.",
        )
        await screen.wait_for("online")


async def test_a_machine_that_wakes_does_not_wait_for_its_next_try() -> None:
    class Clocks:
        always = 0.0

    clocks = Clocks()
    sleep = SleepDetector(lambda: 0.0, lambda: clocks.always, every_s=0.005)
    config = config_for(free_port(), 1)
    async with running(config, sleep=sleep, random_number=lambda: 1000.0) as (_, screen, _):
        while (await screen.wait_for("reconnecting"))[0] < LIMIT_S:
            pass
        clocks.always = 3600.0
        await screen.wait_for("connecting")
        await screen.wait_for("reconnecting")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await screen.wait_for("connecting")


# ---------------------------------------------------------------------- ending


async def test_stopping_finishes_what_is_under_way(tmp_path: Path) -> None:
    gate = Gate()
    async with (
        serving(tmp_path) as server,
        listening(gate) as local,
        running(config_for(server.port, local)) as (client, screen, task),
    ):
        tunnel = await screen.wait_for("online")
        visit = asyncio.create_task(ask(server.port, tunnel.hostname))
        await gate.asked.wait()
        client.stop()
        assert "1 request" in await screen.wait_for("notice")
        gate.answer.set()
        assert await visit == (200, b"ok")
        outcome = await ended(task)
    assert outcome.status is ExitStatus.ENDED
    assert screen.events[-1] == ("closed", ("The tunnel is closed.", False))


async def test_stopping_twice_waits_for_nothing(tmp_path: Path) -> None:
    gate = Gate()
    async with (
        serving(tmp_path) as server,
        listening(gate) as local,
        running(config_for(server.port, local)) as (client, screen, task),
    ):
        tunnel = await screen.wait_for("online")
        visit = asyncio.create_task(ask(server.port, tunnel.hostname))
        await gate.asked.wait()
        client.stop()
        client.stop()
        assert (await ended(task)).status is ExitStatus.ENDED
        assert (await visit)[0] == 502


async def test_stopping_while_connecting_ends_at_once() -> None:
    async with listening(silent) as port, running(config_for(port, 1)) as (client, screen, task):
        await screen.wait_for("connecting")
        client.stop()
        assert (await ended(task)).status is ExitStatus.ENDED
        assert screen.names() == ["connecting", "closed"]


async def test_stopping_in_the_moment_of_the_handshake_ends_the_link(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, running(config_for(server.port, 1)) as (client, screen, task):
        await screen.wait_for("connecting")
        handshake = client._connecting
        assert handshake is not None

        def stop_when_done() -> None:
            """Between the end of the handshake and the turn of the client."""
            client.stop() if handshake.done() else loop.call_soon(stop_when_done)

        loop = asyncio.get_running_loop()
        stop_when_done()
        assert (await ended(task)).status is ExitStatus.ENDED
        assert screen.names()[-1] == "closed"
        assert agents(server) == []


async def test_stopping_while_waiting_for_the_next_try_ends_at_once() -> None:
    async with running(config_for(free_port(), 1), random_number=lambda: 1000.0) as (client, screen, task):
        while (await screen.wait_for("reconnecting"))[0] < LIMIT_S:
            pass
        client.stop()
        assert (await ended(task)).status is ExitStatus.ENDED
        assert screen.names()[-2:] == ["reconnecting", "closed"]  # and not by way of one more try


async def test_stopping_waits_for_the_link_that_was_left_as_well(tmp_path: Path) -> None:
    gate = Gate()
    async with (
        serving(tmp_path) as server,
        listening(gate) as local,
        running(config_for(server.port, local)) as (client, screen, task),
    ):
        tunnel = await screen.wait_for("online")
        visit = asyncio.create_task(ask(server.port, tunnel.hostname))
        await gate.asked.wait()
        say_goaway(server, GoAwayCode.DRAINING, "restarting")
        await screen.wait_for("online")
        client.stop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await screen.wait_for("closed")
        gate.answer.set()
        assert await visit == (200, b"ok")
        assert (await ended(task)).status is ExitStatus.ENDED


async def test_cancelling_leaves_nothing_open(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, running(config_for(server.port, 1, api_port=0)) as (_, screen, task):
        await screen.wait_for("online")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ended(task)


# ---------------------------------------------------------------------- the JSON API


async def test_the_api_tells_the_state_of_the_tunnel(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as server,
        listening(answer_ok) as local,
        running(config_for(server.port, local, api_port=0)) as (_, screen, _),
    ):
        tunnel = await screen.wait_for("online")
        await ask(server.port, tunnel.hostname)
        await screen.wait_for("exchange")
        api_port = int(tunnel.status_url.rpartition(":")[2].partition("/")[0])
        status, body = await ask(api_port, f"{HOST}:{api_port}", "/status")
    told = json.loads(body)
    assert status == 200
    assert told["running"] is told["connected"] is True
    assert told["tunnel_hostname"] == tunnel.hostname
    assert told["local_endpoint"] == f"http://{HOST}:{local}"
    assert told["server_url"] == f"ws://{HOST}:{server.port}"
    assert (told["webhook_count"], told["reconnect_attempts"]) == (1, 0)
    assert told["uptime_seconds"] >= 0
    assert told["last_keepalive_ago"] >= 0
    assert told["connection_start_time"].endswith("+00:00")


async def test_a_taken_port_costs_the_api_only(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as server,
        listening(silent) as taken,
        running(config_for(server.port, 1, api_port=taken)) as (_, screen, _),
    ):
        assert str(taken) in await screen.wait_for("notice")
        assert (await screen.wait_for("online")).status_url == ""


async def test_a_taken_port_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    async with (
        listening(silent) as taken,
        running(config_for(1, 1, api_port=taken, api_port_required=True)) as (_, screen, task),
    ):
        with pytest.raises(ConfigError, match="--api-port"):
            await ended(task)
        assert screen.events == []
