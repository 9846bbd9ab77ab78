"""Defaults of the producer, without imports, so that the command line stays fast."""

# Commands handle users in batches of this size, so that a long file needs little memory.
USERS_AT_ONCE = 500
