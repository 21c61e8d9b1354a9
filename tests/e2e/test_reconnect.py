"""The client comes back by itself, keeps its name, gives way to a successor, and finds a peer that vanished in 15 s."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from tests.e2e.support.cutter import CuttingRelay
from tests.e2e.support.lab import Lab, Tunnel, in_background, port_of
from tests.e2e.support.netns import AVAILABLE, HERE, OtherHost
from tests.e2e.support.processes import Program
from tests.e2e.support.upstream import RawUpstream
from tests.e2e.support.wire import CutShort, Wire, cut_of

KEYS = {"TERRATUNNEL_STATIC_KEYS": "the-key=mine", "REQUIRE_AUTH_FOR_TUNNELS": "true"}
BACK_WITHIN_S = 2.0
FOUND_WITHIN_S = 15.0
# A sweep of timers, and a machine with other things to do.
MARGIN_S = 2.0


def proof(tunnel: Tunnel, upstream: RawUpstream, target: bytes = b"/proof") -> None:
    """The tunnel serves."""
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(target))
        service = reached(upstream, visitor, target)
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproof")
        assert visitor.read_response().body == b"proof"


def reached(upstream: RawUpstream, visitor: Wire, target: bytes) -> Wire:
    """The connection on which a request reached its service. What an earlier visitor asked may still come before it."""
    while True:
        try:
            service = upstream.next()
        except TimeoutError:
            raise AssertionError(f"it reached the visitor instead: {visitor.read_response().raw!r}") from None
        try:
            if service.read_request().head.target == target:
                return service
        except CutShort:  # nobody waits for it any more
            service.close()


def status_of(tunnel: Tunnel) -> int:
    """What a visitor is told who cannot be served."""
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get())
        return visitor.read_response().status


@contextmanager
def stopped(program: Program) -> Iterator[None]:
    """Stop a process as if its machine had gone: its connections stay open and nobody answers."""
    program.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        program.signal(signal.SIGCONT)


# ---------------------------------------------------------------------- servers that come back


def test_the_client_is_back_within_2_s_of_the_servers_return_and_keeps_its_name(lab: Lab) -> None:
    upstream = lab.upstream()
    tunnel = lab.tunnel(upstream.url)
    proof(tunnel, upstream)
    tunnel.server.kill()
    tunnel.client.wait("reconnecting", 4)  # the next tries are as late as they get in the first minute
    server = lab.server(port=tunnel.port)
    began = time.monotonic()
    again = tunnel.client.wait("online", 2)
    assert time.monotonic() - began <= BACK_WITHIN_S
    assert again["url"] == tunnel.client.named("online")[0]["url"]
    proof(Tunnel(server, tunnel.client, tunnel.port, tunnel.host), upstream)
    assert "Traceback" not in tunnel.client.log


def test_the_client_is_back_at_once_when_only_its_link_was_lost(lab: Lab) -> None:
    upstream = lab.upstream()
    server = lab.server()
    with CuttingRelay(port_of(server)) as relay:
        tunnel = lab.join(server, lab.client(relay.port, upstream.url))
        relay.cut()
        retry = tunnel.client.wait("reconnecting")
        assert retry["in_s"] == 0
        tunnel.client.wait("online", 2, timeout_s=BACK_WITHIN_S)
        proof(tunnel, upstream)


def test_a_client_keeps_its_name_over_its_own_restart(lab: Lab) -> None:
    upstream = lab.upstream()
    tunnel = lab.tunnel(upstream.url)
    tunnel.client.kill()
    second = lab.join(tunnel.server, lab.client(tunnel.port, upstream.url))
    assert second.host == tunnel.host
    proof(second, upstream)


def test_a_refused_key_is_final_and_has_its_own_status(lab: Lab) -> None:
    server = lab.server(env=KEYS)
    client = lab.client(port_of(server), "http://127.0.0.1:9", "--api-key", "wrong")
    assert "API key is not valid" in client.wait("refused")["reason"]
    assert client.wait_end() == 3
    assert client.named("reconnecting") == []
    assert "Traceback" not in client.log


def test_a_client_waits_for_a_server_that_starts_at_the_same_time(lab: Lab) -> None:
    upstream = lab.upstream()
    with connect_free_port() as port:
        pass
    client = lab.client(port, upstream.url)
    client.wait("reconnecting")
    server = lab.server(port=port)
    proof(lab.join(server, client), upstream)


@contextmanager
def connect_free_port() -> Iterator[int]:
    """A port that nobody listens on once this is over."""
    with RawUpstream() as nobody:
        yield nobody.port


# ---------------------------------------------------------------------- successors


def test_a_second_client_takes_over_and_the_first_is_told_and_ends_with_its_own_status(lab: Lab) -> None:
    first_service, second_service = lab.upstream(), lab.upstream()
    server = lab.server(env=KEYS)
    port = port_of(server)
    first = lab.join(server, lab.client(port, first_service.url, "--api-key", "the-key"))
    visitor = first.visit()
    visitor.send(first.get(b"/in-flight"))
    service = first_service.next()
    service.read_request()
    second = lab.join(server, lab.client(port, second_service.url, "--api-key", "the-key"))
    assert second.host == first.host
    proof(second, second_service)
    service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfinished")
    assert visitor.read_response().body == b"finished"
    assert "another client connected as mine" in first.client.wait("closed")["reason"]
    assert first.client.wait_end() == 4
    assert first.client.named("reconnecting") == []
    proof(second, second_service, b"/after")
    assert first_service.is_idle()


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_death_of_an_old_link_does_not_touch_the_new_route(lab: Lab, how: str) -> None:
    upstream = lab.upstream()
    server = lab.server(env=KEYS)
    port = port_of(server)
    first = lab.join(server, lab.client(port, upstream.url, "--api-key", "the-key"))
    visitor = first.visit()
    visitor.send(first.get(b"/held"))
    upstream.next().read_request()
    first.client.signal(signal.SIGSTOP)  # so that it cannot leave when it is told to
    try:
        second = lab.join(server, lab.client(port, upstream.url, "--api-key", "the-key"))
        proof(second, upstream)
        if how == "killed":
            first.client.kill()
            assert visitor.read_response().status == 502
            server.wait_log("agent_gone")
            proof(second, upstream, b"/after")
    finally:
        if how == "stopped":
            first.client.signal(signal.SIGCONT)
    if how == "stopped":
        visitor.close()
        first.client.wait("closed")
        proof(second, upstream, b"/after")
    assert second.client.named("reconnecting") == []


# ---------------------------------------------------------------------- peers that vanish
#
# Each of these takes its 15 s, so they go on side by side from the moment the first of them is asked for.


def link_that_falls_silent(lab: Lab) -> None:
    upstream = lab.upstream()
    server = lab.server()
    with CuttingRelay(port_of(server)) as relay:
        tunnel = lab.join(server, lab.client(relay.port, upstream.url))
        visitor = tunnel.visit(FOUND_WITHIN_S + MARGIN_S)
        visitor.send(tunnel.get(b"/half-way"))
        service = reached(upstream, visitor, b"/half-way")
        relay.swallow()
        limit = time.monotonic() + FOUND_WITHIN_S + MARGIN_S
        client_found = in_background(tunnel.client.wait, "reconnecting", 1, FOUND_WITHIN_S + MARGIN_S)
        assert visitor.read_response().status == 502
        reason = client_found.result(FOUND_WITHIN_S)["reason"]
        assert time.monotonic() <= limit
        cut_of(lambda: service.read(1))
        assert status_of(tunnel) == 502
        assert "nothing heard for 15 s" in reason
        assert "nothing heard for 15 s" in server.wait_log("agent_gone")


def client_that_vanishes(lab: Lab) -> None:
    upstream = lab.upstream()
    tunnel = lab.tunnel(upstream.url)
    proof(tunnel, upstream)
    visitor = tunnel.visit(FOUND_WITHIN_S + MARGIN_S)
    with stopped(tunnel.client):
        limit = time.monotonic() + FOUND_WITHIN_S + MARGIN_S
        visitor.send(tunnel.get(b"/lost"))
        assert visitor.read_response().status == 502
        assert time.monotonic() <= limit
        assert status_of(tunnel) == 502
    tunnel.client.wait("online", 2)
    proof(tunnel, upstream, b"/again")


def server_that_vanishes(lab: Lab) -> None:
    upstream = lab.upstream()
    tunnel = lab.tunnel(upstream.url)
    with stopped(tunnel.server):
        tunnel.client.wait("reconnecting", timeout_s=FOUND_WITHIN_S + MARGIN_S)
    tunnel.client.wait("online", 2)
    proof(tunnel, upstream)


def handshake_without_an_answer(lab: Lab) -> None:
    upstream = lab.upstream()
    server = lab.server()
    with CuttingRelay(port_of(server)) as relay:
        tunnel = lab.join(server, lab.client(relay.port, upstream.url))
        relay.swallow()
        relay.cut()
        again = tunnel.client.wait("reconnecting", 2, timeout_s=FOUND_WITHIN_S)
        assert "did not answer in time" in again["reason"]


def host_that_vanishes(lab: Lab) -> None:
    with OtherHost() as host:
        server = lab.server("--host", "0.0.0.0")
        port = port_of(server)
        command = ["-m", "terratunnel", "client", "--server-url", f"ws://{HERE}:{port}", "--output", "json"]
        command += ["--local-endpoint", "http://127.0.0.1:9", "--api-port", "0"]
        client = lab.own(Program("client", [*host.prefix, sys.executable, *command], lab.folder))
        tunnel = lab.join(server, client)
        assert "Connection refused" in refusal(tunnel)  # by nobody on the other host's port 9
        host.vanish()
        limit = time.monotonic() + FOUND_WITHIN_S + MARGIN_S
        client_found = in_background(client.wait, "reconnecting", 1, FOUND_WITHIN_S + MARGIN_S)
        assert "nothing heard for 15 s" in refusal(tunnel)
        client_found.result(FOUND_WITHIN_S)
        assert time.monotonic() <= limit
        host.come_back()
        client.wait("online", 2)
        assert "Connection refused" in refusal(tunnel)


def refusal(tunnel: Tunnel) -> str:
    """Why a visitor gets a 502."""
    with tunnel.visit(FOUND_WITHIN_S + MARGIN_S) as visitor:
        visitor.send(tunnel.get())
        response = visitor.read_response()
        assert response.status == 502
        return response.body.decode()


VANISHING = [link_that_falls_silent, client_that_vanishes, server_that_vanishes, handshake_without_an_answer]
if AVAILABLE:
    VANISHING.append(host_that_vanishes)


@pytest.fixture(scope="module")
def vanishing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[None]]]:
    """What becomes of each of them."""
    labs = [Lab(tmp_path_factory.mktemp("lab")) for _ in VANISHING]
    yield {work.__name__: in_background(with_reports, work, lab) for work, lab in zip(VANISHING, labs, strict=True)}
    for lab in labs:
        lab.close()


def with_reports(work: Callable[[Lab], None], lab: Lab) -> None:
    """Do work; what is known of its processes stands beside a failure."""
    try:
        work(lab)
    except BaseException as error:
        for program in lab.programs:
            error.add_note(f"{program.label}: {program.report()}")
        raise


def test_a_link_that_falls_silent_is_found_within_15_s_by_both_ends(vanishing: dict[str, Future[None]]) -> None:
    """Nothing is closed and nothing is reset: every byte is swallowed on the way."""
    vanishing["link_that_falls_silent"].result(40)


def test_a_client_that_vanishes_is_found_within_15_s_and_served_again_when_it_is_back(
    vanishing: dict[str, Future[None]],
) -> None:
    vanishing["client_that_vanishes"].result(40)


def test_a_server_that_vanishes_is_found_within_15_s(vanishing: dict[str, Future[None]]) -> None:
    vanishing["server_that_vanishes"].result(40)


def test_a_handshake_that_has_no_answer_is_given_up_and_tried_again(vanishing: dict[str, Future[None]]) -> None:
    vanishing["handshake_without_an_answer"].result(40)


if AVAILABLE:

    def test_a_host_that_vanishes_is_found_within_15_s_by_both_ends(vanishing: dict[str, Future[None]]) -> None:
        """Not even the kernel of the other side answers any more."""
        vanishing["host_that_vanishes"].result(40)
