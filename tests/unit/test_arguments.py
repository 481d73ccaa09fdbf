from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from brain_activity_prediction.align_image_embeddings import (
    across_subjects,
    align_model,
    compare,
    compare_representations,
    cross_subject_ceiling,
    partition_variance,
    predict_challenge,
)
from brain_activity_prediction.cli import extraction_command, shared_flags
from brain_activity_prediction.cli.parser import OneLineParser
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.extraction.prompt_selection import select_prompts
from brain_activity_prediction.extraction.settings import ExtractionSettings
from brain_activity_prediction.report import export_maps, figures, report, surface_maps
from brain_activity_prediction.rsa.settings import SimilaritySettings
from brain_activity_prediction.runtime import devices
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import (
    PLANTED,
    alignment_folder,
    embeddings_folder,
    is_simulated,
    model_folder,
)
from brain_activity_prediction.sweep import sweep
from brain_activity_prediction.sweep.settings import JobSettings, SweepSettings
from brain_activity_prediction.variance_partitioning.settings import PartitioningSettings

SCRIPTS = (
    across_subjects,
    align_model,
    compare,
    compare_representations,
    cross_subject_ceiling,
    partition_variance,
    predict_challenge,
    export_maps,
    figures,
    report,
    surface_maps,
)


def chosen(*tokens):
    flags = OneLineParser()
    shared_flags.add_prompts(flags)
    arguments = flags.parse_args(tokens)
    return select_prompts(arguments.prompt_number, arguments.prompts_file)


def test_prompts_are_given_as_numbers_and_ranges_and_each_is_taken_once():
    assert list(chosen("-p", "3")) == [3]
    assert list(chosen("-p", "5", "1-3", "2")) == [1, 2, 3, 5]
    assert list(chosen()) == [1]
    assert chosen("-p", f"{min(PROMPTS)}-{max(PROMPTS)}") == PROMPTS


LISTS = [
    (script.flags, flag)
    for script in SCRIPTS
    for flag in ("--subject", "--prompt-number", "--sessions", "--layer-number", "--ceiling-subjects")
    for action in [script.flags()._option_string_actions.get(flag)]
    if action is not None and action.nargs == "+"
]


@pytest.mark.parametrize(
    ("parser", "flag"),
    [*LISTS, *((lambda: extraction_command.flags(""), flag) for flag in ("--subject", "--prompt-number"))],
)
@pytest.mark.parametrize("written", [["1,2", "5"], ["1,", "2,", "5"], ["1-2", "5", "1"]])
def test_every_flag_that_takes_numbers_reads_lists_and_ranges(parser, flag, written):
    flags = parser()
    action = flags._option_string_actions[flag]
    for other in flags._actions:
        other.required = False
    assert getattr(flags.parse_args([flag, *written]), action.dest) == [1, 2, 5]


def test_no_flag_takes_several_numbers_in_another_way():
    parsers = [*(script.flags() for script in SCRIPTS), extraction_command.flags(""), sweep.flags()]
    several = [action for parser in parsers for action in parser._actions if action.nargs == "+"]
    assert len(several) > 20
    for action in several:
        takes_numbers = action.metavar in ("N", "S") or isinstance(next(iter(action.choices or ()), None), int)
        assert takes_numbers == isinstance(action, shared_flags.Numbers), action.option_strings


@pytest.mark.parametrize(
    ("flags", "settings", "fewest"),
    [
        (align_model.flags(), EncodingSettings, 9),
        (partition_variance.flags(), PartitioningSettings, 6),
        (compare_representations.flags(), SimilaritySettings, 4),
        (extraction_command.flags(""), ExtractionSettings, 6),
        (sweep.flags(), SweepSettings, 12),
        (sweep.flags(), JobSettings, 8),
    ],
)
def test_flags_have_the_defaults_of_the_settings_made_from_them(flags, settings, fewest):
    defaults = {field.name: field.default for field in fields(settings) if field.default is not MISSING}
    compared = {action.dest: action.default for action in flags._actions if action.dest in defaults}
    compared.pop("max_new_tokens", None)  # counts only with --response
    assert len(compared) >= fewest
    for name, default in compared.items():
        assert (tuple(default) if isinstance(default, list) else default) == defaults[name], name


