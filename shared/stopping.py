"""How long each process waits for what it has started when all are told to stop: longer than that one takes.

A worker lets its jobs go on for `RECKONER_STOP_S`, hands back what is left, and closes its connections.
"""

WORKER_S = 4.0
SUPERVISOR_S = 8.0
STARTER_S = 13.0


def worker_exit_timeout_s(stop_s: float) -> float:
    """After how many seconds a worker is cut off that nobody waits for: a Redis that is gone too may hold it up."""
    return stop_s + WORKER_S


def supervisor_exit_timeout_s(stop_s: float) -> float:
    """After how many seconds a supervisor kills what has not ended."""
    return stop_s + SUPERVISOR_S


def launcher_exit_timeout_s(stop_s: float) -> float:
    """After how many seconds a supervisor is killed by who started it: `up`, or a container's host."""
    return stop_s + STARTER_S
