"""What starts and stops?"""
