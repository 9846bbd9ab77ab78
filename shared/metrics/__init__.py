"""What is measured? The table of all metrics, and the counts that processes add up in Redis."""
