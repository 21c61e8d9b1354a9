"""The forwarder: each stream becomes one exchange with the service. Used by the client and by the server's own pages.

It owns the exchanges under way, opens connections for them and tells an Observer, who is never on the road, of each.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from terratunnel.forwarding.exchange import Exchange
from terratunnel.forwarding.pool import UpstreamPool
from terratunnel.mux.stream import Stream
from terratunnel.protocol.errors import ResetCode

log = logging.getLogger(__name__)

# The guide: bodies above 10 MiB, or of unknown length, travel in checked chunks.
STREAMING_THRESHOLD_BYTES: Final = 10_485_760


class Observer(Protocol):
    """Who is told about exchanges. Called on the road, so it must be quick."""

    def exchange_finished(self, exchange: Exchange) -> None:
        """An exchange is over, well or not."""


class Forwarder:
    """Owns the exchanges under way and their clock: one coarse sweep instead of a timer for each."""

    def __init__(
        self,
        pool: UpstreamPool,
        observer: Observer | None = None,
        threshold: int = STREAMING_THRESHOLD_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pool: UpstreamPool = pool
        self.threshold: int = threshold
        # Kept: asking asyncio for the running loop is a system call on Python 3.11.
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.clock: Callable[[], float] = clock
        self._observer: Observer | None = observer
        self._exchanges: set[Exchange] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed: bool = False
        self._sweep_every_s: float = min(1.0, pool.timeouts.first_byte_s / 4)
        self._sweep_handle: asyncio.TimerHandle = self.loop.call_later(self._sweep_every_s, self._sweep)

    @property
    def under_way(self) -> int:
        """How many exchanges are not over."""
        return len(self._exchanges)

    def stream_opened(self, stream: Stream) -> Exchange:
        """Return the handler of a new stream."""
        exchange = Exchange(self, stream, self.clock())
        self._exchanges.add(exchange)
        return exchange

    def finished(self, exchange: Exchange) -> None:
        """An exchange is over (called by the exchange, once)."""
        self._exchanges.discard(exchange)
        if self._observer is not None:
            try:
                self._observer.exchange_finished(exchange)
            except Exception:
                log.exception("observer_failed")

    def connect_for(self, exchange: Exchange) -> None:
        """Open a connection for an exchange that found none idle."""
        if self._closed:
            exchange.cancel()
            return
        task = self.loop.create_task(self._connect(exchange))
        exchange.connecting = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Drop every exchange and connection; a stream opened later is refused."""
        self._closed = True
        self._sweep_handle.cancel()
        for task in self._tasks:
            task.cancel()
        for exchange in list(self._exchanges):
            exchange.cancel()
        self.pool.close()

    async def _connect(self, exchange: Exchange) -> None:
        endpoint = self.pool.endpoint
        try:
            exchange.connected(await self.pool.connect())
        except TimeoutError:
            exchange.fail(
                ResetCode.UPSTREAM_UNREACHABLE, f"The local service at {endpoint} did not accept a connection in time."
            )
        except OSError as error:
            why = error.strerror or str(error) or type(error).__name__
            exchange.fail(ResetCode.UPSTREAM_UNREACHABLE, f"The local service at {endpoint} cannot be reached ({why}).")
        except Exception as error:
            # A name no resolver takes, a certificate store that cannot be read: whatever it is, somebody waits.
            log.exception("connect_failed endpoint=%s", endpoint)
            sentence = f"The local service at {endpoint} cannot be reached ({error})."
            exchange.fail(ResetCode.UPSTREAM_UNREACHABLE, sentence)

    def _sweep(self) -> None:
        self._sweep_handle = self.loop.call_later(self._sweep_every_s, self._sweep)
        now = self.clock()
        for exchange in list(self._exchanges):
            exchange.check_time(now)
        self.pool.sweep(now)
