"""What crosses Redis? Jobs and values, and their bytes."""
