"""Prediction: images in, named classes out. Only the Paddle backends need Paddle."""
