"""Read the hidden states of any vision-language model of transformers."""
