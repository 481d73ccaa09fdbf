"""RSA and debiased CKA: known answers, references, and calibrated permutation tests."""

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from brain_activity_prediction.rsa.similarity import (
    ROWS,
    centred_kernel,
    distance_ranks,
    geometries,
    permutation_p,
    similarity,
    similarity_to_mean,
)

N_IMAGES = 60


def patterns(*widths, seed=0, n_images=N_IMAGES):
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.standard_normal((n_images, width)).astype(np.float32)) for width in widths]


def compared(geometry, left, right):
    """Similarity of two representations by one measure."""
    return float(similarity(geometry(left)[None], geometry(right)[None]))


@pytest.mark.parametrize("geometry", [distance_ranks, centred_kernel])
def test_a_representation_is_wholly_similar_to_itself_scaled_and_shifted(geometry):
    (X,) = patterns(20)
    assert compared(geometry, X, X) == pytest.approx(1, abs=1e-6)
    assert compared(geometry, X, 3 * X + 2) == pytest.approx(1, abs=1e-5)


def test_cka_does_not_see_rotations_of_the_features():
    (X,) = patterns(20)
    rotation = torch.from_numpy(ortho_group.rvs(20, random_state=0)).to(X)
    assert compared(centred_kernel, X, X @ rotation) == pytest.approx(1, abs=1e-5)
    assert compared(centred_kernel, X, X * torch.arange(1, 21)) < 0.99


def test_debiased_cka_of_unrelated_representations_is_zero_on_average_and_in_size():
    """Biased CKA of so many features would be near 1. The entries right of the diagonal are all but independent."""
    draws = [compared(centred_kernel, *patterns(500, 400, seed=seed)) for seed in range(40)]
    sd = np.sqrt(2) / N_IMAGES
    assert abs(np.mean(draws)) < 3 * sd / np.sqrt(len(draws))
    assert np.std(draws) == pytest.approx(sd, rel=0.4)


def unbiased_hsic(K, L):
    """Song et al. 2007, equation 5, as it stands there."""
    n, one = len(K), np.ones(len(K))
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    middle = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return (np.trace(K @ L) + middle - 2 / (n - 2) * (one @ K @ L @ one)) / (n * (n - 3))


@pytest.mark.parametrize("n_images", [5, N_IMAGES])
def test_cka_is_the_ratio_of_unbiased_estimates_of_hsic(n_images):
    X, Y = patterns(7, 30, n_images=n_images)
    Y[:, :7] += X
    K, L = (x.numpy().astype(np.float64) @ x.numpy().astype(np.float64).T for x in (X, Y))
    reference = unbiased_hsic(K, L) / np.sqrt(unbiased_hsic(K, K) * unbiased_hsic(L, L))
    assert compared(centred_kernel, X, Y) == pytest.approx(reference, abs=1e-6)


def test_rsa_is_that_of_rsatoolbox():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsatoolbox.data import Dataset
        from rsatoolbox.rdm import calc_rdm, compare
    X, Y = patterns(7, 30)
    Y[:, :7] += X
    rdms = [calc_rdm(Dataset(x.numpy().astype(np.float64)), method="correlation") for x in (X, Y)]
    assert compared(distance_ranks, X, Y) == pytest.approx(compare(*rdms, "spearman").item(), abs=1e-6)


@pytest.mark.parametrize("geometry", [distance_ranks, centred_kernel])
def test_what_is_stored_in_float32_is_compared_in_float64_and_kept_in_float32(geometry):
    (X,) = patterns(20, n_images=300)
    found = geometry(X)
    assert found.dtype == torch.float32
    assert torch.equal(found, geometry(X.double()))
    assert similarity(found[None], found[None]).dtype == torch.float64


def test_equal_distances_share_a_rank():
    X = patterns(9)[0].double()
    X[1], X[3] = 3 * X[0] + 1, X[2] / 7
    ranks = distance_ranks(X)
    assert ranks[0, 1] == ranks[2, 3]
    assert ranks[0, 4] == ranks[1, 4]


