"""Interfaces of PaddleClas, over ppcls."""
