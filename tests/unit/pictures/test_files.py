import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image

from pipeline.pictures.files import display_name, read_picture, read_pixels
from pipeline.system.errors import UserError
from tests.helpers import memory
from tests.helpers.pictures import DIGIT, save_image
from tests.helpers.samples import image_files, mutations

Change = Callable[[Image.Image], Image.Image]


def read_image(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """The pixels of a file as light on dark, so that all its forms can be compared."""
    pixels = read_pixels(path, height, width)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    return 255 - pixels if np.median(border) > 127 else pixels


def test_light_on_dark_is_not_changed(tmp_path: Path) -> None:
    pixels = read_image(save_image(tmp_path, Image.fromarray(DIGIT)), 8, 8)
    np.testing.assert_array_equal(pixels, DIGIT, strict=True)


def palette(image: Image.Image) -> Image.Image:
    return image.convert("P")


def transparent_paper(image: Image.Image) -> Image.Image:
    """Black ink; the digit is in its opacity."""
    ink = Image.new("RGBA", image.size, "black")
    ink.putalpha(image)
    return ink


def inverted(image: Image.Image) -> Image.Image:
    return Image.fromarray(255 - np.asarray(image))


def coloured(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def sixteen_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image).astype(np.uint16) * 257)


def sixteen_bit_big_endian(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image).astype(">u2") * 257)


def sixteen_bit_inverted(image: Image.Image) -> Image.Image:
    return sixteen_bit(inverted(image))


def grey_and_alpha(image: Image.Image) -> Image.Image:
    return transparent_paper(image).convert("LA")


def cmyk(image: Image.Image) -> Image.Image:
    return image.convert("CMYK")


@pytest.mark.parametrize(
    ("change", "suffix"),
    [
        *((palette, "png"), (palette, "gif"), (transparent_paper, "png"), (inverted, "bmp")),
        *((transparent_paper, "tiff"), (grey_and_alpha, "png"), (coloured, "png"), (cmyk, "tiff")),
        *((sixteen_bit, "png"), (sixteen_bit, "tiff"), (sixteen_bit_big_endian, "tiff")),
        *((sixteen_bit_inverted, "png"), (coloured, "ppm"), (inverted, "pgm")),
    ],
)
def test_digit_is_the_same_in_every_mode_and_format(
    tmp_path: Path, change: Change, suffix: str
) -> None:
    path = save_image(tmp_path, change(Image.fromarray(DIGIT)), f"image.{suffix}")
    np.testing.assert_allclose(read_image(path, 8, 8).astype(int), DIGIT, atol=1)


def test_digit_is_the_same_in_lossless_webp(tmp_path: Path) -> None:
    transparent_paper(Image.fromarray(DIGIT)).save(tmp_path / "image.webp", lossless=True)
    pixels = read_image(tmp_path / "image.webp", 8, 8)
    np.testing.assert_allclose(pixels.astype(int), DIGIT, atol=1)


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    path = save_image(tmp_path, Image.fromarray(DIGIT > 0))
    np.testing.assert_array_equal(read_image(path, 8, 8), np.where(DIGIT > 0, 255, 0))


@pytest.mark.parametrize(
    "greys",
    [
        DIGIT.astype(np.int32) * 100_000 - 7,
        DIGIT.astype(np.float32) / 255,
        DIGIT.astype(np.float32) * 1e36 - 1e38,
    ],
)
def test_greys_without_a_fixed_range_are_scaled_from_darkest_to_lightest(
    tmp_path: Path, greys: NDArray[np.number]
) -> None:
    path = save_image(tmp_path, Image.fromarray(greys), "image.tiff")
    np.testing.assert_array_equal(read_image(path, 8, 8), np.round(DIGIT * (255 / 250)))
    path = save_image(tmp_path, Image.fromarray(greys * 0), "image.tiff")
    np.testing.assert_array_equal(read_image(path, 8, 8), DIGIT * 0)


