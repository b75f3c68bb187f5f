"""HarDNet."""
