"""What does a job do? A task loads, calls one pure function, saves and notifies."""

from arq.worker import Function, func

from reckoner.shared.wire.jobs import REFUSE, Chunk, Finish, Reduce, Split
from reckoner.workers.runtime.flow_tasks import arq_function_of, refuse
from reckoner.workers.tasks.chunk import chunk
from reckoner.workers.tasks.finish import finish
from reckoner.workers.tasks.reduce import reduce
from reckoner.workers.tasks.split import split


def arq_functions() -> list[Function]:
    """The arq functions of a worker."""
    return [
        func(arq_function_of(Split, split), name=Split.name),
        func(arq_function_of(Chunk, chunk), name=Chunk.name),
        func(arq_function_of(Reduce, reduce), name=Reduce.name),
        func(finish, name=Finish.name),
        func(refuse, name=REFUSE),
    ]
