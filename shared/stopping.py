"""Timeouts of a graceful stop: each process waits for its children longer than they need.

A worker lets its jobs run for `RECKONER_STOP_S`, returns the rest to the queue, and closes its connections.
"""

WORKER_S = 4.0
SUPERVISOR_S = 8.0
STARTER_S = 13.0


def worker_exit_timeout_s(stop_s: float) -> float:
    """Seconds until a worker without a supervisor exits, even if Redis is gone too."""
    return stop_s + WORKER_S


def supervisor_exit_timeout_s(stop_s: float) -> float:
    """Seconds until a supervisor kills its workers."""
    return stop_s + SUPERVISOR_S


def launcher_exit_timeout_s(stop_s: float) -> float:
    """Seconds until `up`, or the container's host, kills a supervisor."""
    return stop_s + STARTER_S
