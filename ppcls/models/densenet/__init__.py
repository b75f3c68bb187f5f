"""DenseNet."""
