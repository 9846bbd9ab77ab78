"""What does an application call?"""
