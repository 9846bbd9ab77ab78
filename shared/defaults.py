"""How much it is where nobody says so, and at most; without imports, so that the command line can show it at once."""

# How many jobs of a run are under way at a time.
IN_FLIGHT = 8
# How many jobs a lane may hold before producers are told to wait.
MAX_QUEUED = 1_000_000
# The most batch threads of one worker process.
MOST_THREADS = 64
