"""Architectures: a folder a family, found by themselves; and what all of them share.

`ppcls/models/<family>/cards.py` states the facts of a family, without Paddle, and
`ppcls/models/<family>/network.py` builds its networks.
"""
