"""How are lists scored? Arrays in, arrays out."""