@pytest.mark.parametrize("number", ["0", "99", "8-99"])
def test_a_prompt_that_does_not_exist_is_refused_and_those_that_do_are_listed(number):
    with pytest.raises(InputError, match="1, 2, 3, 4, 5, 6, 7, 8, 9"):
        chosen("-p", number)


def test_a_prompts_file_replaces_the_nine_prompts(tmp_path):
    (tmp_path / "own.yml").write_text("1: What is this?\n12: 'Où est le chat ?'\n", encoding="utf-8")
    (tmp_path / "own.json").write_text('{"1": "What is this?", "12": "Où est le chat ?"}', encoding="utf-8")
    for name in ("own.yml", "own.json"):
        own = chosen("-p", "12", "--prompts-file", str(tmp_path / name))
        assert own == {12: "Où est le chat ?"}


def test_spaces_and_line_ends_around_a_prompt_are_left_out(tmp_path):
    (tmp_path / "own.yml").write_text("1: |\n  What is this?\n  Be brief.\n2: '  And that? '\n", encoding="utf-8")
    own = chosen("-p", "1", "2", "--prompts-file", str(tmp_path / "own.yml"))
    assert own == {1: "What is this?\nBe brief.", 2: "And that?"}


def test_folders_are_named_by_model_prompt_and_subject(tmp_path):
    model = "org/model-1.5"
    assert embeddings_folder(tmp_path, model, 3) == tmp_path / "image_embeddings/prompt_3/org_model-1.5"
    assert embeddings_folder(tmp_path, model, None) == tmp_path / "image_embeddings/no_prompt/org_model-1.5"
    assert alignment_folder(tmp_path, 5, model, 9) == tmp_path / "alignment/subj05/prompt_9/org_model-1.5"


def test_results_are_simulated_only_in_a_base_dir_with_planted_truth(tmp_path, monkeypatch):
    (tmp_path / PLANTED).touch()
    for protocol in ("standard", "paper"):
        assert is_simulated(alignment_folder(tmp_path, 5, "org/model", 9, protocol) / "layers.png")
    assert is_simulated(tmp_path / "report" / "subject-1")
    assert not is_simulated(tmp_path / "real" / "report")
    assert not is_simulated(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert is_simulated(Path("report/figures"))


@pytest.mark.parametrize("model_id", ["../../x", "a/b/c", "/etc", "org/..", "", "a b", "org/"])
def test_a_model_id_cannot_lead_out_of_the_base_directory(model_id):
    with pytest.raises(InputError):
        model_folder(model_id)


class Driver:
    """NVIDIA's driver as `check_device` asks it."""

    def __init__(self, n_gpus, status=0):
        self.n_gpus, self.status = n_gpus, status

    def cuInit(self, flags):
        return self.status

    def cuDeviceGetCount(self, count):
        count._obj.value = self.n_gpus
        return 0


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        (Driver(2), "GPU 2 does not exist: this process sees 2, numbered from 0"),
        (Driver(0), "no usable GPU on this machine, so no GPU 2: use -g cpu"),
        (Driver(3, status=100), "no usable GPU on this machine, so no GPU 2: use -g cpu"),
        (None, "no NVIDIA driver on this machine, so no GPU 2: use -g cpu"),
    ],
)
def test_a_gpu_that_is_not_there_is_said_by_the_driver(driver, said, monkeypatch):
    def load(name):
        if driver is None:
            raise OSError(name)
        return driver

    monkeypatch.setattr(devices.os.path, "exists", lambda path: False)  # no AMD card
    monkeypatch.setattr(devices.ctypes, "CDLL", load)
    with pytest.raises(InputError, match=f"^{said}$"):
        devices.check_device("cuda:2")
    if driver is not None and driver.n_gpus and not driver.status:
        devices.check_device("cuda:1")
