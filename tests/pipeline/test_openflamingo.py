"""The OpenFlamingo network: the authors' numbers, the published names, what a checkpoint folder holds."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.models.openflamingo import network
from brain_activity_prediction.models.openflamingo import weights as openflamingo_checkpoint
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow

if importlib.util.find_spec("open_flamingo") is None:
    pytest.skip(f"open_flamingo is not installed: {network.INSTALL}", allow_module_level=True)
import_torchvision()

from tiny_openflamingo import GEOMETRY, random_tensors, write_checkpoint  # noqa: E402

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "openflamingo"
CASES = ("single", "two_images_leftpad", "batch2")
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="no ../shared/reference/openflamingo")
# The reference's own float32 lies up to 9e-6 (hidden states) and 2e-5 (logits, which reach 25) from float64.
CLOSE = {"rtol": 1e-6, "atol": 2e-5}
CLOSE_LOGITS = {"rtol": 1e-6, "atol": 5e-5}


def load(folder, dtype=torch.float32):
    return openflamingo_checkpoint.load(Checkpoint("unused", "unused", folder), dtype)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The authors' tiny network, loaded as a user would load a checkpoint."""
    geometry = json.loads((REFERENCE / "config.json").read_text())
    folder = tmp_path_factory.mktemp("reference") / "checkpoint"
    return load(write_checkpoint(folder, geometry, load_file(REFERENCE / "model.safetensors")))[0]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of a tiny network with random weights."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint", GEOMETRY, random_tensors(GEOMETRY))


@pytest.fixture
def spoilt(tiny, tmp_path):
    """A copy of that folder, for the test to spoil."""
    return shutil.copytree(tiny, tmp_path / "checkpoint")


def arrays(case):
    import numpy as np

    with np.load(REFERENCE / "cases.npz") as file:
        return {name.split("/")[1]: torch.from_numpy(file[name]) for name in file if name.startswith(f"{case}/")}


def output_of(module, kept):
    return module.register_forward_hook(lambda module, inputs, output: kept.append(output))


@needs_reference
@pytest.mark.parametrize("case", CASES)
def test_every_stage_gives_the_authors_numbers(reference, case):
    expected, language = arrays(case), reference.lang_encoder
    vision, perceiver, gated = [], [], []
    hooks = [output_of(reference.vision_encoder, vision), output_of(reference.perceiver, perceiver)]
    hooks += [output_of(block, gated) for block in language.gated_cross_attn_layers if block is not None]
    language.config.output_hidden_states = True
    with torch.inference_mode():
        output = reference(expected["vision_x"], expected["lang_x"], expected["attention_mask"])
    language.config.output_hidden_states = False
    for hook in hooks:
        hook.remove()

    torch.testing.assert_close(vision[0][1], expected["vision_tokens"], **CLOSE)
    torch.testing.assert_close(vision[0][0], expected["vision_pooled"], **CLOSE)
    torch.testing.assert_close(perceiver[0], expected["perceiver_output"], **CLOSE)
    torch.testing.assert_close(torch.stack(gated), expected["cross_attn_outputs"], **CLOSE)
    torch.testing.assert_close(torch.stack(output.hidden_states), expected["hidden_states"], **CLOSE)
    torch.testing.assert_close(output.logits, expected["logits"], **CLOSE_LOGITS)


@needs_reference
@pytest.mark.parametrize("kind", ["gen", "gen_cached"])
@pytest.mark.parametrize("case", CASES)
def test_greedy_answers_are_the_authors_with_and_without_a_cache(reference, case, kind):
    expected = arrays(case)
    output = reference.generate(
        expected["vision_x"],
        expected["lang_x"],
        expected["attention_mask"],
        max_new_tokens=6,
        do_sample=False,
        use_cache=kind == "gen_cached",
        output_scores=True,
        output_hidden_states=True,
        return_dict_in_generate=True,
    )
    newest = torch.stack([torch.stack([layer[:, -1:] for layer in step]) for step in output.hidden_states[1:]])
    torch.testing.assert_close(output.sequences, expected["gen_sequences"])
    torch.testing.assert_close(torch.stack(output.scores), expected[f"{kind}_scores"], **CLOSE_LOGITS)
    torch.testing.assert_close(newest, expected[f"{kind}_steps_hidden_states"], **CLOSE)
    torch.testing.assert_close(torch.stack(output.hidden_states[0]), expected["gen_step0_hidden_states"], **CLOSE)


