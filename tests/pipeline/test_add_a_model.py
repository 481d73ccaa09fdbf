"""A seventh model, added as docs/add_a_model.md says: a copy of the ViT script with the lines of that page."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from base_dir import run
from scripts import ALIGN, EXTRACT

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.demo.models import save_random
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "add_a_model.md").read_text()
MODEL_ID = "facebook/dinov2-small"
CHANGES = {"org/model": MODEL_ID, "ViTModel": "Dinov2Model", "model.layers": "model.encoder.layer"}
COPIED = re.compile(r"^MODEL_ID = .*(?=\nif __name__)", re.MULTILINE | re.DOTALL)  # all but imports and the last lines


@pytest.fixture
def script(tmp_path):
    """The page's lines for DINOv2 in a copy of the ViT script, outside the package."""
    code = "\n".join(line[4:] for line in PAGE.splitlines() if line.startswith("    ") or not line)
    lines = code[code.index("MODEL_ID") :].strip()
    for placeholder, value in CHANGES.items():
        assert placeholder in lines
        lines = lines.replace(placeholder, value)
    copied, n_places = COPIED.subn(lambda _: lines + "\n\n", (EXTRACT / "vit_huge_patch14_224_in21k.py").read_text())
    assert n_places == 1
    path = tmp_path / "dinov2_small.py"
    path.write_text(copied)
    return path


@pytest.fixture
def checkpoint(tmp_path):
    """A DINOv2 of two layers, random and nowhere zero."""
    import_torchvision()
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    save_random(Dinov2Model(config), tmp_path / "weights", seed=0)
    size = {"height": 28, "width": 28}
    BitImageProcessor(size=size, do_center_crop=False).save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def test_ten_lines_add_a_model_that_is_extracted_and_aligned(script, checkpoint, own_nsd):
    from transformers import AutoImageProcessor, Dinov2Model

    run(
        script,
        ["-d", str(own_nsd), "-s", "1", "-g", "cpu", "--checkpoint", str(checkpoint), "--pooling", "mean", "cls"],
    )
    run(ALIGN, ["-d", str(own_nsd), "-s", "1", "-g", "cpu", "-m", MODEL_ID])

    folder = MODEL_ID.replace("/", "_")
    store = EmbeddingStore(own_nsd / "image_embeddings" / "no_prompt" / folder)
    assert store.streams() == {"vision": (3, 16), "vision_cls": (3, 16)}
    ids = store.image_ids(["vision", "vision_cls"])
    assert len(ids) == 40
    with Stimuli(find_nsd(own_nsd).stimuli()) as stimuli, torch.inference_mode():
        pixels = AutoImageProcessor.from_pretrained(checkpoint, backend="pil")(stimuli.images(ids), return_tensors="pt")
        hidden = Dinov2Model.from_pretrained(checkpoint)(**pixels, output_hidden_states=True).hidden_states
    for layer, states in enumerate(hidden):
        scale = float(states.abs().max())
        for stream, expected in (("vision", states.mean(dim=1)), ("vision_cls", states[:, 0])):
            np.testing.assert_allclose(store.read_layer(stream, layer, ids), expected, atol=1e-5 * scale)

    scores = pd.read_csv(own_nsd / "alignment" / "subj01" / "no_prompt" / folder / "scores.csv")
    assert set(scores["stream"]) == {"vision", "vision_cls"}
    assert set(scores.dropna(subset="layer")["layer"]) == {0, 1, 2}
    assert scores["r"].notna().all()


def test_the_shell_loop_aligns_it_by_its_id(script, tmp_path):
    loop = shutil.copy(EXTRACT / "run_experiments.sh", tmp_path)
    settings = {"MODELS": script.stem, "SUBJECTS": "1", "BASE_DIRECTORY": str(tmp_path / "base"), "PYTHON": "echo"}
    done = subprocess.run(["bash", loop], env=os.environ | settings, capture_output=True, text=True, check=True)
    assert re.search(rf"align_model\.py .* -m {MODEL_ID} ", done.stdout)