def test_greys_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    path = save_image(tmp_path, Image.new("F", (8, 8), float("nan")), "image.tiff")
    with pytest.raises(UserError, match=r"image\.tiff: .* not numbers"):
        read_image(path, 8, 8)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_first_of_several_frames_is_read(tmp_path: Path, suffix: str) -> None:
    first, second = Image.fromarray(DIGIT), Image.fromarray(DIGIT.T)
    path = tmp_path / f"image.{suffix}"
    first.save(path, save_all=True, append_images=[second], lossless=True)  # `lossless` is for WebP
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 2
    np.testing.assert_allclose(read_image(path, 8, 8).astype(int), DIGIT, atol=1)


def test_transparent_palette_colour_is_white(tmp_path: Path) -> None:
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


def test_jpeg_is_rotated_by_its_exif_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° clockwise
    top = np.zeros((64, 64), np.uint8)
    top[8:16, 8:56] = 255
    Image.fromarray(top).save(tmp_path / "image.jpg", exif=exif, quality=95)
    pixels = read_image(tmp_path / "image.jpg", 64, 64)
    expected = np.rot90(top, -1)
    assert np.abs(pixels.astype(int) - expected).mean() < 3


def test_as_is_does_not_invert_dark_on_light(tmp_path: Path) -> None:
    path = save_image(tmp_path, inverted(Image.fromarray(DIGIT)))
    np.testing.assert_array_equal(read_pixels(path, 8, 8), 255 - DIGIT)


