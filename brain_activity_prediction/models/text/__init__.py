"""Read the hidden states of any text model of transformers."""