@needs_reference
@pytest.mark.parametrize("case", CASES)
def test_an_answer_ends_where_the_authors_ended_it(reference, case):
    expected = arrays(case)
    sequences = reference.generate(
        expected["vision_x"],
        expected["lang_x"],
        expected["attention_mask"],
        max_new_tokens=6,
        do_sample=False,
        eos_token_id=int(expected["geneos_eos_token_id"]),
    )
    torch.testing.assert_close(sequences, expected["geneos_sequences"])


@needs_reference
def test_the_9b_network_has_the_published_names_and_shapes():
    import open_clip
    from transformers import MptConfig, MptForCausalLM

    with torch.device("meta"):
        visual = open_clip.create_model(openflamingo_checkpoint.CLIP_NAME, device="meta").visual
        mpt = MptForCausalLM(MptConfig(d_model=4096, n_heads=32, n_layers=32, vocab_size=50280))
    model = network.build(visual, mpt, image_id=1, endofchunk_id=0, interval=4)
    published = json.loads((REFERENCE / "real_names_shapes.json").read_text())
    shapes = {openflamingo_checkpoint.own_name(name): list(tensor.shape) for name, tensor in model.state_dict().items()}
    del shapes["lang_encoder.lm_head.weight"]  # the token embeddings' own
    assert shapes == published["trained"] | published["frozen"]
    assert {name for name in shapes if openflamingo_checkpoint.TRAINED.match(name)} == published["trained"].keys()
    assert openflamingo_checkpoint.cross_attention_interval(published["trained"]) == 4


def test_all_tensors_come_from_the_checkpoint_in_the_dtype_asked_for(tiny):
    tensors = random_tensors(GEOMETRY)
    model, (tokenizer, _) = load(tiny, torch.bfloat16)
    for name, tensor in model.state_dict().items():
        if name != "lang_encoder.lm_head.weight":
            torch.testing.assert_close(tensor, tensors[openflamingo_checkpoint.own_name(name)].bfloat16())
    assert model.lang_encoder.lm_head.weight is model.lang_encoder.transformer.wte.weight
    assert not model.training
    assert tokenizer.convert_tokens_to_ids(["<|endofchunk|>", "<image>", "<PAD>"]) == [257, 258, 259]
    assert (model.eoc_token_id, model.media_token_id) == (257, 258)


def test_safetensors_and_the_names_of_a_run_in_training_load_the_same(spoilt):
    model = load(spoilt)[0]
    trained = torch.load(spoilt / "checkpoint.pt", weights_only=True)
    listed_twice = {
        name.replace("transformer.blocks.3.gated_cross_attn_layer", "gated_cross_attn_layers.3"): tensor
        for name, tensor in trained.items()
    }
    torch.save({"epoch": 3, "model_state_dict": listed_twice}, spoilt / "checkpoint.pt")
    in_training = load(spoilt)[0]
    (spoilt / "checkpoint.pt").unlink()
    save_file(trained, spoilt / "checkpoint.safetensors")
    safe = load(spoilt)[0]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, in_training.state_dict()[name])
        assert torch.equal(tensor, safe.state_dict()[name])


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(network, "PACKAGES", ("torch", "a_package_that_is_not_here"))
    with pytest.raises(InputError, match=r"needs a_package_that_is_not_here: in the clone, run pip install") as error:
        load(None)
    assert str(error.value).endswith("pip install --no-deps open_flamingo==2.0.1")
    assert "\n" not in str(error.value)


