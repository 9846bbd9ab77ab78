"""How is a model built? Arrays in, arrays out."""
