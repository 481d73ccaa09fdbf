"""Arrays for the Algonauts 2023 challenge are predictions of models fitted to all training images."""

import dataset_trees
import numpy as np
import pytest
from dataset_trees import AVERAGED, COLOURS, TREES, write_image
from mean_colours import MODEL, colours, extract

from brain_activity_prediction.align_image_embeddings import predict_challenge
from brain_activity_prediction.runtime.errors import InputError


def run(monkeypatch, folder, subject, *more):
    words = ["-d", folder, "-g", "cpu", "-s", subject, "-m", MODEL, "--stream", "vision", *more]
    monkeypatch.setattr("sys.argv", ["predict_challenge.py", *map(str, words)])
    predict_challenge.main()


def ridge(train, responses, new, alpha):
    """Ridge in closed form on standardised features and responses, in the units of the responses."""
    mean, sd = train.mean(axis=0), train.std(axis=0)
    x, z = (train - mean) / sd, (new - mean) / sd
    y = (responses - responses.mean(axis=0)) / responses.std(axis=0)
    weights = np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ y)
    return z @ weights * responses.std(axis=0) + responses.mean(axis=0)


def test_the_arrays_are_those_that_the_challenge_takes(tmp_path, monkeypatch, capsys):
    subject = dataset_trees.algonauts2023(tmp_path)
    shown = [3, 41, 17]  # the tree's own picture, and two more, in the order of the files, not of NSD's ids
    for place, (number, nsd_id) in enumerate(zip(shown[1:], (8000, 5), strict=True), 2):
        write_image(tmp_path / f"subj01/test_split/test_images/test-{place:04d}_nsd-{nsd_id:05d}.png", number)
    extract(colours(), tmp_path, "-s", subject)
    run(monkeypatch, tmp_path, subject, "--num-alphas", 1, "--max-log-10-alpha", 1)
    folder = tmp_path / "alignment/algonauts2023/subj01/no_prompt/test_mean-colours/submission/vision/subj01"
    assert f"predictions for the challenge: {folder}" in capsys.readouterr().out
    found = [np.load(folder / f"{side}_pred_test.npy", allow_pickle=False) for side in ("lh", "rh")]
    assert [(array.dtype, array.shape) for array in found] == [(np.float32, (3, 12)), (np.float32, (3, 10))]
    assert sorted(path.name for path in folder.iterdir()) == ["lh_pred_test.npy", "rh_pred_test.npy"]
    train = COLOURS[: len(AVERAGED)].astype(float)
    expected = ridge(train, dataset_trees.averages().astype(float), COLOURS[shown].astype(float), 10)
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-4)


def test_a_dataset_without_a_challenge_is_refused(tmp_path, monkeypatch):
    subject = TREES["own"](tmp_path)
    with pytest.raises(InputError, match="your own experiment is no challenge: all of its images have responses"):
        run(monkeypatch, tmp_path, subject)
