"""Steps of the wall clock: a timer that the kernel cancels the moment the clock is set (timerfd_create(2))."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import struct
import time

from schoolkeeper_agent import observations
from schoolkeeper_agent.seams import Ability, Emit, SensorError
from schoolkeeper_proto import model

SMALLEST_STEP_MS = 1000
"""Smaller ones are time synchronisation at work."""
_CLOCK_REALTIME = 0
_TFD_NONBLOCK, _TFD_CLOEXEC = 0o4000, 0o2000000
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
_FAR = struct.pack("=qqqq", 0, 0, (1 << 40), 0)


class ClockSensor:
    name = "clock"
    kinds = (model.ClockChanged.KIND,)

    def ability(self) -> Ability:
        return Ability(able=True)

    async def run(self, emit: Emit) -> None:
        timer = _timer()
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def cancelled() -> None:
            try:
                os.read(timer, 8)
            except OSError as error:
                if error.errno == errno.ECANCELED:
                    changed.set()

        loop.add_reader(timer, cancelled)
        try:
            offset = _offset_ms()
            while True:
                _arm(timer)
                await changed.wait()
                changed.clear()
                before, offset = offset, _offset_ms()
                if abs(offset - before) >= SMALLEST_STEP_MS:
                    emit(observations.ClockStepped(step_milliseconds=offset - before))
        finally:
            loop.remove_reader(timer)
            os.close(timer)


def _offset_ms() -> int:
    """Wall clock minus time since boot, suspend included: changes only when the clock is set."""
    return (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1_000_000


def _timer() -> int:
    library = ctypes.CDLL(None, use_errno=True)
    timer = int(library.timerfd_create(_CLOCK_REALTIME, _TFD_NONBLOCK | _TFD_CLOEXEC))
    if timer < 0:
        raise SensorError(f"steps of the clock cannot be seen: {os.strerror(ctypes.get_errno())}")
    return timer


def _arm(timer: int) -> None:
    """Armed even when the kernel says ECANCELED: then the clock was set since, and a read says so, too."""
    library = ctypes.CDLL(None, use_errno=True)
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    if library.timerfd_settime(timer, flags, _FAR, None) != 0 and ctypes.get_errno() != errno.ECANCELED:
        raise SensorError(f"steps of the clock cannot be seen: {os.strerror(ctypes.get_errno())}")
