"""Versions of one model beside each other: what was measured of them, and what they say of pictures
that people looked at.
"""
