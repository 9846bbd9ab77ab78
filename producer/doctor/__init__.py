"""Is all well? The doctor checks everything that the system depends on, and says how to fix each problem."""
