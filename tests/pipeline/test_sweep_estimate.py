"""How long a sweep will take and how much it will store."""

from dataclasses import replace

import pytest
import torch
from scripts import EXTRACT, load_script
from sweeping import LLAVA, LLAVA_ID, VIT, VIT_ID, image_ids, parsed, planned, store
from torch.utils.flop_counter import FlopCounterMode

from brain_activity_prediction.models.torchvision_import import import_torchvision
from brain_activity_prediction.sweep import commands, estimate
from brain_activity_prediction.sweep.architectures import ARCHITECTURES, Transformer
from brain_activity_prediction.sweep.records import (
    Record,
    write_record,
)

pytestmark = pytest.mark.slow


def test_the_operations_of_a_transformer_are_those_that_torch_counts():
    import_torchvision()
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 2}
    model = ViTModel(ViTConfig(**sizes, image_size=32, patch_size=4, attn_implementation="eager"), False)
    hidden = torch.zeros(1, 65, 32)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        for layer in model.layers:
            hidden = layer(hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    assert Transformer(3, 32, 96).operations(65) == pytest.approx(counter.get_total_flops(), rel=1e-9)


@pytest.mark.parametrize("model", ARCHITECTURES)
def test_the_streams_of_an_architecture_are_those_of_its_script(model):
    script = load_script(f"{model}.py")
    streams = {*script.IMAGE_STREAMS, *getattr(script, "PROMPT_STREAMS", {})}
    assert all(ARCHITECTURES[model].states(stream) for stream in streams)
    assert bool(ARCHITECTURES[model].bridge) == bool(streams - {"vision", "language", "response"})


def test_the_weights_of_the_architectures_are_about_what_their_names_say():
    billions = {model: ARCHITECTURES[model].n_weights() / 1e9 for model in ARCHITECTURES}
    assert billions[VIT] == pytest.approx(0.63, rel=0.02)
    assert billions[LLAVA] == pytest.approx(13.0, rel=0.02)
    assert billions["idefics_9b_instruct"] == pytest.approx(8.5, rel=0.1)
    assert billions["openflamingo_9b"] == pytest.approx(8, rel=0.1)


def test_the_gigabytes_are_those_of_the_images_and_prompts_that_lack_states(own_nsd):
    ids = image_ids(own_nsd)
    store(own_nsd, LLAVA_ID, 1, ids[:60], n_layers=41, language=True)
    (model,) = planned(own_nsd, "--models", LLAVA).models
    values = 68 * 25 * 1024 + 8 * 41 * 4 + 68 * 41 * 5120  # prompt 1 as it is stored here, 4 wide
    assert estimate.extraction(own_nsd, model, "gpu").gigabytes == pytest.approx(values * 2 / 1e9)


def test_hours_follow_what_earlier_units_took_on_such_a_device(own_nsd):
    (model,) = planned(own_nsd, "--models", VIT, "--shards", 2).models
    assumed = estimate.extraction(own_nsd, model, "gpu")
    assert not assumed.measured
    record = Record("here", 1, None, "gpu", None, amount=10, started=0, seconds=36000, status=0)
    write_record(own_nsd, model.extract[0].name, record)
    assert estimate.extraction(own_nsd, model, "gpu").hours == pytest.approx(68)
    assert estimate.extraction(own_nsd, model, "gpu").measured
    assert not estimate.extraction(own_nsd, model, "cpu").measured
    (in_other_shards,) = planned(own_nsd, "--models", VIT, "--shards", 3).models
    assert estimate.extraction(own_nsd, in_other_shards, "gpu").hours == pytest.approx(68)
    write_record(own_nsd, f"extract_{VIT}_1_of_2_1_of_4", replace(record, seconds=9e9))  # another model's
    assert estimate.extraction(own_nsd, model, "gpu").hours == pytest.approx(68)


def test_plan_prints_what_is_left_in_hours_and_gigabytes(own_nsd, capsys):
    store(own_nsd, VIT_ID, None, image_ids(own_nsd)[:8])
    commands.plan(parsed("plan", own_nsd, "-g", "0,1", "--models", VIT, LLAVA, "-s", 1, 2))
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if VIT in line).split()
    assert row[:6] == ["extract", VIT, "2", "2", "68", "60"]
    assert "with 2;" in lines[-2]
    commands.plan(parsed("plan", own_nsd, "--models", VIT, "-s", 1, "--units"))
    listed = capsys.readouterr().out.splitlines()[-3:]
    assert listed[0].startswith(f"extract_{VIT}_1_of_1: ")
    assert listed[0].endswith("--shard 0/1 -g 0")


def test_every_model_of_the_study_is_a_script():
    assert all((EXTRACT / f"{model}.py").is_file() for model in ARCHITECTURES)
    assert len(ARCHITECTURES) == 6
