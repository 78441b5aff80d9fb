"""The µcore kernel: a switchboard between Jupyter front ends, an ordinary ipykernel and the boards of the hub.

It is started as ``python -m ukernel.kernel``. Other parts use `kernelspec`, which installs what Jupyter knows of it, and nothing else.
"""
