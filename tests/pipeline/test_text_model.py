"""Any text model on captions and answers: tiny random models of many families, compared with transformers itself."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scripts import load_script, run_here
from text_families import FAMILIES, LIMIT, SIZE, save, write_text_model

from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.texts.answers import Answers
from brain_activity_prediction.datasets.texts.captions import Captions
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.models.text import model_script, network
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

pytestmark = pytest.mark.slow

TEXTS = ["a dog", "two red buses, parked", "sky", "naïve café", "a man on a horse"]
CAPTIONS = [["a dog", "two red buses, parked"], ["sky"], ["naïve café", "a man on a horse", "sky"]]  # of three images
ALL_CAPTIONS = SimpleNamespace(by_image=dict(enumerate(CAPTIONS, start=1)))


@pytest.fixture
def captions(own_nsd):
    ids = read_design(find_nsd(own_nsd).design()).image_ids(1)
    return write_captions(own_nsd / "captions.csv", [(image, TEXTS[row % 5]) for row, image in enumerate(ids)])


def write_captions(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("nsd_id", "caption"), *rows])
    return path


def computed(folder, poolings, images=CAPTIONS):
    """`{stream: (images, layers, width)}` of captions, all images in one batch."""
    model, reader = model_script.load(Checkpoint("org/model", None, folder), "cpu", torch.float32, texts=ALL_CAPTIONS)
    with torch.inference_mode():
        streams, _ = model_script.encode_images(model, reader, model_script.preprocess(reader, images), poolings)
    return {name: states.numpy() for name, states in streams.items()}


def alone(folder, text):
    """All hidden states of one text alone, (layers, tokens, width), by transformers."""
    import transformers as hf

    tokenizer = hf.PreTrainedTokenizerFast.from_pretrained(folder)
    model = hf.AutoModel.from_pretrained(folder).eval()
    model = model.get_encoder() if model.config.is_encoder_decoder else getattr(model, "text_model", model)
    ids = torch.tensor([tokenizer(text).input_ids])
    with torch.inference_mode():
        return torch.cat(model(input_ids=ids, output_hidden_states=True).hidden_states).numpy()


def assert_close(found, wanted):
    """Within 1e-5 of each layer's largest value."""
    scale = np.abs(wanted).max(axis=(0, 2), keepdims=True)
    assert (np.abs(found - wanted) <= 1e-5 * scale).all(), (np.abs(found - wanted) / scale).max()


@pytest.mark.parametrize("name", FAMILIES)
def test_states_are_those_of_transformers_for_each_caption_alone(name, tmp_path):
    folder = write_text_model(name, tmp_path / "model", "left" if name in ("llama", "qwen2") else "right")
    poolings = ["mean", "last", *(["cls"] if FAMILIES[name][2] in ("bert", "roberta") else [])]
    found = computed(folder, poolings)
    of_text = {text: alone(folder, text) for text in TEXTS}
    rules = {
        "text": lambda states: states.mean(axis=1),
        "text_last": lambda states: states[:, -1],
        "text_cls": lambda states: states[:, 0],
    }
    assert found.keys() == {"text", "text_last"} | ({"text_cls"} if "cls" in poolings else set())
    for stream, states in found.items():
        wanted = np.stack([np.mean([rules[stream](of_text[text]) for text in own], axis=0) for own in CAPTIONS])
        assert states.shape == (3, 4, 16)
        assert_close(states, wanted)
    one_by_one = [computed(folder, poolings, [own]) for own in CAPTIONS[:1]]
    for stream in found:
        assert_close(one_by_one[0][stream], found[stream][:1])


@pytest.mark.parametrize(("family", "read"), [("Siglip", "A Dog"), ("Siglip2", "a dog")])
def test_siglip_reads_its_padding_and_siglip_2_small_letters_as_in_training(family, read, tmp_path):
    """SigLIP was trained on 64 tokens without a mask; its embedding is read from the last one."""
    import_torchvision()
    import transformers as hf
    from text_families import letters

    folder, length = tmp_path / "siglip", 32
    backend, n_words = letters("t5")
    hf.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="</s>").save_pretrained(folder)
    text = {**SIZE, "vocab_size": n_words, "max_position_embeddings": length}
    config = getattr(hf, f"{family}Config")(text_config=text, vision_config=SIZE)
    save(getattr(hf, f"{family}Model")(config), folder)
    found = computed(folder, ["mean", "last"], [["A Dog"]])
    tokenizer = hf.PreTrainedTokenizerFast.from_pretrained(folder)
    ids = tokenizer(read, padding="max_length", max_length=length, return_tensors="pt").input_ids
    model = getattr(hf, f"{family}Model").from_pretrained(folder).eval().text_model
    with torch.inference_mode():
        states = torch.cat(model(input_ids=ids, output_hidden_states=True).hidden_states).numpy()
    assert_close(found["text_last"], states[None, :, -1])
    assert_close(found["text"], states[None, :, : len("a dog") + 1].mean(axis=2))


