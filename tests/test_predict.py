from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from samples import image_files, mutations

from pipeline.command import UserError
from pipeline.predict import read_image

# A light stroke on dark, as the data set has it.
DIGIT = np.zeros((8, 8), np.uint8)
DIGIT[2:6, 3:5] = [[200, 250]] * 4


def saved(folder: Path, image: Image.Image, name: str = "image.png") -> Path:
    image.save(folder / name)
    return folder / name


def test_light_on_dark_is_read_as_it_is(tmp_path: Path) -> None:
    pixels = read_image(saved(tmp_path, Image.fromarray(DIGIT)), 8, 8)
    np.testing.assert_array_equal(pixels, DIGIT, strict=True)


def palette(image: Image.Image) -> Image.Image:
    return image.convert("P")


def transparent_paper(image: Image.Image) -> Image.Image:
    """Black ink, whose opacity is the stroke."""
    ink = Image.new("RGBA", image.size, "black")
    ink.putalpha(image)
    return ink


def inverted(image: Image.Image) -> Image.Image:
    return Image.fromarray(255 - np.asarray(image))


def coloured(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def sixteen_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image).astype(np.uint16) * 257)


def sixteen_bit_inverted(image: Image.Image) -> Image.Image:
    return sixteen_bit(inverted(image))


@pytest.mark.parametrize(
    "change", [palette, transparent_paper, inverted, coloured, sixteen_bit, sixteen_bit_inverted]
)
def test_same_digit_in_other_ways(tmp_path: Path, change: object) -> None:
    assert callable(change)
    path = saved(tmp_path, change(Image.fromarray(DIGIT)))
    np.testing.assert_allclose(read_image(path, 8, 8).astype(int), DIGIT, atol=1)


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.fromarray((DIGIT > 0).astype(np.uint8), "L").convert("P")
    image.putpalette([9, 9, 9, 0, 0, 0])
    image.putdata((DIGIT > 0).astype(int).ravel().tolist())
    image.save(tmp_path / "image.png", transparency=0)
    expected = np.where(DIGIT > 0, 255, 0)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", 8, 8), expected)


def test_jpeg_is_nearly_the_same(tmp_path: Path) -> None:
    large = Image.fromarray(np.kron(DIGIT, np.ones((8, 8), np.uint8)))
    large.save(tmp_path / "image.jpg", quality=95)
    pixels = read_image(tmp_path / "image.jpg", 64, 64)
    assert np.abs(pixels.astype(int) - np.asarray(large)).mean() < 3


def test_jpeg_is_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise
    top = np.zeros((64, 64), np.uint8)
    top[8:16, 8:56] = 255
    Image.fromarray(top).save(tmp_path / "image.jpg", exif=exif, quality=95)
    pixels = read_image(tmp_path / "image.jpg", 64, 64)
    expected = np.rot90(top, -1)
    assert np.abs(pixels.astype(int) - expected).mean() < 3


def test_as_is_leaves_dark_on_light_alone(tmp_path: Path) -> None:
    path = saved(tmp_path, inverted(Image.fromarray(DIGIT)))
    np.testing.assert_array_equal(read_image(path, 8, 8, as_is=True), 255 - DIGIT)


def extent(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Rows and columns that have something in them."""
    return int((pixels.max(1) > 60).sum()), int((pixels.max(0) > 60).sum())


@pytest.mark.parametrize(("height", "width"), [(40, 20), (20, 40)])
@pytest.mark.parametrize("paper", [0, 255])
def test_other_shapes_are_centred_and_keep_their_proportions(
    tmp_path: Path, height: int, width: int, paper: int
) -> None:
    array = np.full((height, width), paper, np.uint8)
    array[height // 2 - 6 : height // 2 + 6, width // 2 - 6 : width // 2 + 6] = 255 - paper
    pixels = read_image(saved(tmp_path, Image.fromarray(array)), 20, 20)
    assert pixels.shape == (20, 20)
    assert extent(pixels) == (6, 6)
    assert pixels[10, 10] > 200
    # What is added around a picture is as dark as its own paper.
    assert max(pixels[0].max(), pixels[-1].max(), pixels[:, 0].max(), pixels[:, -1].max()) < 30


def test_network_that_is_not_square_gets_its_size(tmp_path: Path) -> None:
    assert read_image(saved(tmp_path, Image.new("L", (8, 8))), 28, 20).shape == (28, 20)


@pytest.mark.parametrize("size", [(1, 1), (1000, 1), (1, 1000)])
def test_extreme_sizes_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    assert read_image(saved(tmp_path, Image.new("L", size)), 8, 8).shape == (8, 8)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path, Image.effect_noise((64, 64), 50)).read_bytes()
    for content in (b"", b"not an image", whole[: len(whole) // 2], whole[:20]):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(UserError, match=r"bad\.png: not an image"):
            read_image(tmp_path / "bad.png", 8, 8)
    with pytest.raises(UserError, match="not an image"):
        read_image(tmp_path, 8, 8)
    with pytest.raises(UserError, match="no such file"):
        read_image(tmp_path / "missing.png", 8, 8)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what is odd in a file
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=64) | st.sampled_from(image_files()).flatmap(mutations))
def test_arbitrary_bytes_are_an_image_or_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    try:
        pixels = read_image(path, 12, 8)
    except UserError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape == (12, 8)


@pytest.mark.parametrize("content", image_files())
def test_every_format_and_mode_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "any").write_bytes(content)
    assert read_image(tmp_path / "any", 12, 8).shape == (12, 8)
