"""What is done where nobody says how much; nothing is imported for it, so that the command line can show it at once."""

# Users are looked up, asked for and waited for so many at a time, so that a long file needs no memory.
USERS_AT_ONCE = 500
