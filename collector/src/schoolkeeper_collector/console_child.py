"""The console as a child process, started again when it ends: a fault there never stops ingest."""

from __future__ import annotations

import asyncio
import sys

import structlog

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_STEADY_SECONDS = 60.0
_STOP_SECONDS = 5.0
# The child ends with its parent, even if that is killed (prctl PR_SET_PDEATHSIG, SIGTERM).
_START = (
    "import ctypes, os, sys\n"
    "if sys.platform == 'linux':\n"
    "    ctypes.CDLL(None).prctl(1, 15)\n"
    "    if os.getppid() == 1: sys.exit(0)\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'schoolkeeper_collector.console'])\n"
)
_log = structlog.get_logger("console_child")


class ConsoleChild:
    """``restarts`` counts how often it had to be started again."""

    def __init__(self) -> None:
        self.restarts = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def run(self) -> None:
        """Until cancelled; then the child is told to stop, and waited for."""
        wait = _FIRST_WAIT
        try:
            while True:
                began = asyncio.get_running_loop().time()
                self._process = await asyncio.create_subprocess_exec(sys.executable, "-c", _START)
                code = await self._process.wait()
                if asyncio.get_running_loop().time() - began > _STEADY_SECONDS:
                    wait = _FIRST_WAIT
                if code == 0:  # it ends by itself when another pack was published
                    _log.info("console starts anew")
                    await asyncio.sleep(_FIRST_WAIT)
                    continue
                self.restarts += 1
                _log.error("console ended", exit_code=code, seconds=wait, restarts=self.restarts)
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
        finally:
            await self._stop()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
