"""Everything that touches Redis by name: keys, connections, scripts, the embedded server."""
