"""The ports that boards are on: `discovery` knows them, `stream` opens one without resetting its board.

`virtual` lists the virtual boards that run on this computer.
"""
