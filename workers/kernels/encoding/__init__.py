"""How are lists written? Arrays in, bytes out."""
