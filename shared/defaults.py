"""What a run does where nobody says how much; nothing is imported for it, so the command line can show it at once."""

# How many jobs of a run are under way at a time.
IN_FLIGHT = 8
