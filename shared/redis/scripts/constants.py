"""The constants that Python and the scripts share: `load_script` writes their values into the scripts."""

from typing import get_args

from reckoner.shared.wire.shapes import Lane

CLICK, BATCH = get_args(Lane)
# The keys that arq has for a job: a prefix and its id. ABORTED is a sorted set of ids. (A client needs no arq.)
JOB, RUNNING, TRIES, RESULT = "arq:job:", "arq:in-progress:", "arq:retry:", "arq:result:"
ABORTED = "arq:abort"
# The keys beside a queue: its name and a suffix.
LEASES, WAKE, PAUSE = ":leases", ":wake", ":paused"
# A claimed job's score is its place plus CLAIMED: it leaves the queue's head, stays a member, and keeps its place.
CLAIMED = 10**14
# The score of a job that waits for its next try is its place plus PAUSED. It has a lease without a holder until then.
PAUSED = 2 * CLAIMED

# The time to live of a count of deaths; each death renews it.
TRIES_TTL_S = 88_400
# arq's `keep_cronjob_progress`.
CRON_TTL_MS = 60_000
DAY_MS = 86_400_000
UNFINISHED_TTL_MS = 7 * DAY_MS
ENDED_TTL_MS = 3_600_000
# How long a batch of counts is known, so that it is not added twice.
COUNTED_TTL_MS = 3_600_000
NIGHT_TTL_DAYS = 8
NIGHT_TTL_MS = NIGHT_TTL_DAYS * DAY_MS
# Records and titles without a pointer.
UNREFERENCED_TTL_MS = 8 * DAY_MS

# The maximum of keys or members in one call, so that no script or command takes longer than a few milliseconds.
SLICE = 500
MAX_TASKS = 500
MAX_REWORK = 5

# Without a window of its own, a run has as many blocks in flight as the workers' batch threads hold: one is computed,
# one written, and one waits. With fewer workers the next ones may just be starting.
BLOCKS_PER_THREAD, LEAST_WINDOW = 3, 8
# A worker counts if its last heartbeat is at most this old. Workers beat once a second.
BEAT_WITHIN_MS = 3_000

# The most items of which impressions of one user are kept.
MOST_SHOWN = 1000
# The most events of one user that count before the next import.
MOST_RECENT = 1000
# The most items that one user hides: each change writes all again that the user's lists leave out.
MOST_HIDES = 1000
EVENT_ID_TTL_S = 86_400
# The least time between two jobs for one user's list that events make.
DEBOUNCE_MS = 250
# About the most changes of hidden items that readers can follow; after more they read all again.
MOST_CHANGES = 1000
