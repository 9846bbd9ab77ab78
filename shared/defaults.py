"""Defaults and limits, without imports, so that the command line's help is fast."""

# The number of jobs in a lane from which enqueuing is refused.
MAX_QUEUED = 1_000_000
# The number of recorded events from which recording is refused.
MAX_EVENTS = 1_000_000
# The maximum of batch threads of one worker process.
MAX_THREADS = 64
# The maximum length of a cached list, of users in a block, and of neighbours of an item.
MAX_LIST_LENGTH = 1000
MAX_BLOCK_USERS = 100_000
# The number of further places of a cached list, in case that some must not be shown.
SPARE, MAX_SPARE = 10, 100
MAX_NEIGHBOURS = 1_000_000_000
# The maximum of an item's candidates in slim: a thread takes eight bytes for each pair of them, 128 MB.
MAX_CANDIDATES = 4000
# The maximum recency of a generation, and the default if the data have times.
MAX_RECENCY = 10.0
RECENCY = 0.25
