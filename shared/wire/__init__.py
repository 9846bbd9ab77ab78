"""What crosses Redis, as values?"""
