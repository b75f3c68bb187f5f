"""Images and labels in: reading, transforms, lists, batches. Nothing here needs Paddle."""
