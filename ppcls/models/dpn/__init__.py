"""DPN: dual path networks."""
