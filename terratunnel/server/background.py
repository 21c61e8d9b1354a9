"""Work that comes round: what is written in batches, looked after or tidied up. Used by the audit log and the keys.

Rule: a job that fails is told once and tried again at its next time; nothing else waits for it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from terratunnel.server.storage.errors import StorageUnavailable

log = logging.getLogger(__name__)


class Periodic:
    """Runs a job at once and then every `interval_s` seconds, one run at a time. `start`, then `close`."""

    def __init__(self, name: str, interval_s: float, job: Callable[[], Awaitable[None]]) -> None:
        self._name = name
        self._interval_s = interval_s
        self._job = job
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._failing = False

    @property
    def stopping(self) -> bool:
        """Whether a run should come to its end: `close` waits for it."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; a run that is under way ends first."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def run_once(self) -> bool:
        """Run the job now; False when it could not be done."""
        try:
            await self._job()
        except StorageUnavailable as error:
            if not self._failing:
                log.warning("job_waits job=%s reason=%s", self._name, error.detail or error)
            self._failing = True
            return False
        except Exception:
            log.exception("job_failed job=%s", self._name)
            return False
        if self._failing:
            log.info("job_goes_on job=%s", self._name)
        self._failing = False
        return True

    async def _run(self) -> None:
        while not self._stopping.is_set():
            await self.run_once()
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._stopping.wait()
            except TimeoutError:
                continue
