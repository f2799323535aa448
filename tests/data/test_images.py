"""Decoding and fitting, on real digits in every format and mode, against Pillow, torchvision and golden pixels."""

import io
import struct
import tarfile
import threading
import warnings
import zlib
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from firstlight.data.cues import read_header
from firstlight.data.images import PAD_GRAY, DecodedImage, decode, resize_image
from firstlight.errors import ImageError, RecipeError
from firstlight.resize import RESIZE_METHODS

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def encode(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(values: np.ndarray, bits: int, color: int, extra: bytes = b"") -> bytes:
    """A PNG by hand, for what Pillow does not write: color 0 gray, 2 RGB, 4 gray and alpha, 6 RGBA."""
    kind = np.dtype(">u2") if bits == 16 else np.dtype("u1")
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(kind).tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tiff(data: bytes, width: int, height: int, bits: int, *, white_is_zero: bool = False, sample: int = 1) -> bytes:
    """A gray TIFF by hand, for depths that Pillow does not write; `sample` 1 unsigned, 2 signed, 3 float."""
    fields = [(256, width), (257, height), (258, bits), (259, 1), (262, 0 if white_is_zero else 1)]
    fields += [(273, 0), (277, 1), (278, height), (279, len(data)), (339, sample)]
    offset = 8 + 2 + 12 * len(fields) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, offset if tag == 273 else value) for tag, value in fields)
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + b"\0\0\0\0" + data


@pytest.fixture(scope="module")
def digit(digits) -> np.ndarray:
    """One real digit, 8x8; not symmetric in any way."""
    return digits[0][2]


@pytest.fixture(scope="module")
def colors(digits) -> np.ndarray:
    """Three real digits as the channels of a color picture, 24 rows by 40 columns."""
    planes = [np.asarray(Image.fromarray(digits[0][row]).resize((40, 24))) for row in (1, 2, 3)]
    return np.stack(planes, axis=2)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_decodes_as_pillow_does(kind, colors):
    data = encode(colors, kind)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    image = decode(data)
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.pixels.dtype == np.uint8 and image.pixels.flags.c_contiguous and image.pixels.flags.writeable
    assert image.notes == ()


# torchvision will hand its decoders to torchcodec one day; until then it is the other JPEG decoder at hand
@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
def test_real_jpegs_decode_as_torchvision_does(shared_data):
    import tarfile

    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    with tarfile.open(shared_data / "clothing10.tar") as archive:
        members = [member for member in archive if member.isfile()][:6]
        files = [archive.extractfile(member).read() for member in members]
    for data in files:
        theirs = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
        difference = decode(data).pixels.astype(int) - theirs.permute(1, 2, 0).numpy()
        # two builds of libjpeg may round their color conversion differently
        assert np.abs(difference).max() <= 3 and np.abs(difference).mean() < 0.1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF"])
