"""Data from boards in files: recorded by a process of its own.

Other parts use `format`: what a recording looks like, as an MCAP file.
"""
