"""The constants of the scripts: a client has arq's without arq."""

from arq import constants as arq

from reckoner.shared.redis.scripts import constants


def test_the_keys_of_jobs_are_those_of_arq() -> None:
    """And cron notes a finished tick for as long as arq does."""
    prefixes = (constants.JOB, constants.RUNNING, constants.TRIES, constants.RESULT)
    assert prefixes == (arq.job_key_prefix, arq.in_progress_key_prefix, arq.retry_key_prefix, arq.result_key_prefix)
    assert (arq.abort_jobs_ss, 1000 * arq.keep_cronjob_progress) == (constants.ABORTED, constants.CRON_TTL_MS)
