"""What the tiny models of the families from aria to hyperclovax_vision_v2 need; see `tiny_vision_language`."""

OWN: dict[str, dict] = {}
