"""A folder of a model that leads elsewhere, asks for code or fills the memory is refused in one line, at once."""

import json
import os
from pathlib import Path

import pytest

from brain_activity_prediction.models.checkpoints.checkpoint_folder import check_folder
from brain_activity_prediction.runtime.errors import InputError

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "published"
PATTERNS = ("*.json", "*.safetensors")


def write(folder, name, **content):
    (folder / name).write_text(json.dumps(content))


HOSTILE = {
    "ten million layers": (
        "config.json",
        {"text_config": {"num_hidden_layers": 10**7}},
        "num_hidden_layers = 10000000",
    ),
    "ten million layers in stages": ("config.json", {"depths": [2] * 10**5}, "depths = 200000"),
    "layers as a float": ("config.json", {"num_layers": 1e9}, "num_layers = 1000000000.0"),
    "ten million experts": ("config.json", {"num_local_experts": 10**7}, "num_local_experts"),
    "ten billion labels": ("config.json", {"num_labels": 10**10}, "num_labels"),
    "code of the hub": ("config.json", {"attn_implementation": "kernels/evil"}, "code on the hub"),
    "code of the hub within": ("config.json", {"vision_config": {"_attn_implementation": "a/b"}}, "code on the hub"),
    "code of the hub by part": ("config.json", {"attn_implementation": {"text_config": "a/b"}}, "code on the hub"),
    "a timm model of the hub": ("config.json", {"architecture": "hf-hub:evil/net"}, "another model on the hub"),
    "a timm checkpoint elsewhere": (
        "config.json",
        {"model_args": {"checkpoint_path": "/x.pth"}},
        "outside of its folder",
    ),
    "images of a terapixel": ("preprocessor_config.json", {"size": {"height": 10**6, "width": 10**6}}, "height"),
    "an absolute path in an index": ("model.safetensors.index.json", {"weight_map": {"a": "/x"}}, "outside of its"),
    "a parent in an index": ("model.safetensors.index.json", {"weight_map": {"a": "../x"}}, "outside of its folder"),
    "a configuration that is a list": ("config.json", None, "not a JSON object"),
}


@pytest.mark.parametrize(("name", "content", "said"), HOSTILE.values(), ids=HOSTILE)
def test_what_leads_elsewhere_or_asks_for_too_much_is_refused_by_name(tmp_path, name, content, said):
    (tmp_path / name).write_text(json.dumps([] if content is None else content))
    with pytest.raises(InputError, match=said) as error:
        check_folder(tmp_path, PATTERNS)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} is not a regular file"):
        check_folder(tmp_path, PATTERNS)


def test_links_to_files_as_in_the_cache_of_the_hub_are_followed(tmp_path):
    (tmp_path / "snapshot").mkdir()
    write(tmp_path, "blob", num_hidden_layers=12)
    (tmp_path / "snapshot/config.json").symlink_to(tmp_path / "blob")
    check_folder(tmp_path / "snapshot", PATTERNS)
    write(tmp_path, "blob", num_hidden_layers=10**7)
    with pytest.raises(InputError, match=r"snapshot/config\.json has num_hidden_layers"):
        check_folder(tmp_path / "snapshot", PATTERNS)


def test_edges_that_count_pixels_pass_in_a_processor_of_several_parts(tmp_path):
    size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 16384}
    write(tmp_path, "processor_config.json", image_processor={"merge_size": 2, "size": size})
    check_folder(tmp_path, PATTERNS)
    write(tmp_path, "processor_config.json", image_processor={"size": size})
    with pytest.raises(InputError, match="longest_edge"):
        check_folder(tmp_path, PATTERNS)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"no small files of published models in {PUBLISHED}")
def test_published_folders_pass():
    folders = [folder for folder in PUBLISHED.iterdir() if folder.is_dir()]
    assert folders
    for folder in folders:
        check_folder(folder, PATTERNS)
