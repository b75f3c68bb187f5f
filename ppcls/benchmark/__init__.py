"""Measuring the speed of inference."""