def test_a_checkpoint_that_lacks_tensors_is_refused_by_name(spoilt):
    trained = torch.load(spoilt / "checkpoint.pt", weights_only=True)
    del trained["module.perceiver.latents"], trained["module.perceiver.norm.bias"]
    torch.save(trained, spoilt / "checkpoint.pt")
    with pytest.raises(InputError, match=r"^2 of the \d+ tensors .* are missing, first perceiver.latents"):
        load(spoilt)


def test_the_checkpoint_of_another_geometry_is_refused_by_name(spoilt):
    trained = torch.load(spoilt / "checkpoint.pt", weights_only=True)
    trained["module.perceiver.latents"] = torch.zeros(64, 20)
    torch.save(trained, spoilt / "checkpoint.pt")
    with pytest.raises(InputError, match=r"^1 of the \d+ tensors .* of another shape, first perceiver.latents"):
        load(spoilt)


def test_weights_of_another_kind_of_model_are_refused(spoilt):
    torch.save({"encoder.weight": torch.ones(2)}, spoilt / "checkpoint.pt")
    with pytest.raises(InputError, match="no gated cross-attention"):
        load(spoilt)


def test_a_cut_off_download_is_one_line(spoilt):
    whole = (spoilt / "checkpoint.pt").read_bytes()
    (spoilt / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cannot read .*checkpoint.pt .*: it is truncated"):
        load(spoilt)


class Intruder:
    def __reduce__(self):
        return print, ("code from a checkpoint ran",)


def test_no_code_in_a_checkpoint_is_run(spoilt, capsys):
    torch.save({"perceiver.latents": Intruder()}, spoilt / "checkpoint.pt")
    with pytest.raises(InputError, match=r"cannot read .*checkpoint.pt"):
        load(spoilt)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("part", ["checkpoint.pt", "mpt-7b/config.json", "clip/open_clip_model.safetensors"])
def test_a_part_that_is_missing_is_named_before_anything_is_loaded(spoilt, part):
    checkpoint = Checkpoint("unused", "unused", spoilt)
    checkpoint.check(openflamingo_checkpoint.FILES)
    (spoilt / part).unlink()
    with pytest.raises(InputError, match=rf"^--checkpoint .* holds no {part.split('_')[0].split('.')[0]}"):
        checkpoint.check(openflamingo_checkpoint.FILES)


@pytest.mark.parametrize("part", ["mpt-7b/pytorch_model.bin", "clip/open_clip_model.safetensors"])
def test_a_damaged_tower_is_one_line_that_names_its_folder(spoilt, part):
    (spoilt / part).write_bytes((spoilt / part).read_bytes()[:1000])
    with pytest.raises(
        InputError, match=rf"{Path(part).parent.name} (could not be loaded|.* take 1000 bytes)"
    ) as error:
        load(spoilt)
    assert "\n" not in str(error.value)


def test_mpt_weights_under_other_names_are_refused(spoilt):
    weights = torch.load(spoilt / "mpt-7b" / "pytorch_model.bin", weights_only=True)
    weights["transformer.blocks.0.other"] = weights.pop("transformer.blocks.0.attn.Wqkv.weight")
    torch.save(weights, spoilt / "mpt-7b" / "pytorch_model.bin")
    with pytest.raises(
        InputError,
        match=r"mpt-7b lacks 1 of the parameters of MptForCausalLM, first transformer.blocks.0.attn.Wqkv.weight",
    ):
        load(spoilt)


def test_nothing_heavy_is_imported_before_a_model_is_asked_for():
    heavy = {"torch", "transformers", "open_clip", "open_flamingo"}
    code = f"import sys, {openflamingo_checkpoint.__name__}; print(sys.modules.keys() & {heavy})"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"
