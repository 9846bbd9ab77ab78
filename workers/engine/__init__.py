"""The engine: an arq worker that claims, leases and finishes jobs in batches, and loses none.

arq stays the queue: its job keys, functions, cron, hooks and its `Job` are used as they are. `EngineWorker` is an
`arq.Worker` and `EngineRedis` an `arq.ArqRedis`; this is what they replace, and why:

| replaced | since stock arq |
| --- | --- |
| `Worker.main` | polls; this one is woken |
| `Worker._poll_iteration`, `start_jobs` | claims a job at a time in four round trips; this one all free slots in one |
| `Worker.run_job` | drops a job whose tries are used up, and ends at one that it cannot decode |
| `Worker.finish_job`, `finish_failed_job` | ends a job whoever has claimed it since; this one is fenced, and batched |
| `Worker.heart_beat`, `record_health` | has one health key for all workers of a queue |
| `Worker.handle_sig`, `handle_sig_wait_for_completion` | cancels its own loop, and with it what that was just doing |
| `Worker.close` | deletes the health key of all workers |
| `Worker._cancel_aborted_jobs` | ends at a member that is no text, and forgets none |
| `ArqRedis.enqueue_job` | takes three round trips, and wakes nobody |

`Worker.run_cron` is called as it is. A test holds the sources of all these, so that
another arq cannot pass unseen.
"""
