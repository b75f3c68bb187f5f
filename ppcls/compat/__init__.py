"""Interfaces of PaddleClas, implemented with ppcls."""
