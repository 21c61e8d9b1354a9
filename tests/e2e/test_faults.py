"""What breaks, breaks visibly and alone: services, visitors, clients, servers and links that fail while in use."""

import json
import signal
import time
from collections import Counter
from contextlib import ExitStack
from threading import Lock

import pytest

from tests.e2e.support.cutter import CuttingRelay
from tests.e2e.support.lab import Lab, Tunnel, connect, in_background, port_of
from tests.e2e.support.processes import Program
from tests.e2e.support.upstream import RawUpstream
from tests.e2e.support.wire import CutShort, Message, Wire, cut_of

MIB = 1 << 20


def agents_of(port: int) -> int:
    """How many clients the server has."""
    with connect(port) as visitor:
        visitor.send(b"GET /_health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return int(json.loads(visitor.read_response().body)["active_connections"])


def proof(tunnel: Tunnel, upstream: RawUpstream) -> None:
    """The tunnel serves."""
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get(b"/proof"))
        service = upstream.next()
        assert service.read_request().head.target == b"/proof"
        service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproof")
        assert visitor.read_response().body == b"proof"


# ---------------------------------------------------------------------- services


def test_a_service_that_is_down_is_502_at_once_and_back_when_it_is_back(lab: Lab) -> None:
    first = lab.upstream()
    tunnel = lab.tunnel(first.url)
    first.close()
    with tunnel.visit() as visitor:
        visitor.send(tunnel.post(b"anyone?"))
        response = visitor.read_response()
        assert response.status == 502
        assert b"cannot be reached" in response.body
        assert visitor.is_open()
    event = tunnel.client.wait("request")
    assert event["status"] == 502
    assert event["duration_ms"] < 5_000
    assert "Connection refused" in event["error"]


@pytest.mark.parametrize("answered", [False, True])
def test_a_service_that_breaks_off_is_502_or_a_cut(tunnel: Tunnel, upstream: RawUpstream, answered: bool) -> None:
    with tunnel.visit() as visitor:
        visitor.send(tunnel.get())
        service = upstream.next()
        service.read_request()
        if answered:
            service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun")
            assert visitor.read_head().status == 200
        service.reset()
        if answered:
            assert cut_of(lambda: visitor.read(1_000)).how == "reset"
        else:
            assert visitor.read_response().status == 502
    proof(tunnel, upstream)


def test_a_service_that_hangs_is_504_after_the_configured_time_and_the_link_lives_on(lab: Lab) -> None:
    upstream = lab.upstream()
    tunnel = lab.tunnel(upstream.url, "--first-byte-timeout", "1.0")
    with tunnel.visit() as visitor:
        began = time.monotonic()
        visitor.send(tunnel.post(b"well?"))
        service = upstream.next()
        assert service.read_request().body == b"well?"
        proof(tunnel, upstream)  # meanwhile, on the same link
        response = visitor.read_response()
        assert response.status == 504
        assert b"within 1 s" in response.body
        assert time.monotonic() - began >= 0.9
        cut_of(lambda: service.read(1))
    proof(tunnel, upstream)
    assert len(tunnel.client.named("online")) == 1


# ---------------------------------------------------------------------- visitors


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("when", ["waiting", "uploading", "downloading"])
def test_a_visitor_who_leaves_cancels_the_local_request(
    tunnel: Tunnel, upstream: RawUpstream, when: str, how: str
) -> None:
    visitor = tunnel.visit()
    if when == "uploading":
        visitor.send(tunnel.get(b"/left", b"Content-Length: 100", method=b"POST"), b"ten bytes.")
    else:
        visitor.send(tunnel.get(b"/left"))
    service = upstream.next()
    service.read_head()
    if when == "uploading":
        assert service.read(10) == b"ten bytes."
    if when == "downloading":
        service.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        assert visitor.read_until(b"1\r\nx\r\n")
    visitor.close() if how == "close" else visitor.reset()
    assert cut_of(lambda: service.read(1)).got == b""
    proof(tunnel, upstream)


# ---------------------------------------------------------------------- clients