def extent(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """The numbers of rows and columns that are not dark everywhere."""
    return int((pixels.max(1) > 60).sum()), int((pixels.max(0) > 60).sum())


@pytest.mark.parametrize(("height", "width"), [(40, 20), (20, 40)])
def test_other_shapes_are_centred_and_keep_their_proportions(
    tmp_path: Path, height: int, width: int
) -> None:
    array = np.zeros((height, width), np.uint8)
    array[height // 2 - 6 : height // 2 + 6, width // 2 - 6 : width // 2 + 6] = 255
    pixels = read_image(save_image(tmp_path, Image.fromarray(array)), 20, 20)
    assert pixels.shape == (20, 20)
    assert extent(pixels) == (6, 6)
    assert pixels[10, 10] > 200


def test_result_has_the_size_of_a_network_that_is_not_square(tmp_path: Path) -> None:
    assert read_image(save_image(tmp_path, Image.new("L", (8, 8))), 28, 20).shape == (28, 20)


@pytest.mark.parametrize("size", [(1, 1), (1000, 1), (1, 1000)])
def test_extreme_sizes_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    assert read_image(save_image(tmp_path, Image.new("L", size)), 8, 8).shape == (8, 8)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        read_image(path, 8, 8)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_file_that_is_not_an_image_is_refused(tmp_path: Path) -> None:
    whole = save_image(tmp_path, Image.effect_noise((64, 64), 50)).read_bytes()
    for content in (b"", b"not an image", whole[: len(whole) // 2], whole[:20]):
        (tmp_path / "bad.png").write_bytes(content)
        assert "bad.png: not an image" in refused(tmp_path / "bad.png")
    assert "no such file" in refused(tmp_path / "missing.png")


def test_file_that_is_not_regular_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        assert refused(path) == f"{path}: not an image: not a regular file"


def test_file_without_read_permission_is_named(tmp_path: Path) -> None:
    path = save_image(tmp_path, Image.fromarray(DIGIT))
    path.chmod(0)
    user = os.geteuid()
    os.seteuid(65534)  # root can read every file
    try:
        said = refused(path)
    finally:
        os.seteuid(user)
    assert said == f"{path}: not an image that can be read: Permission denied"


def png(width: int, height: int) -> bytes:
    """A black image with one bit per pixel, compressed to a thousandth of its size."""
    header = struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (1 + (width + 7) // 8)))
    image = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
        checksum = zlib.crc32(kind + content)
        image += struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", checksum)
    return image


# The offsets of width and height in the headers of small images, and their format.
HEADERS = {
    "gif": (6, 8, "<H"),
    "GIF": (30, 32, "<H"),  # in the frame, not in the screen
    "tiff": (18, 30, "<I"),
    "webp": (24, 27, "<H"),
    "bmp": (18, 22, "<I"),
    "jpg": (94, 96, ">H"),
}


def bombs(folder: Path) -> list[Path]:
    """Small files of large images. Of 81 megapixels, Pillow itself only warns."""
    for width, height in ((30_000, 30_000), (9000, 9000), (70_000, 1), (1, 70_000)):
        (folder / f"{width}x{height}.png").write_bytes(png(width, height))
    (folder / "bomb.ppm").write_bytes(b"P5 9000 9000 255\n")
    for suffix, (*offsets, form) in HEADERS.items():
        path = folder / f"bomb.{suffix}"
        frames = [Image.new("L", (8, 8), 9)] if suffix == "webp" else []  # gives it a canvas
        Image.new("L", (8, 8)).save(path, save_all=bool(frames), append_images=frames)
        content = bytearray(path.read_bytes())
        for offset in offsets:
            struct.pack_into(form, content, offset, 9000)
        path.write_bytes(content)
    return sorted(folder.iterdir())


PEAK = """
import sys
from pathlib import Path
from PIL import Image
from pipeline.pictures.files import read_picture
from pipeline.system.errors import UserError
from tests.helpers.memory import peak

Image.init()
before = peak()
for name in sys.argv[1:]:
    try:
        read_picture(Path(name))
    except UserError as error:
        print(error)
print(peak() - before)
"""


@pytest.mark.slow
def test_large_image_is_refused_by_its_header(tmp_path: Path) -> None:
    paths = bombs(tmp_path)
    *errors, megabytes = memory.run(PEAK, *map(str, paths), folder=tmp_path)
    assert errors == [
        f"{path}: larger than 25 megapixels, or than 65535 pixels on a side" for path in paths
    ]
    assert int(megabytes) < 20


@pytest.mark.parametrize(
    "content",
    [b"P5 0 5 255\n", b"P5 5 0 255\n", b"P5 -5 5 255\n" + bytes(25), png(0, 8), png(8, 0)],
)
def test_image_without_pixels_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(UserError, match="not an image"):
        read_image(tmp_path / "image.png", 8, 8)


def test_25_megapixels_are_read(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(png(5000, 5000))
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", 8, 8), np.zeros((8, 8)))


def test_postscript_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed, path = tmp_path / "executed", tmp_path / "image.png"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {executed}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    Image.new("L", (8, 8)).save(path, "EPS")
    assert "not an image in a supported format: PNG, " in refused(path)
    assert not executed.exists()
    with Image.open(path) as image, pytest.raises(OSError, match=r".*"):
        image.load()
    assert executed.exists(), "Pillow did not run Ghostscript, so this test proves nothing"


def test_damaged_metadata_does_not_prevent_reading(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    for exif in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        Image.fromarray(DIGIT).save(path, exif=exif, icc_profile=b"garbage")
        np.testing.assert_array_equal(read_image(path, 8, 8), DIGIT)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged files
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=64) | st.sampled_from(image_files()).flatmap(mutations))
def test_arbitrary_bytes_give_an_image_or_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    try:
        pixels = read_pixels(path, 12, 8)
    except UserError:
        with pytest.raises(UserError):
            read_picture(path)
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape == (12, 8)
    colours = read_picture(path)
    assert colours.dtype == np.float32
    assert colours.shape[2] == 4
    assert 0 <= colours.min() <= colours.max() <= 1


@pytest.mark.parametrize("content", image_files())
def test_every_format_and_mode_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "any").write_bytes(content)
    assert read_pixels(tmp_path / "any", 12, 8).shape == (12, 8)
    assert read_picture(tmp_path / "any").shape[2] == 4


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("digit ✓.png", "digit ✓.png"),
        ("a\nb.png", r"a\nb.png"),
        ("\x1b[2J.png", r"\x1b[2J.png"),
        ("\udcff.png", r"\udcff.png"),
    ],
)
def test_displayed_name_is_one_printable_line(name: str, shown: str) -> None:
    assert display_name(Path(name)) == shown
