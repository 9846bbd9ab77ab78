"""What does every task stand on?"""