def test_a_client_that_is_killed_is_a_cut_for_its_visitors_and_leaves_nothing_behind(lab: Lab) -> None:
    upstream = lab.upstream()
    server = lab.server("--max-response-size", "0", env={"TERRATUNNEL_STATIC_KEYS": "key-1=kept,key-2=doomed"})
    port = port_of(server)
    kept, doomed = (lab.join(server, lab.client(port, upstream.url, "--api-key", key)) for key in ("key-1", "key-2"))
    proof(kept, upstream)
    idle_kib = server.rss_kib
    reading, waiting, uploading = doomed.visit(), doomed.visit(), doomed.visit()
    reading.send(doomed.get(b"/reading"))
    service = upstream.next()
    service.read_request()
    service.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB), b"x" * (2 * MIB))
    assert reading.read_head().status == 200
    waiting.send(doomed.get(b"/waiting"))
    upstream.next().read_request()
    uploading.send(doomed.get(b"/uploading", b"Content-Length: 1000", method=b"POST"), b"begun")
    upstream.next().read_head()
    assert agents_of(port) == 2
    doomed.client.kill()
    assert cut_of(lambda: reading.read(64 * MIB)).how == "reset"
    for visitor in (waiting, uploading):
        response = visitor.read_response()
        assert response.status == 502
        assert b"the link was lost" in response.body
    assert agents_of(port) == 1
    with doomed.visit() as visitor:
        visitor.send(doomed.get())
        assert visitor.read_response().status == 502
    for visitor in (reading, waiting, uploading):
        visitor.close()
    proof(kept, upstream)
    assert server.rss_kib - idle_kib < 16 * 1024


def test_a_server_that_is_killed_is_a_cut_for_visitors_and_for_the_service(lab: Lab) -> None:
    upstream = lab.upstream()
    tunnel = lab.tunnel(upstream.url)
    visitor = tunnel.visit()
    visitor.send(tunnel.get())
    service = upstream.next()
    service.read_request()
    service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun")
    assert visitor.read_head().status == 200
    tunnel.server.kill()
    cut_of(lambda: visitor.read(1_000))
    cut_of(lambda: service.read(1))


# ---------------------------------------------------------------------- draining


