"""What is stored in files, and who owns it?"""