def test_a_sentence_transformer_that_reads_small_letters_does_so(tmp_path):
    folder = write_text_model("bert", tmp_path / "bert")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20, "do_lower_case": True}))
    capital, small = computed(folder, ["mean"], [["A Dog"], ["a dog"]])["text"]
    assert_close(capital[None], small[None])


def test_an_encoder_saved_without_its_decoder_is_read(tmp_path):
    import transformers as hf

    folder = write_text_model("t5", tmp_path / "t5")
    whole = computed(folder, ["mean"])["text"]
    hf.T5EncoderModel.from_pretrained(folder).save_pretrained(folder)
    np.testing.assert_array_equal(computed(folder, ["mean"])["text"], whole)


def extract(base_dir, checkpoint, captions, *more):
    done = run_here(
        *("text_model.py", "-d", base_dir, "-g", "cpu", "-m", "org/text", "--checkpoint", checkpoint),
        *("--captions", captions, *more),
    )
    return done.returncode, done.stderr


def test_a_users_command_stores_the_text_stream_and_cuts_long_captions(own_nsd, captions, tmp_path):
    folder = write_text_model("roberta", tmp_path / "model")
    text = captions.read_text(encoding="utf-8")
    captions.write_text(text.replace("sky", "sky " * 20, 1), encoding="utf-8")
    status, errors = extract(own_nsd, folder, captions, "--pooling", "mean", "last", "cls", "-b", "7")
    assert status == 0, errors
    assert f"1 of 40 captions are cut to {LIMIT} tokens" in errors
    store = EmbeddingStore(embeddings_folder(own_nsd, "org/text", None))
    assert store.streams() == dict.fromkeys(("text", "text_cls", "text_last"), (4, 16))
    assert len(store.image_ids(["text", "text_cls"])) == 40


def test_class_token_pooling_is_refused_without_a_class_token(own_nsd, captions, tmp_path):
    folder = write_text_model("gpt2", tmp_path / "model")
    status, errors = extract(own_nsd, folder, captions, "--pooling", "cls")
    assert (status, errors.count("\n")) == (2, 1)
    assert "org/text has no cls pooling; it has last, mean" in errors


def test_a_folder_of_sentence_transformers_names_the_modules_left_out(own_nsd, captions, tmp_path):
    folder = tmp_path / "sentences"
    write_text_model("mpnet", folder / "0_Transformer")
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": number, "path": path or "0_Transformer", "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    prompts = {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    (folder / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    status, errors = extract(own_nsd, folder, captions)
    assert status == 0, errors
    assert EmbeddingStore(embeddings_folder(own_nsd, "org/text", None)).streams() == {"text": (4, 16)}
    assert "is a model of sentence-transformers: its Pooling, Normalize after the" in errors
    assert "--pooling selects the tokens, as this model does with --pooling cls" in errors
    assert "the model's own prompts are not added to the captions ('query: '): if the model should read one" in errors


def test_clip_text_and_text_model_continue_the_same_states(own_nsd, captions, tmp_path):
    import transformers as hf
    from text_families import letters

    import_torchvision()
    folder = tmp_path / "clip"
    backend, n_words = letters("roberta")
    hf.PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="</s>").save_pretrained(folder)
    text = {"vocab_size": n_words, "max_position_embeddings": LIMIT, "eos_token_id": 2}
    config = hf.CLIPConfig(text_config=SIZE | text, vision_config=SIZE | {"image_size": 32})
    save(hf.CLIPModel(config), folder)
    arguments = ["-d", own_nsd, "-g", "cpu", "-m", "org/clip", "--checkpoint", folder, "--captions", captions]
    assert run_here("clip_text.py", *arguments).returncode == 0
    done = run_here("text_model.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert "40 images were done before, 0 are left" in done.stderr


def write_answers(base_dir, ids, prompt=2):
    store = EmbeddingStore(embeddings_folder(base_dir, "org/speaker", prompt))
    store.claim({"model_id": "org/speaker", "prompt": "What is this?", "max_new_tokens": 8})
    store.write(ids, {"response": np.ones((len(ids), 1, 2), np.float32)}, [TEXTS[n % 5] for n in range(len(ids))])


def test_the_answers_of_another_model_are_read_and_named_in_the_settings(own_nsd, captions, tmp_path):
    folder = write_text_model("bert", tmp_path / "model")
    ids = sorted(Captions(captions).by_image)
    write_answers(own_nsd, ids)
    status, errors = extract(own_nsd, folder, "answers:org/speaker:2")
    assert status == 0, errors
    store = EmbeddingStore(embeddings_folder(own_nsd, "org/text-on-speaker-prompt-2", None))
    assert store.settings()["captions"].startswith("answers of org/speaker to prompt 2, ")
    states = np.stack([store.read_layer("text", layer, ids[:2]) for layer in range(4)], axis=1)
    assert_close(states, computed(folder, ["mean"], [[TEXTS[0]], [TEXTS[1]]])["text"])


def test_states_of_a_text_model_on_captions_and_on_answers_are_stored_apart(own_nsd, captions, tmp_path):
    folder = write_text_model("bert", tmp_path / "model")
    for prompt in (2, 3):
        write_answers(own_nsd, sorted(Captions(captions).by_image), prompt)
    for texts in (captions, "answers:org/speaker:2", "answers:org/speaker:3"):
        status, errors = extract(own_nsd, folder, texts)
        assert status == 0, errors
    stored = sorted(path.name for path in (own_nsd / "image_embeddings" / "no_prompt").iterdir())
    assert stored == ["org_text", "org_text-on-speaker-prompt-2", "org_text-on-speaker-prompt-3"]


def test_images_without_an_answer_are_counted_before_the_model_is_loaded(own_nsd, captions):
    ids = sorted(Captions(captions).by_image)
    write_answers(own_nsd, ids[2:])
    answers = Answers(embeddings_folder(own_nsd, "org/speaker", 2), "org/speaker", 2)
    with pytest.raises(InputError, match=rf"no answer for 2 of 40 images in .* \(first: image {ids[0]}\): run the"):
        answers.check(ids)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("answers:org/speaker:two", "does not name a model and the number of a prompt"),
        ("answers:2", "does not name a model and the number of a prompt"),
        ("answers:org/speaker:3", "holds no answers: run the extraction of org/speaker with -p 3 --response"),
        ("nowhere.csv", "nowhere.csv"),
    ],
)
def test_texts_that_do_not_exist_are_refused_in_one_line(own_nsd, named, message):
    with pytest.raises(InputError, match=message) as raised:
        load_script("text_model.py").texts_of(own_nsd, named)
    assert "\n" not in str(raised.value)


