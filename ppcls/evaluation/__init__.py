"""Evaluation of models and of exported bundles."""