@pytest.mark.parametrize("n_images", [N_IMAGES, 2 * ROWS, 2 * ROWS + 7])
def test_p_counts_the_permutations_of_images_that_are_as_similar(n_images):
    layers, regions = patterns(5, 8, 3, n_images=n_images), patterns(6, 4, seed=1, n_images=n_images)
    regions[1][:, :3] += layers[2]
    rng = np.random.default_rng(5)
    orders = [np.arange(n_images), *(rng.permutation(n_images) for _ in range(19))]
    for measure, of_layers in geometries(layers).items():
        permuted = [similarity(of_layers, geometries(x[order] for x in regions)[measure]) for order in orders]
        expected = (torch.stack(permuted) >= permuted[0] - 1e-7).double().mean(dim=0)
        p = permutation_p(of_layers, geometries(regions)[measure], 19, seed=5)
        torch.testing.assert_close(p, expected)
        assert p[2, 1] == 1 / 20


def test_on_noise_pairs_are_significant_at_the_nominal_rate():
    layers, regions = geometries(patterns(*[10] * 30)), geometries(patterns(*[12] * 30, seed=1))
    for measure in layers:
        p = permutation_p(layers[measure], regions[measure], 99)
        for rate in (0.05, 0.2, 0.5):  # pairs that share a layer or region are not independent: a wide margin
            assert (p <= rate).double().mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 200))


def test_what_has_no_geometry_has_no_similarity_and_no_p():
    X, one_voxel, constant = *patterns(5, 1), torch.ones(N_IMAGES, 4)
    constant_image = X.clone()
    constant_image[3] = 0.5
    found = geometries([X, one_voxel, constant, constant_image])
    rsa = similarity(found["rsa"][:1], found["rsa"])[0]
    assert rsa[0] == pytest.approx(1, abs=1e-6)
    assert rsa[1:].isnan().all()
    cka = similarity(found["cka"][:1], found["cka"])[0]
    assert cka.isnan().tolist() == [False, False, True, False]
    p = permutation_p(found["cka"][:1], found["cka"], 9)
    assert p.isnan().tolist() == [[False, False, True, False]]


def test_the_ceiling_is_the_similarity_to_the_mean_of_brains_with_the_region():
    truth = patterns(30, seed=3)[0]
    brains = [geometries([truth + noise, noise[:, :1], noise]) for noise in patterns(30, 30, 30, seed=4)]
    for measure, lacking in (("rsa", 1), ("cka", None)):
        own, *others = (brain[measure] for brain in brains)
        found = similarity_to_mean(own, others, measure)
        assert found.dtype == torch.float64
        assert found[0] > similarity(own[:1], others[0][:1])[0, 0]
        assert found.isnan().nonzero().flatten().tolist() == ([] if lacking is None else [lacking])
        others[0][0] = torch.nan
        expected = pytest.approx(float(similarity(own[:1], others[1][:1])), abs=1e-6)
        assert similarity_to_mean(own, others, measure)[0] == expected


@pytest.mark.parametrize("n_others", [1, 2, 3, 7])
def test_the_ceiling_of_rsa_is_the_lower_bound_of_rsatoolbox(n_others):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rsatoolbox.data import Dataset
        from rsatoolbox.rdm import calc_rdm, compare, concat
        from rsatoolbox.util.inference_util import pool_rdm
    truth = patterns(10, seed=3)[0]
    brains = [truth + 2 * noise for noise in patterns(*[10] * (1 + n_others), seed=4)]
    own, *others = (calc_rdm(Dataset(x.numpy().astype(np.float64)), method="correlation") for x in brains)
    expected = compare(pool_rdm(concat(others), method="spearman"), own, "spearman").item()
    own, *others = (distance_ranks(x)[None] for x in brains)
    assert similarity_to_mean(own, others, "rsa").item() == pytest.approx(expected, abs=1e-6)


def test_the_ceiling_of_cka_is_the_similarity_to_the_mean_kernel():
    own, *others = (centred_kernel(x)[None] for x in patterns(30, 30, 30))
    mean = (others[0] + others[1]) / 2
    assert similarity_to_mean(own, others, "cka").item() == pytest.approx(
        float((own * mean).sum() / mean.norm()), abs=1e-6
    )
