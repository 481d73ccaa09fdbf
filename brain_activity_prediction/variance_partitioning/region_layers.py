"""Choose each space's layer for every region, and group the regions that chose the same layers.

A region's layer has the best cross-validated score on training images, averaged over the region's voxels. It is the
layer in the row `best_per_region` of align_model.py's table.

Letters: R regions, V voxels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from brain_activity_prediction.encoding.scores.layer_choice import EACH
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.subject_data import SubjectData
from brain_activity_prediction.encoding.tables.region_table import best_of_regions, region_means
from brain_activity_prediction.runtime.errors import InputError, one_line
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.folders import Output, Subject, alignment_folder
from brain_activity_prediction.storage.settings_file import other_responses
from brain_activity_prediction.variance_partitioning.feature_spaces import BEST, LETTERS, Space

Regions = Mapping[str, np.ndarray]  # masks (V,) by name; the first holds all voxels


@dataclass(frozen=True)
class LayerChoice:
    """Feature spaces with layer numbers, and the regions for which these layers were chosen."""

    spaces: tuple[Space, ...]
    regions: Regions

    @property
    def folder_name(self) -> str:
        """Name of the folder: `layers_0_12` for layer 0 of the first space and layer 12 of the second."""
        return "_".join(["layers", *(str(space.layer) for space in self.spaces)])

    @property
    def layers(self) -> str:
        """Layer numbers as text: `0, 12` for layer 0 of the first space and layer 12 of the second."""
        return ", ".join(str(space.layer) for space in self.spaces)


def layer_choices(
    spaces: Sequence[Space], output: Output, subject: Subject, subject_data: SubjectData, regions: Regions
) -> list[LayerChoice]:
    """Group the regions that have the same layers in all spaces. The group of the first region comes first.

    A space with a layer number has this layer in all regions. A space with BEST has the best layer of each region.
    """
    layers = [layers_of_regions(space, output, subject, subject_data, regions) for space in spaces]
    grouped: dict[tuple[Space, ...], dict[str, np.ndarray]] = {}
    for (roi, mask), own in zip(regions.items(), zip(*layers, strict=True), strict=True):
        chosen = tuple(replace(space, layer=layer) for space, layer in zip(spaces, own, strict=True))
        grouped.setdefault(chosen, {})[roi] = mask
    choices = [LayerChoice(chosen, members) for chosen, members in grouped.items()]
    if any(space.layer == BEST for space in spaces):
        _log_choices(choices, len(regions))
    return choices


def layers_of_regions(
    space: Space, output: Output, subject: Subject, subject_data: SubjectData, regions: Regions
) -> list[int]:
    """Return a space's layer number in each region: the given number, or for BEST the layer with the best cv_score.

    A region without scored voxels has the layer of the first region.

    Raises InputError if align_model.py has not scored all layers of the stream on the same responses.
    """
    if space.layer != BEST:
        return [space.layer] * len(regions)
    store = ScoreStore(alignment_folder(output, subject, space.model_id, space.prompt))
    if store.settings().get("cv_test"):
        raise InputError(
            f"{store.folder} holds scores over folds, and each fold has its own best layers: give --space the number "
            "of a layer"
        )
    layers = [layer for stream, layer, _ in store.layers() if stream == space.stream]
    n_layers, _ = space.store(output).streams()[space.stream]
    if len(layers) < n_layers:
        raise InputError(
            f"the best {space.stream} layer of {space.model_id} is unknown, because {len(layers)} of {n_layers} "
            f"layers are scored in {store.folder}: run align_model.py first, or name a layer"
        )
    if difference := other_responses(store.settings(), subject_data.recorded()):
        raise InputError(
            f"{store.folder} holds scores for other responses ({difference}): give the same flags as align_model.py, "
            "or name a layer"
        )
    cv_scores = np.stack([store.read(space.stream, layer)["cv_score"] for layer in layers])
    members = np.stack(list(regions.values())) & np.isfinite(cv_scores).all(axis=0)
    if not members[0].any():
        raise InputError(f"no voxel has a score of every layer in {store.folder}: name a layer")
    table = pd.concat(
        pd.DataFrame(
            {"layer_choice": EACH, "layer": layer, "roi": list(regions)} | region_means({"cv_score": row}, members)
        )
        for layer, row in zip(layers, cv_scores, strict=True)
    )
    best = best_of_regions(table).set_index("roi")["layer"]
    return [int(best.get(roi, best[next(iter(regions))])) for roi in regions]


def _log_choices(choices: Sequence[LayerChoice], n_regions: int) -> None:
    """Log that layers are chosen by region, and warn of regions in which two spaces are the same layer."""
    log.info(
        f"each region has its best layers by cv_score on training images: {count(n_regions, 'region')}, "
        f"{count(len(choices), 'combination')} of layers to fit"
    )
    for choice in choices:
        for space in dict.fromkeys(choice.spaces):
            alike = [letter for letter, other in zip(LETTERS, choice.spaces, strict=False) if other == space]
            if len(alike) > 1:
                where = one_line(", ".join(choice.regions))
                same = f"{' and '.join(alike)} are the same layer in {where}: they share all of their variance"
                log.warning(same)
