"""Which items explain an item: a local non-negative regression for each target."""
