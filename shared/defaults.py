"""How much it is where nobody says so, and at most; without imports, so that the command line can show it at once."""

# How many jobs of a run are under way at a time.
IN_FLIGHT = 8
# How many jobs a lane may hold before producers are told to wait.
MAX_QUEUED = 1_000_000
# The most batch threads of one worker process.
MAX_THREADS = 64
# The longest list that can be cached, the most users of a block, and the most neighbours of an item.
MAX_LIST_LENGTH = 1000
MAX_BLOCK_USERS = 100_000
MAX_NEIGHBOURS = 1_000_000_000
