"""The page: what does a person see in a browser?"""
