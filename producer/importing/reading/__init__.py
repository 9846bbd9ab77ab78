"""How does a source become batches of rows with their numbers?"""
