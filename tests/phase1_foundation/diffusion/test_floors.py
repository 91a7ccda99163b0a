"""The simple samplers that a diffusion model has to beat."""

import numpy as np

from phase1_foundation.diffusion.floors import blurred, pca_gaussian, untrained
from phase1_foundation.diffusion.model import DiffusionConfig, DiffusionModel


def pictures(n: int = 400) -> np.ndarray:
    """Pictures along two directions: how bright they are, and how red."""
    random = np.random.default_rng(0)
    brightness, red = random.normal(0, 20, (2, n, 1, 1))
    made = np.full((n, 8, 8, 3), 120.0)
    made += brightness[..., None]
    made[..., 0] += red
    return made.round().clip(0, 255).astype(np.uint8)


def test_the_gaussian_has_the_pictures_mean_and_covariance():
    real, drawn = pictures(), pca_gaussian(pictures(), 4000)
    assert drawn.shape == (4000, 8, 8, 3)
    flat = [p.reshape(len(p), -1).astype(float) for p in (real, drawn)]
    np.testing.assert_allclose(flat[1].mean(0), flat[0].mean(0), atol=2)
    np.testing.assert_allclose(np.cov(flat[1].T), np.cov(flat[0].T), rtol=0.15, atol=30)


def test_blurring_keeps_the_colour_and_loses_the_detail():
    random = np.random.default_rng(0)
    noisy = (pictures(64).astype(int) + random.integers(-60, 60, (64, 8, 8, 1))).clip(0, 255)
    made = blurred(noisy.astype(np.uint8), 64)
    np.testing.assert_allclose(made.mean((1, 2)), noisy.mean((1, 2)), atol=3)
    assert made.std((1, 2)).mean() < 0.5 * noisy.std((1, 2)).mean()


def test_an_untrained_model_draws_noise():
    model = DiffusionModel(
        DiffusionConfig(
            size=8, classes=tuple("abc"), widths=(8, 16), heads=2, layers=1, mlp_dim=32, patch=1
        )
    )
    made = untrained(model, 20).astype(float)
    neighbours = np.corrcoef(made[:, :, 1:].ravel(), made[:, :, :-1].ravel())[0, 1]
    assert abs(neighbours) < 0.1
    assert made.std() > 60
