"""The board hub's process, `python -m ukernel.hub`: it owns the boards, and serves clients and readers of pipes.

Nobody imports it: others reach it through `ukernel.client`.
"""
