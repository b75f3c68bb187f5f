"""SqueezeNet."""
