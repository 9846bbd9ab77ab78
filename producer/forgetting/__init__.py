"""How are users erased, and what still has them?"""
