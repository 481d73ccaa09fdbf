"""Fits ridge regression from a model's hidden states to every voxel and scores it on held-out images, by region.

Training images are those only this subject saw, test images those all subjects saw. Alpha is chosen for each voxel by
K-fold cross-validation on the training images. Layers are written one by one: a run that dies continues at its layer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from brain_activity_prediction import arguments as shared
from brain_activity_prediction.align_image_embeddings.results import PermutationTest, Results
from brain_activity_prediction.claims import Claims, shared_out
from brain_activity_prediction.embedding_store import EmbeddingStore
from brain_activity_prediction.errors import InputError
from brain_activity_prediction.extract_image_embeddings.prompts import chosen_prompts
from brain_activity_prediction.nsd.layout import Layout, find_layout
from brain_activity_prediction.read_ahead import read_ahead
from brain_activity_prediction.stopping import until_stopped

if TYPE_CHECKING:
    from brain_activity_prediction.align_image_embeddings.targets import Targets

# How many voxels go through the solver at once. None: as many as the device's free memory holds.
VOXELS_PER_CHUNK = None
FOLDS = 5
Stores = dict[int | None, EmbeddingStore]  # by prompt; None for the streams that no prompt changes
CRITERIA = ("neg_mean_squared_error", "r2", "correlation")


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__)
    shared.add_prompts(flags)
    shared.add_device(flags)
    shared.add_layers(flags)
    shared.add_alphas(flags)
    flags.add_argument("--criterion", choices=CRITERIA, default=CRITERIA[0], help="what alpha is chosen by")
    shared.add_responses(flags)
    shared.add_ceilings(flags)
    shared.add_permutations(flags)
    flags.add_argument("--redo", action="store_true", help="replace scores that are there")
    return flags


@dataclass(frozen=True)
class Layer:
    """One layer of one stream, to be fitted."""

    prompt: int | None
    stream: str
    number: int
    of: int  # how many layers the stream has

    @property
    def position(self) -> float:
        """Depth, from 0, what enters the first layer, to 1, the last layer."""
        return self.number / max(self.of - 1, 1)

    def name(self) -> str:
        return f"{shared.prompt_folder(self.prompt)}_{self.stream}_{self.number:02d}"


def main() -> None:
    arguments = flags().parse_args()
    shared.check_alphas(arguments)
    layout = find_layout(arguments.base_dir)
    layout.sessions(arguments.subject)
    shared.check_device(arguments.gpu_id)
    stores = open_stores(arguments)
    layers = [layer for prompt, store in stores.items() for layer in layers_of(store, prompt, arguments)]
    if not layers:
        raise InputError(f"no stream of {arguments.model_id} has the layers or streams asked for")
    print(f"{arguments.model_id}, {layout.name} layout of NSD: {len(layers)} layers", file=sys.stderr, flush=True)
    align(layout, stores, layers, arguments)


def align(layout: Layout, stores: Stores, layers: list[Layer], arguments: argparse.Namespace) -> None:
    """Fits the layers that have no scores yet and writes what people look at; says what is missing before any fit."""
    from brain_activity_prediction.align_image_embeddings.summary import summarise
    from brain_activity_prediction.align_image_embeddings.targets import ceiling_of_test_images, read_targets
    from brain_activity_prediction.nsd.rois import region_masks

    cache = arguments.base_dir / "alignment" / "responses"
    targets = read_targets(layout, arguments.subject, arguments.sessions, arguments.zscore_sessions, cache, FOLDS)
    regions = region_masks(layout, arguments.subject, targets.mask, arguments.roi)
    ceiling = ceiling_of_test_images(targets, layout, arguments.subject, arguments.ncsnr)
    for prompt, stream in dict.fromkeys((layer.prompt, layer.stream) for layer in layers):
        check_complete(stores[prompt], stream, targets.image_ids)
    results = {}
    for prompt in dict.fromkeys(layer.prompt for layer in layers):
        folder = shared.alignment_folder(arguments.base_dir, arguments.subject, arguments.model_id, prompt)
        results[prompt] = Results(folder)
        results[prompt].claim(settings_of(arguments, targets, stores[prompt]), arguments.redo)
        results[prompt].write_noise_ceiling(ceiling, arguments.ncsnr)

    left = [x for x in layers if not results[x.prompt].has(x.stream, x.number, arguments.permutations)]
    if len(left) < len(layers):
        print(f"{len(layers) - len(left)} layers were scored before, {len(left)} are left", file=sys.stderr)
    fit_layers(left, stores, targets, regions, results, arguments)
    for prompt, finished in results.items():
        of, scored = (arguments.model_id, prompt, arguments.subject), None
        while scored != finished.layers():  # another process may finish layers meanwhile: no table is to lack them
            scored = finished.layers()
            summarise(finished, regions, targets, of, arguments.min_noise_ceiling)


def open_stores(arguments: argparse.Namespace) -> Stores:
    """The stores that hold states of the model: under no prompt, and under each prompt asked for."""
    prompts = chosen_prompts(arguments)
    stores = {
        prompt: EmbeddingStore(shared.embeddings_folder(arguments.base_dir, arguments.model_id, prompt))
        for prompt in (None, *prompts)
    }
    found = {prompt: store for prompt, store in stores.items() if store.streams()}
    if not found:
        raise InputError(
            f"no hidden states of {arguments.model_id} in {arguments.base_dir / 'image_embeddings'}: "
            "run its extraction script first"
        )
    for prompt, text in prompts.items():
        wording = (stores[prompt].settings() or {}).get("prompt", text)
        if wording != text:
            raise InputError(
                f"the states under prompt {prompt} were made with {wording!r}, not with {text!r}: "
                "give the same --prompts-file"
            )
    missing = [prompt for prompt in stores if prompt is not None and prompt not in found]
    takes_prompts = any((store.settings() or {}).get("template") for store in found.values())
    if missing and takes_prompts and arguments.stream is None:
        raise InputError(
            f"no hidden states of {arguments.model_id} under prompt {missing[0]}: run its extraction script with "
            f"-p {missing[0]} first, or choose streams that no prompt changes with --stream"
        )
    return found


def layers_of(store: EmbeddingStore, prompt: int | None, arguments: argparse.Namespace) -> list[Layer]:
    """The layers to fit of every stream in a store, by -l and --stream."""
    return [
        Layer(prompt, stream, number, n_layers)
        for stream, (n_layers, _) in store.streams().items()
        if arguments.stream is None or stream in arguments.stream
        for number in range(n_layers)
        if arguments.layer_number is None or number in arguments.layer_number
    ]


def check_complete(store: EmbeddingStore, stream: str, needed: np.ndarray) -> None:
    """Raises InputError where one of the images has no states of a stream."""
    missing = np.setdiff1d(needed, store.image_ids([stream]))
    if missing.size:
        raise InputError(
            f"{missing.size} of {needed.size} images have no {stream} states in {store.folder}, first {missing[0]}: "
            "run the extraction again, it continues where it was"
        )


def settings_of(arguments: argparse.Namespace, targets: Targets, store: EmbeddingStore) -> dict:
    """What changes the scores, recorded beside them."""
    return {
        "min_log_10_alpha": arguments.min_log_10_alpha,
        "max_log_10_alpha": arguments.max_log_10_alpha,
        "num_alphas": arguments.num_alphas,
        "criterion": arguments.criterion,
        "folds": FOLDS,
        "sessions": targets.sessions,
        "zscore_sessions": arguments.zscore_sessions,
        "standardised_by": "training images",
        "responses": targets.digest,
        **{f"embeddings_{name}": value for name, value in (store.settings() or {}).items()},
    }


def fit_layers(
    layers: list[Layer],
    stores: Stores,
    targets: Targets,
    regions: Mapping[str, np.ndarray],
    results: dict[int | None, Results],
    arguments: argparse.Namespace,
) -> None:
    """Fits and writes layer after layer that no other process is at work on; the next one is read meanwhile."""
    from tqdm import tqdm

    from brain_activity_prediction.align_image_embeddings.targets import standardise, varying_features

    def left() -> dict[tuple[str], list[Layer]]:
        return {("scores",): [x for x in layers if not results[x.prompt].has(x.stream, x.number, n_permutations)]}

    def read(claimed: tuple[list[Layer], tuple]) -> tuple[np.ndarray, np.ndarray] | None:
        if not claimed[0]:
            return None
        (layer,) = claimed[0]
        states = stores[layer.prompt].read_layer(layer.stream, layer.number, targets.image_ids)
        return varying_features(*standardise(*np.split(states, [len(targets.train_ids)])))

    n_permutations = arguments.permutations
    folder = shared.claims_folder(arguments.base_dir, arguments.model_id, arguments.subject)
    bar = tqdm(total=len(layers), unit="layer", mininterval=shared.progress_seconds(), disable=not layers)
    with Claims(folder) as claims, bar as progress:
        claimed = shared_out(claims, left, 1, Layer.name)
        for (layers_in_hand, _), features in until_stopped(read_ahead(claimed, read)):
            for layer in layers_in_hand:
                if not features[0].any():
                    where = f"layer {layer.number} of {layer.stream}"
                    progress.write(f"{where} is the same for all training images and predicts nothing", file=sys.stderr)
                scored = score_layer(*features, targets, regions, arguments)
                results[layer.prompt].write(layer.stream, layer.number, layer.of, *scored)
                claims.finished([layer.name()])
                progress.update()


def score_layer(
    train: np.ndarray,
    test: np.ndarray,
    targets: Targets,
    regions: Mapping[str, np.ndarray],
    arguments: argparse.Namespace,
) -> tuple[dict[str, np.ndarray], PermutationTest | None]:
    """`{quantity: (V,)}` of one layer's features, (n_train, D) and (n_test, D), and the permutation test asked for."""
    import torch

    from brain_activity_prediction.align_image_embeddings.ridge import ridge_cv
    from brain_activity_prediction.align_image_embeddings.scores import pearson_r, r2_score
    from brain_activity_prediction.align_image_embeddings.significance import permutation_p

    alphas = np.logspace(arguments.min_log_10_alpha, arguments.max_log_10_alpha, arguments.num_alphas)
    train, test = (torch.from_numpy(part).to(arguments.gpu_id) for part in (train, test))
    responses = torch.from_numpy(targets.train)
    fit = ridge_cv(
        train, responses, alphas, folds=FOLDS, criterion=arguments.criterion, voxels_per_chunk=VOXELS_PER_CHUNK
    )
    on_device = fit.predict(test)
    observed, predicted = torch.from_numpy(targets.test), on_device.cpu()
    scores = {
        "alpha": fit.alpha,
        "cv_score": fit.cv_score,
        "r": pearson_r(observed, predicted),
        "r2": r2_score(observed, predicted),
    }
    permuted = None
    if arguments.permutations:
        p, region_p = permutation_p(observed.to(on_device), on_device, regions, arguments.permutations)
        permuted = PermutationTest(arguments.permutations, p.cpu().numpy(), region_p)
    return {name: values.cpu().numpy() for name, values in scores.items()}, permuted


if __name__ == "__main__":
    shared.run(main)
