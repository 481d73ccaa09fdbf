"""What partition_variance.py is made of: feature spaces in, shares of variance out."""
