"""How is Redis reached? Keys, connections, scripts, the embedded server."""
