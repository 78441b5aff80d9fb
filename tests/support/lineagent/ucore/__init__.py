"""A board that runs each line it gets, in place of the real agent: for tests of what lies underneath."""
