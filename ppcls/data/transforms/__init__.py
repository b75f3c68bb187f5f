"""Image transforms: options and code together."""
