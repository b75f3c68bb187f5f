"""Metrics: counting answers, and the tables made of them."""
