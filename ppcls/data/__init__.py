"""Data input: image reading, transforms, lists and batches. Nothing here needs Paddle."""
