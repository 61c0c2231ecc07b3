"""Colours have enough contrast."""

from __future__ import annotations

import pytest

from tidings.render.palette import AA, contrast, make_palette


@pytest.mark.parametrize(
    "colour", ["#0077b6", "#fff", "#000000", "#ffff00", "#808080", "#ff0000", "#7b2d8e", "#12151a"]
)
def test_text_is_readable_in_light_and_dark(colour: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5:1."""
    shades = make_palette(colour)
    assert contrast(shades.brand, shades.on_brand) >= AA
    for ground in (shades.paper, shades.ground, shades.tint):
        for text in (shades.accent, shades.ink, shades.muted):
            assert contrast(text, ground) >= AA
    for ground in (shades.paper_dark, shades.ground_dark, shades.tint_dark):
        for text in (shades.accent_dark, shades.ink_dark, shades.muted_dark):
            assert contrast(text, ground) >= AA


def test_contrast_as_the_standard_computes_it() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
