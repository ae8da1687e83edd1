"""`dcgan`: a network learns to draw healthy surfaces; what it cannot re-create of an image is not healthy."""
