"""What ridge.py computes with, from the decomposition up to the scores of every alpha."""