def test_sigterm_finishes_what_is_in_flight_and_exits_0(lab: Lab) -> None:
    upstream = lab.upstream()
    tunnel = lab.tunnel(upstream.url)
    visitor, kept, idle = tunnel.visit(), tunnel.visit(), tunnel.visit()
    idle.send(b"GET /_health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert json.loads(idle.read_response().body)["status"] == "healthy"
    for number, wire in enumerate((visitor, kept)):
        wire.send(tunnel.get(b"/in-flight-%d" % number))
    services = {}
    for _ in range(2):
        service = upstream.next()
        services[service.read_request().head.target] = service
    services[b"/in-flight-1"].send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbe")
    assert kept.read_head().status == 200
    kept.send(tunnel.get(b"/new"))
    tunnel.server.signal(signal.SIGTERM)
    assert idle.read_to_end() == b""
    tunnel.client.wait("reconnecting")
    services[b"/in-flight-1"].send(b"gun")
    assert kept.read(5) == b"begun"
    refused = kept.read_response()
    assert refused.status == 503
    assert refused.head.value(b"Connection") == b"close"
    assert tunnel.server.popen.poll() is None
    services[b"/in-flight-0"].send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfinished")
    response = visitor.read_response()
    assert response.body == b"finished"
    assert response.head.value(b"Connection") == b"close"
    assert tunnel.server.wait_end() == 0
    assert tunnel.server.events[-1]["event"] == "stopped"
    assert upstream.is_idle()


def test_the_health_check_is_503_while_draining(lab: Lab) -> None:
    upstream = lab.upstream()
    tunnel = lab.tunnel(upstream.url)
    visitor = tunnel.visit()
    visitor.send(tunnel.get())
    service = upstream.next()
    service.read_request()
    service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")
    assert visitor.read_head().status == 200
    visitor.send(b"GET /_health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    tunnel.server.signal(signal.SIGTERM)
    tunnel.client.wait("reconnecting")
    service.send(b"i")
    assert visitor.read(2) == b"hi"
    health = visitor.read_response()
    assert health.status == 503
    assert json.loads(health.body)["status"] == "draining"
    assert tunnel.server.wait_end() == 0


def test_what_does_not_finish_in_time_is_cut(lab: Lab) -> None:
    upstream = lab.upstream()
    tunnel = lab.tunnel(upstream.url, server_options=("--drain-timeout", "1"))
    visitor = tunnel.visit()
    visitor.send(tunnel.get())
    service = upstream.next()
    service.read_request()
    service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun")
    assert visitor.read_head().status == 200
    tunnel.server.signal(signal.SIGTERM)
    assert cut_of(lambda: visitor.read(1_000)).how == "reset"
    assert tunnel.server.wait_end() == 0
    cut_of(lambda: service.read(1))


def test_a_client_that_is_told_to_end_finishes_what_is_in_flight(lab: Lab) -> None:
    upstream = lab.upstream()
    tunnel = lab.tunnel(upstream.url)
    visitor = tunnel.visit()
    visitor.send(tunnel.get())
    service = upstream.next()
    service.read_request()
    tunnel.client.signal(signal.SIGTERM)
    tunnel.client.wait("notice")
    with tunnel.visit() as late:
        late.send(tunnel.get())
        assert late.read_response().status == 502
    service.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfinished")
    assert visitor.read_response().body == b"finished"
    assert tunnel.client.wait_end() == 0
    assert agents_of(tunnel.port) == 0


# ---------------------------------------------------------------------- never twice

TUNNELS = 4
VISITORS = 3
SERVED = 10  # of each visitor at least: 120 in all
CUTS = 3  # of each link at least
ATTEMPTS = 5_000  # of a visitor at most; a failed one takes about a millisecond


class Counting:
    """A service that counts each target and answers with the body it was sent."""

    def __init__(self) -> None:
        self.seen: Counter[bytes] = Counter()
        self._lock = Lock()

    def __call__(self, wire: Wire) -> None:
        head = wire.read_head()
        with self._lock:
            self.seen[head.target] += 1
        body = wire.read(int(head.value(b"Content-Length")))
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)


def test_no_request_reaches_the_service_twice_while_links_are_cut_at_random_moments(lab: Lab) -> None:
    upstream = lab.upstream()
    counting = Counting()
    upstream.serve(counting)
    keys = [f"key-{number}" for number in range(TUNNELS)]
    server = lab.server(env={"TERRATUNNEL_STATIC_KEYS": ",".join(f"{key}={key}" for key in keys)})
    answers: dict[bytes, Message | None] = {}
    with ExitStack() as stack:
        relays = [stack.enter_context(CuttingRelay(port_of(server), seed)) for seed in range(TUNNELS)]
        clients = [
            lab.client(relay.port, upstream.url, "--api-key", key) for relay, key in zip(relays, keys, strict=True)
        ]
        tunnels = [lab.join(server, client) for client in clients]
        for relay in relays:
            relay.begin_to_cut()
        visits = [
            in_background(visit_often, tunnel, relay, answers, b"/%d/%d" % (number, visitor))
            for number, (tunnel, relay) in enumerate(zip(tunnels, relays, strict=True))
            for visitor in range(VISITORS)
        ]
        for visit in visits:
            assert visit.result(90) >= SERVED
        assert min(relay.cuts for relay in relays) >= CUTS
    assert max(counting.seen.values()) == 1
    served = {target for target, response in answers.items() if response is not None and response.status == 200}
    assert served <= set(counting.seen)
    failed = [response for response in answers.values() if response is not None and response.status != 200]
    assert {response.status for response in failed} <= {502, 503}


def visit_often(tunnel: Tunnel, relay: CuttingRelay, answers: dict[bytes, Message | None], name: bytes) -> int:
    """Ask for many things, each once; how many were served. Who was not served waits until the client is back."""
    served = 0
    for number in range(ATTEMPTS):
        if served >= SERVED and relay.cuts >= CUTS:
            break
        target = b"%b/%d" % (name, number)
        body = target * 200
        answer = answers[target] = ask_once(tunnel, body, target)
        if answer is not None and answer.status == 200:
            assert answer.body == body
            served += 1
        else:
            until_online(tunnel.client)
    return served


def ask_once(tunnel: Tunnel, body: bytes, target: bytes) -> Message | None:
    """The answer; None when it was cut."""
    with tunnel.visit() as visitor:
        try:
            visitor.send(tunnel.post(body, target))
            return visitor.read_response()
        except (CutShort, OSError):
            return None


def until_online(client: Program) -> None:
    """Wait until the client has a link, unless it believes that it has one."""
    states = [event["event"] for event in list(client.events) if event["event"] in ("online", "reconnecting")]
    if states[-1] != "online":
        client.wait("online", states.count("online") + 1)