def test_a_gray_image_stays_one_channel_unless_its_format_has_a_palette(kind, digit):
    image = decode(encode(digit, kind))
    assert image.pixels.shape == (8, 8, 3 if image.mode == "P" else 1)
    if kind != "JPEG":
        np.testing.assert_array_equal(image.pixels[:, :, 0], digit)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_come_out_upright(kind, orientation, colors):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(colors, kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    image = decode(data)
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.notes == ((f"EXIF orientation {orientation} applied",) if orientation > 1 else ())


@pytest.mark.parametrize("orientation", [1, 6])
def test_orientation_also_holds_for_wide_integers(orientation, digit):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(digit.astype(np.uint16) * 257, "PNG", exif=exif)
    expected = np.rot90(digit, -1) if orientation == 6 else digit
    np.testing.assert_array_equal(decode(data).pixels[:, :, 0], expected)


def test_damaged_exif_is_noted_and_the_image_is_kept(colors):
    data = encode(colors, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05garbage")
    image = decode(data)
    assert image.pixels.shape == (24, 40, 3)
    assert any("EXIF" in note for note in image.notes)


def over_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    fraction = alpha[..., None].astype(float) / 255
    return color * fraction + 255 * (1 - fraction)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_drawn_over_white(kind, colors):
    alpha = np.linspace(0, 255, 24 * 40).reshape(24, 40).astype(np.uint8)
    data = encode(np.dstack([colors, alpha]), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    image = decode(data)
    assert np.abs(image.pixels - over_white(colors, alpha)).max() <= 1
    assert image.notes == ("transparent, drawn on white",)


def test_gray_with_alpha_stays_gray(digit):
    alpha = np.full((8, 8), 128, np.uint8)
    image = decode(encode(Image.merge("LA", [Image.fromarray(digit), Image.fromarray(alpha)]), "PNG"))
    assert image.pixels.shape == (8, 8, 1)
    assert np.abs(image.pixels - over_white(digit[..., None], alpha)).max() <= 1


def test_sixteen_bit_gray_with_alpha_stays_gray(digit):
    values = np.dstack([digit.astype(np.uint16) * 257, np.full((8, 8), 65535)])
    np.testing.assert_array_equal(decode(png(values, 16, 4)).pixels[:, :, 0], digit)


def test_opaque_alpha_changes_nothing(colors):
    image = decode(encode(Image.fromarray(colors).convert("RGBA"), "PNG"))
    np.testing.assert_array_equal(image.pixels, colors)
    assert image.notes == ()


def test_a_transparent_color_becomes_white_in_gray_rgb_and_palette(digit, colors):
    ink = int(digit.max())
    gray = decode(encode(Image.fromarray(digit), "PNG", transparency=ink))
    np.testing.assert_array_equal(gray.pixels[:, :, 0], np.where(digit == ink, 255, digit))
    one = tuple(int(value) for value in colors[3, 3])
    rgb = decode(encode(Image.fromarray(colors), "PNG", transparency=one))
    clear = (colors == one).all(axis=2, keepdims=True)
    np.testing.assert_array_equal(rgb.pixels, np.where(clear, 255, colors))
    palette = Image.fromarray(colors).quantize(8)
    seen = decode(encode(palette, "PNG", transparency=2))
    expected = np.where(np.asarray(palette)[..., None] == 2, 255, np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(seen.pixels, expected)
    wide = decode(png(digit.astype(np.uint16) * 257, 16, 0, chunk(b"tRNS", struct.pack(">H", ink * 257))))
    np.testing.assert_array_equal(wide.pixels[:, :, 0], np.where(digit == ink, 255, digit))


def test_palette_and_one_bit_images_become_rgb_and_gray(digit, colors):
    palette = Image.fromarray(colors).quantize(16)
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        image = decode(encode(palette, kind))
        np.testing.assert_array_equal(image.pixels, np.asarray(palette.convert("RGB")), err_msg=kind)
    ink = Image.fromarray(digit > 100)
    for kind in ("PNG", "BMP", "TIFF"):
        image = decode(encode(ink, kind))
        assert image.mode == "1"
        np.testing.assert_array_equal(image.pixels[:, :, 0], np.where(digit > 100, 255, 0))


def test_cmyk_is_converted_by_color_also_where_adobe_inverts_it():
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, :16] = (0, 255, 255, 0)  # magenta and yellow make red
    inks[:, 16:] = (255, 0, 0, 64)  # three quarters of cyan
    expected = np.zeros((16, 32, 3), np.uint8)
    expected[:, :16] = (255, 0, 0)
    expected[:, 16:] = (0, 191, 191)
    image = Image.fromarray(inks, "CMYK")
    np.testing.assert_array_equal(decode(encode(image, "TIFF")).pixels, expected)
    jpeg = encode(image, "JPEG", quality=100)
    assert b"Adobe" in jpeg  # Pillow writes inverted inks, as Photoshop does
    assert np.abs(decode(jpeg).pixels.astype(int) - expected).max() <= 3


def test_lab_and_ycbcr_are_converted_by_color(colors):
    rgb = Image.fromarray(colors)
    assert np.abs(decode(encode(rgb.convert("YCbCr"), "TIFF")).pixels.astype(int) - colors).max() <= 3
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    to_rgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    lab = ImageCms.applyTransform(rgb, to_lab)
    expected = np.asarray(ImageCms.applyTransform(lab, to_rgb))
    assert np.abs(decode(encode(lab, "TIFF")).pixels.astype(int) - expected).max() <= 1


RAMP = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_a_sixteen_bit_ramp_keeps_every_gray(kind, order):
    if order == ">u2":
        data = encode(Image.frombytes("I;16B", (256, 256), RAMP.astype(order).tobytes()), kind)
    else:
        data = encode(RAMP, kind)
    pixels = decode(data).pixels
    assert np.abs(pixels[:, :, 0] - RAMP / 257).max() <= 0.51
    assert (pixels == 255).mean() < 0.01  # plain conversion makes nearly all of it white


def test_sixteen_bit_color_keeps_every_gray():
    values = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)
    assert np.abs(decode(png(values, 16, 2)).pixels - values / 257).max() <= 1


def test_twelve_bits_signed_and_white_is_zero_are_scaled_by_their_own_range():
    packed = bytes([0x00, 0x0F, 0xFF, 0x80, 0x00, 0x00])  # 0, 4095, 2048, 0
    np.testing.assert_array_equal(decode(tiff(packed, 4, 1, 12)).pixels.ravel(), [0, 255, 128, 0])
    signed = np.array([0, 16384, 32767], "<i2").tobytes()
    np.testing.assert_array_equal(decode(tiff(signed, 3, 1, 16, sample=2)).pixels.ravel(), [0, 128, 255])
    inverted = np.array([0, 32896, 65535], "<u2").tobytes()
    np.testing.assert_array_equal(decode(tiff(inverted, 3, 1, 16, white_is_zero=True)).pixels.ravel(), [255, 127, 0])
    below = np.array([-5, 0, 9], "<i2").tobytes()
    with pytest.raises(ImageError, match="from -5 to 9"):
        decode(tiff(below, 3, 1, 16, sample=2))


def test_wide_integers_are_sixteen_bit_images_or_refused():
    image = decode(encode(np.array([[0, 32768, 65535]], np.int32), "TIFF"))
    assert image.mode == "I" and image.notes == ("integers taken as 0..65535",)
    np.testing.assert_array_equal(image.pixels.ravel(), [0, 128, 255])
    with pytest.raises(ImageError, match="unclear which value is white"):
        decode(encode(np.array([[0, 70000]], np.int32), "TIFF"))


@pytest.mark.parametrize(
    ("values", "expected", "white"),
    [
        ([0, 0.5, 1], [0, 128, 255], 1),
        ([-0.001, 0.25, 1.001], [0, 64, 255], 1),
        ([0, 100.4, 255], [0, 100, 255], 255),
        ([0, 32896, 65535], [0, 128, 255], 65535),
    ],
)
def test_floats_are_scaled_by_the_range_they_show(values, expected, white):
    image = decode(encode(np.array([values], np.float32), "TIFF"))
    np.testing.assert_array_equal(image.pixels.ravel(), expected)
    assert image.notes == (f"floats taken as 0..{white}",)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.5, 70000.0])
