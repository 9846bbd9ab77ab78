"""Which rows are good, and what do their values say?"""
