"""What the workers do: each task loads, calls one pure function, saves and announces."""

from arq.worker import Function, func

from shared.jobs import REFUSE, Chunk, Finish, Reduce, Split
from workers.delivery import delivered, refuse
from workers.tasks.chunk import chunk
from workers.tasks.finish import finish
from workers.tasks.reduce import reduce
from workers.tasks.split import split


def arq_functions() -> list[Function]:
    """All functions that a worker offers to arq."""
    return [
        func(delivered(Split, split), name=Split.name),
        func(delivered(Chunk, chunk), name=Chunk.name),
        func(delivered(Reduce, reduce), name=Reduce.name),
        func(finish, name=Finish.name),
        func(refuse, name=REFUSE),
    ]
