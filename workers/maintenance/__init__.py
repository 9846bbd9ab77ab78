"""What mends and tidies?"""
