"""Architectures: one folder per family, found automatically, and the code that all share.

`ppcls/models/<family>/cards.py` holds the model cards of a family, without Paddle, and
`ppcls/models/<family>/network.py` builds its networks.
"""
