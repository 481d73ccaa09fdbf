"""Read what attention and MLP add to the residual stream, and the output of each attention head."""
