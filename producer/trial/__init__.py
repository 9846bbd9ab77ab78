"""What can be tried without data of one's own?"""
