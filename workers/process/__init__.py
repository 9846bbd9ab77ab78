"""How do worker processes start and stop?"""
