"""The names of the projects whose users come here, each thin over what does the work.

Nothing here is imported by the rest of achilles, and importing it starts nothing.
"""
