"""What is kept in files, and whose is it?"""
