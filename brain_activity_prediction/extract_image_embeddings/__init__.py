"""Scripts that extract hidden states of every layer for images, one script for each model."""
