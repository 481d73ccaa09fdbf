"""What an alignment reads: which hidden states, which responses, and how both are prepared."""
