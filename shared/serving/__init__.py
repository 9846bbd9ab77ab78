"""What do readers read?"""
