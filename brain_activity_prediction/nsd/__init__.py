"""The Natural Scenes Dataset on disk: where its files lie and what stands in them."""
