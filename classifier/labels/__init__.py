"""Labels out and in: CSV, JSON Lines, zips of class folders, Label Studio.

`exports` and `imports` are the use cases. What the formats look like stands in rooms of their own
that know no Django.
"""