def test_an_empty_answer_without_a_token_is_refused(tmp_path):
    folder = write_text_model("gpt2", tmp_path / "model")
    with pytest.raises(InputError, match=r"1 of 2 texts have no tokens \(first: image 7\)"):
        model_script.load(
            Checkpoint("org/model", None, folder),
            "cpu",
            torch.float32,
            texts=SimpleNamespace(by_image={3: ["sky"], 7: [""]}),
        )


def test_a_text_model_that_does_not_compute_in_half_precision_is_advised_float32(tmp_path, monkeypatch):
    """Such as DeBERTa's first version, whose attention adds float32 to the format of its weights."""
    monkeypatch.setitem(FAMILIES, "deberta", ("DebertaConfig", SIZE, "bert"))
    checkpoint = Checkpoint("org/model", None, write_text_model("deberta", tmp_path / "model"))
    with pytest.raises(InputError, match=r"could not read a text \(RuntimeError: .*: try --dtype float32, or check"):
        model_script.load(checkpoint, "cpu", torch.bfloat16, texts=ALL_CAPTIONS)
    model_script.load(checkpoint, "cpu", torch.float32, texts=ALL_CAPTIONS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_in_which_padding_reaches_a_text_is_refused(tmp_path, monkeypatch, dtype):
    """ConvBERT's convolutions pass over the padding."""
    sizes = SIZE | {"embedding_size": 16, "conv_kernel_size": 3, "head_ratio": 1}
    monkeypatch.setitem(FAMILIES, "convbert", ("ConvBertConfig", sizes, "bert"))
    checkpoint = Checkpoint("org/model", None, write_text_model("convbert", tmp_path / "model"))
    with pytest.raises(InputError, match="its states of a text depend on other texts in the batch"):
        model_script.load(checkpoint, "cpu", dtype, texts=ALL_CAPTIONS)


@pytest.mark.parametrize("name", ["mixtral", "bert"])
def test_rounding_by_the_length_of_a_batch_is_not_taken_for_its_texts(name, tmp_path, monkeypatch):
    """In half precision, one rounding may choose another expert, so that no limit on its effect holds."""
    experts = SIZE | {"num_key_value_heads": 1, "num_local_experts": 4}
    monkeypatch.setitem(FAMILIES, "mixtral", ("MixtralConfig", experts, "llama"))
    monkeypatch.setattr(network, "number_format", lambda model: torch.float64)  # no rounding is allowed
    checkpoint = Checkpoint("org/model", None, write_text_model(name, tmp_path / "model"))
    loaded, _ = model_script.load(checkpoint, "cpu", torch.float32, texts=ALL_CAPTIONS)
    assert loaded.model.config.model_type == name


def test_a_vision_network_is_refused_in_one_line(own_nsd, captions, tmp_path):
    from brain_activity_prediction.demo import models

    models.write_vit(tmp_path / "vit", num_hidden_layers=1)
    write_text_model("bert", tmp_path / "bert")
    for path in (tmp_path / "bert").glob("tokenizer*"):
        path.rename(tmp_path / "vit" / path.name)
    status, errors = extract(own_nsd, tmp_path / "vit", captions)
    assert status == 2
    assert "could not read a text" in errors
