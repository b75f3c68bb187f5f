"""Optimizers and learning rate schedules: options and code together."""
