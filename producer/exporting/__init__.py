"""How does a generation leave Redis?"""
