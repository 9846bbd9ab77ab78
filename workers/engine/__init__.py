"""Who claims, leases and settles jobs? The engine: an arq worker that does so in batches and loses no job.

arq stays the queue: its job keys, functions, cron, hooks and `Job` are unchanged. `EngineWorker` is an `arq.Worker` and
`EngineRedis` an `arq.ArqRedis`. They replace these methods:

| replaced | what stock arq does | what the engine does |
| --- | --- | --- |
| `Worker.main` | polls | blocks until it is woken |
| `Worker._poll_iteration`, `start_jobs` | claims one job in four round trips | fills all free slots in one |
| `Worker.run_job` | drops a job after its last try; crashes on an undecodable job | makes both dead letters |
| `Worker.finish_job`, `finish_failed_job` | ends a job that another worker may hold | is fenced and batched |
| `Worker.heart_beat`, `record_health` | has one health key for all workers of a queue | has one for each worker |
| `Worker.handle_sig`, `handle_sig_wait_for_completion` | cancels its own loop | lets the loop finish its step |
| `Worker.close` | deletes the health key of all workers | closes its own connections |
| `Worker._cancel_aborted_jobs` | crashes on a member that is not text; never expires one | ignores and expires them |
| `ArqRedis.enqueue_job` | takes three round trips; wakes no worker | takes one, and wakes a worker |

`Worker.run_cron` is called unchanged. A test hashes the sources of all these methods, so that a new arq is noticed.
"""
