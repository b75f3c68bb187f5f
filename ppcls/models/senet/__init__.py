"""SENet."""
