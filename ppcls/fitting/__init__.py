"""A model in a minute: features of a pretrained network, and a linear classifier on them."""
