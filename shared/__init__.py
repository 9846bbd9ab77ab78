"""The base of producer and workers: a producer enqueues a job; a worker splits it into
similarity chunks; workers score the chunks side by side; the last one to finish enqueues the reduce; the reduce merges
and publishes; the cache serves."""
