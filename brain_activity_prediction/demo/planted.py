"""Compute the features that the demo's voxels follow, from an early and a late layer of the demo's language model."""

from pathlib import Path

import numpy as np
from PIL import Image

from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS

PROMPT = 1
LAYERS = {"early": 1, "late": 7}
# Principal components that are used. The first ones are skipped, because they are similar in all layers.
COMPONENTS = slice(12, 18)
BATCH = 32


def layer_features(pictures: np.ndarray, checkpoint: Path) -> dict[str, np.ndarray]:
    """Return principal components, uncorrelated and of SD 1, of each layer that voxels follow: `{source: (n, k)}`.

    pictures  (n, size, size, 3) uint8

    The hidden states are computed with transformers (`output_hidden_states`) from the saved LLaVA and averaged over all
    tokens, independently of this package's extraction.
    """
    import torch
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(checkpoint).eval()
    processor = AutoProcessor.from_pretrained(checkpoint, backend="pil")
    text = f"USER: <image>\n{PROMPTS[PROMPT]} ASSISTANT:"
    states = {source: [] for source in LAYERS}
    with torch.inference_mode():
        for start in range(0, len(pictures), BATCH):
            images = [Image.fromarray(picture) for picture in pictures[start : start + BATCH]]
            inputs = processor(text=[text] * len(images), images=images, return_tensors="pt")
            hidden = model(**inputs, output_hidden_states=True).hidden_states
            for source, layer in LAYERS.items():
                states[source].append(hidden[layer].mean(dim=1).numpy())
    return {source: principal_components(np.concatenate(parts)) for source, parts in states.items()}


def principal_components(states: np.ndarray) -> np.ndarray:
    """Project states (n, W) on their principal directions COMPONENTS; return (n, k), each column of SD 1."""
    centred = states - states.mean(axis=0, dtype=np.float64)
    return np.linalg.svd(centred, full_matrices=False)[0][:, COMPONENTS] * np.sqrt(len(states))
