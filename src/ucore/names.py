"""Holds for a moment what a program is to find, see `ucore.about.star`."""
