"""How punctual gRPC's own threads are woken: while a connection stands, they need not be.

Its pool looks for work by timers, some ten a second, although whatever it is to do also wakes it. With the timer slack
of those threads at a second (proc_pid_timerslack_ns(5)) the kernel gathers these wakings: 0.14 ms a second instead of
0.36, of what an idle agent takes (tests/bench/bench_idle.py). Work, and what the network brings, is as prompt as ever,
since neither waits for a timer. Until a connection stands the timers count, and the slack is the system's.
"""

from __future__ import annotations

import os

from schoolkeeper_agent.system import here

EASED_NS = 1_000_000_000
SYSTEMS_OWN_NS = 0
"""Back to what the process began with."""
_THREADS = ("event_engine", "lifeguard", "grpc_global_tim")
"""As gRPC names them, cut to 15 bytes; none of Python's own threads is called so."""


def set_slack(slack_ns: int) -> int:
    """Of all threads of gRPC's in this process, nanoseconds; returns how many took it.

    Needs CAP_SYS_NICE for every thread but the caller's; without it nothing changes.
    """
    took = 0
    if not here.TIMER_SLACK:
        return took
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208
        try:
            with open(f"/proc/self/task/{thread}/comm") as file:  # noqa: PTH123
                if not file.read().startswith(_THREADS):
                    continue
            with open(f"/proc/{thread}/timerslack_ns", "w") as file:  # noqa: PTH123
                file.write(str(slack_ns))
        except OSError:
            continue  # it ended, or we may not
        took += 1
    return took
