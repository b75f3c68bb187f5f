"""Losses: options and code together."""
