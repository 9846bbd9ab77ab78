"""What do readers read? Cached lists and generations."""
