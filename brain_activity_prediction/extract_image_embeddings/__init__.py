"""Images in, hidden states of every layer out: one script a model."""
