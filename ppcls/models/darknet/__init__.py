"""DarkNet."""
