"""What the hub and its clients share, without sockets or threads: the state file, the handshake, the pipe stream and its end reasons,
values and the names of cells. Others import the module that they need.
"""