def test_floats_whose_white_is_unknown_are_refused(bad):
    with pytest.raises(ImageError, match="unclear|unknown"):
        decode(encode(np.array([[0, bad, 1]], np.float32), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken_and_noted(kind, colors):
    frames = [Image.fromarray(np.rot90(colors, turn)).resize((40, 24)) for turn in range(3)]
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decode(encode(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert image.notes == ("first of several frames",)
    np.testing.assert_array_equal(image.pixels, decode(encode(frames[0], kind, **options)).pixels)


def test_a_multi_image_jpeg_is_a_jpeg(colors):
    frames = [Image.fromarray(colors), Image.fromarray(colors[::-1])]
    image = decode(encode(frames[0], "MPO", save_all=True, append_images=frames[1:]), name="phone.jpg")
    np.testing.assert_array_equal(image.pixels, decode(encode(colors, "JPEG")).pixels)
    assert image.notes == ()


def test_content_counts_and_a_wrong_extension_is_noted(colors):
    data = encode(colors, "JPEG")
    assert decode(data, name="a/b.PNG").notes == ("named .png but holds JPEG",)
    assert decode(data, name="a/b.JPG").notes == decode(data, name="a.b/c").notes == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"not a picture at all\n", "text"),
        ("καλημέρα".encode(), "text"),
        (b"\0" * 500, "zeros"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0", "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "archive"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\x01\x02\x03\x04", "not a picture in a format that can be read .JPEG"),
        (b"BM" + b"\0" * 60, "damaged BMP"),
    ],
)
def test_what_is_no_image_is_named(data, reason):
    with pytest.raises(ImageError, match=reason):
        decode(data, name="cat.jpg")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_image_cut_anywhere_is_refused(kind, colors):
    data = encode(colors, kind)
    for fraction in (0.05, 0.3, 0.5, 0.8, 0.95):
        with pytest.raises(ImageError, match="truncated|damaged|not a"):
            decode(data[: int(len(data) * fraction)])
    with pytest.raises(ImageError, match="truncated"):
        decode(data[: int(len(data) * 0.8)])


def test_png_data_that_does_not_match_its_checksum_is_refused(colors):
    data = bytearray(encode(colors, "PNG", compress_level=0))
    data[data.index(b"IDAT") + 100] ^= 1  # stored data: every bit decodes
    with pytest.raises(ImageError, match="checksum"):
        decode(bytes(data))


def test_other_formats_of_pillow_are_not_opened(colors):
    for kind in ("SGI", "TGA", "ICO", "PCX"):
        with pytest.raises(ImageError):
            decode(encode(Image.fromarray(colors), kind))


def test_the_pixel_limit_holds_before_decoding():
    vast = Image.new("1", (20_000, 10_001))
    bombs = [encode(vast, "PNG"), encode(vast, "TIFF", compression="group4")]
    screen = struct.pack("<HH", 65535, 65535)
    bombs.append(
        b"GIF89a" + screen + b"\0\0\0," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\0;"
    )
    for bomb in bombs:
        assert len(bomb) < 200_000
        with pytest.raises(ImageError, match="more than the limit of 50,000,000"):
            decode(bomb)
    small = encode(Image.new("L", (100, 100)), "PNG")
    with pytest.raises(ImageError, match="100 x 100 is 10,000 pixels"):
        decode(small, max_pixels=9_999)
    assert decode(small, max_pixels=10_000).pixels.shape == (100, 100, 1)


def corpus() -> list[bytes]:
    from sklearn.datasets import load_digits

    image = Image.fromarray(np.rint(load_digits().images[5] * 15).astype(np.uint8)).resize((20, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [encode(image.convert("RGB"), kind) for kind in FORMATS]
    files += [encode(image.convert("RGB"), kind, exif=exif) for kind in ("JPEG", "PNG", "TIFF")]
    files += [encode(image.convert("P"), "GIF", save_all=True, append_images=[image.rotate(90)])]
    files += [encode(image.convert("RGB"), "TIFF", compression=how) for how in ("tiff_lzw", "tiff_deflate", "jpeg")]
    files += [encode(image.convert("RGB"), kind) for kind in ("PPM", "DIB", "AVIF")]
    files += [encode(image.convert("RGBA"), "WEBP"), encode(image.convert("F"), "TIFF"), encode(image, "BMP")]
    return files


@settings(max_examples=200)
@given(st.data())
def test_mutated_files_give_a_image_or_a_image_error(data):
    original = data.draw(st.sampled_from(corpus_once()))
    mutated = bytearray(original)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, min(len(mutated), 300) - 1) | st.integers(0, len(mutated) - 1))
        mutated[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        mutated = mutated[: data.draw(st.integers(0, len(mutated)))]
    try:
        image = decode(bytes(mutated), max_pixels=1_000_000)
    except ImageError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert image.pixels.dtype == np.uint8 and image.pixels.shape[2] in (1, 3)


def corpus_once(_kept: list[list[bytes]] = []) -> list[bytes]:  # noqa: B006 -- made once, on first use
    if not _kept:
        _kept.append(corpus())
    return _kept[0]


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_what_pillow_warns_of_while_it_loads_pixels_is_a_note_too(colors, compression):
    data = encode(colors, "TIFF", compression=compression, tiffinfo={305: "a camera of mine"})
    damaged = data.replace(struct.pack("<HHI", 305, 2, 17), struct.pack("<HHI", 305, 2, 10**6))
    assert damaged != data
    with warnings.catch_warnings(action="error"):
        found = decode(damaged)
        assert read_header(damaged)
    assert found.notes == ("Tag data larger than file. Skipping tag N",)
    assert (found.pixels == decode(data).pixels).all()


def test_threads_decode_side_by_side_and_leave_the_warning_filters_alone(colors):
    good = encode(colors, "JPEG")
    bad_exif = encode(colors, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05garbage")
    expected = decode(good)
    before = list(warnings.filters)
    seen: list[DecodedImage] = []

    def work(data: bytes) -> None:
        seen.extend(decode(data) for _ in range(50))

    threads = [threading.Thread(target=work, args=(data,)) for data in (good, bad_exif) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
    assert len(seen) == 300
    assert all((image.pixels == expected.pixels).all() for image in seen)
    assert sum(image.notes == () for image in seen) == 150


def photograph(width: int = 640, height: int = 480, mode: str = "RGB") -> Image.Image:
    draw = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(draw).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


@pytest.mark.parametrize("resize", [*RESIZE_METHODS, "crop:0.6"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_large_jpeg_decoded_for_a_network_shows_what_the_whole_one_shows(mode, progressive, resize):
    data = encode(photograph(mode=mode), "JPEG", quality=90, progressive=progressive)
    whole, quick = decode(data), decode(data, input_size=(3, 64, 64), resize=resize)
    assert quick.pixels.shape == (240, 320, whole.pixels.shape[2])  # a quarter would leave less than 128
    assert (quick.size, quick.mode, quick.notes) == (whole.size, whole.mode, whole.notes)
    fitted = [resize_image(image.pixels, (3, 64, 64), resize).astype(int) for image in (whole, quick)]
    assert np.abs(fitted[0] - fitted[1]).mean() < 2


@pytest.mark.parametrize(("side", "shape"), [(64, (240, 320, 3)), (96, (240, 320, 3)), (121, (480, 640, 3))])
def test_a_jpeg_keeps_twice_the_sides_of_the_network(side, shape):
    assert decode(encode(photograph(), "JPEG"), input_size=(3, side, side)).pixels.shape == shape
    assert decode(encode(photograph(), "PNG"), input_size=(3, side, side)).pixels.shape == (480, 640, 3)


@pytest.mark.parametrize(("fraction", "shape"), [("1", (240, 320, 3)), ("0.8", (240, 320, 3)), ("0.79", (480, 640, 3))])
def test_what_is_cut_out_of_a_jpeg_keeps_twice_the_sides_of_the_network(fraction, shape):
    data = encode(photograph(), "JPEG")
    assert decode(data, input_size=(3, 96, 96), resize=f"crop:{fraction}").pixels.shape == shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_reports_its_whole_upright_size_however_it_was_decoded(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(photograph(1001, 600), "JPEG", exif=exif)
    whole, quick = decode(data), decode(data, input_size=(3, 20, 20))
    assert quick.size == whole.size == whole.pixels.shape[:2]
    assert quick.reduced and not whole.reduced
    assert quick.notes == whole.notes
    fitted = [resize_image(image.pixels, (3, 20, 20), "squash").astype(int) for image in (whole, quick)]
    assert np.abs(fitted[0] - fitted[1]).mean() < 2


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.9])
def test_a_large_jpeg_cut_anywhere_is_refused_however_small_it_is_decoded(fraction):
    data = encode(photograph(1600, 1200), "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        decode(data[: int(len(data) * fraction)], input_size=(3, 16, 16))
    with pytest.raises(ImageError, match="1600 x 1200"):
        decode(data, input_size=(3, 16, 16), max_pixels=1_000_000)


@pytest.mark.parametrize("resize", RESIZE_METHODS)
def test_a_image_of_the_right_size_is_untouched(resize, colors, digit):
    assert resize_image(colors, (3, 24, 40), resize) is colors
    assert resize_image(digit[..., None], (1, 8, 8), resize).tobytes() == digit.tobytes()


@pytest.mark.parametrize("resize", [*RESIZE_METHODS, "crop:0.875", "crop:0.000001"])
@pytest.mark.parametrize("size", [(1, 8, 8), (3, 32, 32), (3, 17, 64), (1, 5, 3)])
@pytest.mark.parametrize("shape", [(24, 40, 3), (40, 24, 1), (1, 300, 3), (700, 500, 3), (2, 2, 1), (1, 1, 3)])
def test_fitting_gives_the_size_asked_for(resize, size, shape):
    pixels = np.full(shape, 77, np.uint8)
    fitted = resize_image(pixels, size, resize)
    assert fitted.shape == (*size[1:], size[0]) and fitted.dtype == np.uint8
    assert set(np.unique(fitted)) <= {77, PAD_GRAY}
    if resize != "pad":
        assert (fitted == 77).all()


def test_crop_keeps_the_middle_of_the_long_side_at_the_scale_of_the_short_one():
    wide = np.zeros((20, 60, 1), np.uint8)
    wide[:, 20:40] = 200  # the middle square
    assert (resize_image(wide, (1, 20, 20), "crop") == 200).all()
    halved = resize_image(wide, (1, 10, 10), "crop")
    assert (halved[:, 1:-1] == 200).all()


def four_photographs(shared_data):
    with tarfile.open(shared_data / "clothing10.tar") as archive:
        members = [member for member in archive if member.isfile()][:4]
        return [archive.extractfile(member).read() for member in members]


def test_crop_agrees_with_torchvision_resize_and_center_crop(shared_data):
    from torchvision.transforms import v2

    theirs = v2.Compose([v2.Resize(64), v2.CenterCrop(64)])
    for data in four_photographs(shared_data):
        pixels = decode(data).pixels[:480, :320]  # torchvision rounds to whole pixels in between; here both are exact
        expected = np.asarray(theirs(Image.fromarray(pixels)), dtype=int)
        difference = np.abs(resize_image(pixels, (3, 64, 64), "crop") - expected)
        assert difference[1:-1].max() <= 1  # the outermost lines see what they do not: the pixels that are cut off
        assert difference.mean() < 0.2


def by_hand(pixels: np.ndarray, size: tuple[int, int, int], kept: tuple[int, int]) -> np.ndarray:
    """The middle `kept` rows and columns, cut out and resized by Pillow."""
    top, left = ((side - part) // 2 for side, part in zip(pixels.shape, kept, strict=False))
    image = Image.fromarray(pixels).crop((left, top, left + kept[1], top + kept[0]))
    return np.asarray(image.resize((size[2], size[1]), Image.Resampling.BILINEAR), dtype=int)


@settings(max_examples=200)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 10**6),
)
def test_a_share_of_the_crop_is_the_middle_cut_by_hand_and_resized(shape, sides, millionths):
    pixels = np.random.default_rng(millionths).integers(0, 256, (*shape, 3), dtype=np.uint8)
    fraction = Fraction(millionths, 10**6)
    step = fraction * min(Fraction(shape[0], sides[0]), Fraction(shape[1], sides[1]))
    assume(all((side * step) % 1 != Fraction(1, 2) for side in sides))  # halves may be rounded either way
    kept = max(1, round(sides[0] * step)), max(1, round(sides[1] * step))
    fitted = resize_image(pixels, (3, *sides), f"crop:{float(fraction):.6f}")
    assert np.abs(fitted - by_hand(pixels, (3, *sides), kept)).max() <= 1


@given(
    st.tuples(st.integers(16, 255), st.integers(16, 255)),
    st.lists(st.integers(1, 999), min_size=2, max_size=6, unique=True),
)
def test_a_larger_share_shows_more_on_every_side_up_to_the_crop(shape, thousandths):
    down, across = np.indices(shape).astype(np.uint8)
    fits = [*(f"crop:0.{fraction:03d}" for fraction in sorted(thousandths)), "crop"]
    for slope in (down, across):
        fitted = [resize_image(slope[..., None], (1, 16, 16), resize).astype(int) for resize in fits]
        for less, more in pairwise(fitted):
            assert more.min() <= less.min() + 1 and more.max() >= less.max() - 1  # give or take a rounded gray level


def test_the_whole_share_is_the_crop_and_less_cuts_even_a_image_of_the_right_size(colors, digit):
    assert resize_image(colors, (3, 16, 16), "crop:1").tobytes() == resize_image(colors, (3, 16, 16), "crop").tobytes()
    assert resize_image(colors, (3, 24, 40), "crop:1") is colors
    halved, middle = resize_image(digit[..., None], (1, 8, 8), "crop:0.5"), digit[2:6, 2:6, None]
    assert halved.tobytes() == resize_image(middle, (1, 8, 8), "crop").tobytes()


def test_seven_eighths_are_what_torchvision_keeps_of_256_for_224(shared_data):
    from torchvision.transforms import v2

    theirs = v2.Compose([v2.Resize(128), v2.CenterCrop(112)])
    for data in four_photographs(shared_data):
        pixels = decode(data).pixels[:384, :256]
        expected = np.asarray(theirs(Image.fromarray(pixels)), dtype=int)
        difference = np.abs(resize_image(pixels, (3, 112, 112), "crop:0.875") - expected)
        assert difference[1:-1, 1:-1].max() <= 1  # the outermost lines see what they do not, as above


def test_pad_keeps_the_whole_image_between_gray_bars():
    wide = np.full((20, 60, 3), 10, np.uint8)
    wide[:, 30:] = 250
    fitted = resize_image(wide, (3, 30, 30), "pad")
    assert (fitted[:10] == PAD_GRAY).all() and (fitted[20:] == PAD_GRAY).all()
    assert (fitted[10:20, :14] == 10).all() and (fitted[10:20, 16:] == 250).all()


def test_squash_scales_each_side_by_itself():
    checks = np.kron([[0, 255], [255, 0]], np.ones((10, 30))).astype(np.uint8)[..., None]
    fitted = resize_image(checks, (1, 40, 20), "squash")
    assert (fitted[:18, :8] == 0).all() and (fitted[22:, :8] == 255).all() and (fitted[:18, 12:] == 255).all()


def test_shrinking_is_antialiased():
    stripes = np.tile(np.array([0, 255], np.uint8), (400, 200))[..., None]
    assert np.abs(resize_image(stripes, (1, 20, 20), "squash").astype(int) - 127.5).max() < 8


def test_channels_are_repeated_or_become_luma(colors, digit):
    gray = resize_image(colors, (1, 24, 40), "crop")
    np.testing.assert_array_equal(gray[..., 0], np.asarray(Image.fromarray(colors).convert("L")))
    assert np.abs(gray[..., 0] - colors @ [0.299, 0.587, 0.114]).max() <= 1
    rgb = resize_image(digit[..., None], (3, 8, 8), "crop")
    assert all((rgb[..., channel] == digit).all() for channel in range(3))


@pytest.mark.parametrize("resize", ["stretch", "crop:0", "crop:1.5", "crop:x", "pad:0.5"])
def test_an_unknown_resize_is_named_and_is_no_fault_of_the_image(resize):
    with pytest.raises(RecipeError, match=f"resize = '{resize}': choose"):
        resize_image(np.zeros((2, 2, 1), np.uint8), (1, 4, 4), resize)
    with pytest.raises(RecipeError, match=f"resize = '{resize}': choose"):
        decode(encode(photograph(), "JPEG"), input_size=(3, 16, 16), resize=resize)


def test_pixels_that_cannot_be_written_to_are_resized_without_a_warning():
    shown = np.asarray(Image.new("RGB", (30, 20), "red"))
    assert not shown.flags.writeable, "as notebooks make them"
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(action="error"):
            assert resize_image(shown, (3, 8, 8), "crop").shape == (8, 8, 3)
    finally:
        torch.set_warn_always(before)
