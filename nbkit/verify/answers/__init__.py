"""Does a final answer equal the reference?"""
