"""How do good rows become one interaction for each user and item?"""
