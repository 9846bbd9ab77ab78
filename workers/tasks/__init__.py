"""What the workers do: each task loads, calls one pure function, saves and announces."""

from arq.worker import Function, func

from reckoner.shared.wire.jobs import REFUSE, Chunk, Finish, Reduce, Split
from reckoner.workers.runtime.delivery import delivered, refuse
from reckoner.workers.tasks.chunk import chunk
from reckoner.workers.tasks.finish import finish
from reckoner.workers.tasks.reduce import reduce
from reckoner.workers.tasks.split import split


def arq_functions() -> list[Function]:
    """All functions that a worker offers to arq."""
    return [
        func(delivered(Split, split), name=Split.name),
        func(delivered(Chunk, chunk), name=Chunk.name),
        func(delivered(Reduce, reduce), name=Reduce.name),
        func(finish, name=Finish.name),
        func(refuse, name=REFUSE),
    ]
