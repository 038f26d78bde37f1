"""The Fourier mixing against sums over every token and channel; padding adds nothing."""

from __future__ import annotations

import cmath
import math

import torch
from transformers import Blip2QFormerConfig

from rsopt.baselines.bita.fourier_transformer import FourierTransformer, TextSide, contrastive_loss, fourier_mix

CONFIG = Blip2QFormerConfig(
    hidden_size=12,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    encoder_hidden_size=7,
    hidden_dropout_prob=0.0,
)


def slow_mix(x: torch.Tensor, real: int) -> torch.Tensor:
    """Real part of the two-dimensional transform of one text (tokens, width), only its first `real` tokens counted."""
    tokens, width = x.shape
    out = torch.zeros(tokens, width, dtype=torch.float64)
    for k in range(tokens):
        for m in range(width):
            total = 0j
            for n in range(real):
                for c in range(width):
                    total += x[n, c].item() * cmath.exp(-2j * math.pi * (k * n / tokens + m * c / width))
            out[k, m] = total.real
    return out


def test_mixing_equals_the_sums_with_padding_left_out() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 6, 5)
    lengths = (6, 4, 1)
    real = torch.arange(6) < torch.tensor(lengths)[:, None]
    mixed = fourier_mix(x * real[..., None])
    for row, length in enumerate(lengths):
        assert torch.allclose(mixed[row].double(), slow_mix(x[row], length), atol=1e-5)


@torch.no_grad()
def test_what_stands_in_padding_changes_no_text() -> None:
    torch.manual_seed(0)
    former, text = FourierTransformer(CONFIG).eval(), TextSide(CONFIG, 50, shared=4, length=8).eval()
    ids = torch.randint(50, (2, 8))
    real = torch.arange(8) < torch.tensor([8, 5])[:, None]
    other = torch.where(real, ids, (ids + 17) % 50)
    told = text(former, ids, real)
    assert torch.equal(told, text(former, other, real))
    assert not torch.allclose(told[1], text(former, other, torch.ones_like(real))[1])  # unmasked it would count
    assert torch.allclose(told.norm(dim=-1), torch.ones(2))


@torch.no_grad()
def test_queries_of_one_image_do_not_see_anothers() -> None:
    torch.manual_seed(0)
    former = FourierTransformer(CONFIG).eval()
    queries, images = torch.randn(1, 4, 12).expand(2, -1, -1), torch.randn(2, 9, 7)
    both = former(queries, images).last_hidden_state
    assert torch.allclose(both[1:], former(queries[1:], images[1:]).last_hidden_state, atol=1e-6)
    assert not torch.allclose(both[0], both[1])


def test_contrast_is_least_where_each_image_is_its_own_texts() -> None:
    axes = torch.eye(3)
    image = torch.stack([axes, -axes], dim=1)  # two queries an image; the better one counts
    right, wrong = (contrastive_loss(image, text, torch.tensor(0.07)).item() for text in (axes, axes.roll(1, 0)))
    assert right < 1.0 < wrong
    # By hand, without smoothing: the best queries' likeness is 1 to its own, 0 to others, at temperature 1.
    found = contrastive_loss(image, axes, torch.tensor(1.0), 0.0).item()
    assert math.isclose(found, math.log(math.e + 2) - 1, rel_tol=1e-6)
