import io
import os
import subprocess
import sys
import tempfile
import threading
import warnings
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from meisho.errors import ConfigError, ImageError, InputError
from meisho.image_files import MAX_PIXELS
from meisho.images import (
    ImageOptions,
    load_image,
    load_sized_image,
    make_thumbnail,
    read_size,
    working_size,
)
from meisho.photo_folder import find_photos
from meisho.photos import Box, Photo, content_sha256, printable_id
from meisho.texts import printable

ORIENTATION = 0x0112


def picture(width=96, height=64):
    """A smooth picture without symmetry: red grows to the right, green downwards, blue sits at the left."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([255 * x, 255 * y, 200 * (x < 0.25)], axis=-1).round().astype(np.uint8)


def photo_like(width, height, seed=0):
    """Noise of all scales (1/f) with sharp edges in it: what reduced decoding could spoil."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 9):
        cells = rng.standard_normal((2**octave * height // width + 2, 2**octave, 3)).astype(np.float32)
        cells = 0.8 * cells.mean(axis=2, keepdims=True) + 0.2 * cells
        for channel in range(3):
            layer = Image.fromarray(cells[..., channel]).resize((width, height), Image.Resampling.BILINEAR)
            canvas[..., channel] += np.asarray(layer) / octave
    canvas = 120 + 45 * (canvas - canvas.mean()) / canvas.std()
    for _ in range(120):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        w, h = rng.integers(width // 200, width // 12, 2)
        canvas[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def save(path, image, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, **options)
    return Photo(path.name, path)


def load(photo, **options):
    return load_image(photo, ImageOptions(**options))


def same_size(width=96, height=64):
    """Options under which a photo of this size is not resized."""
    return ImageOptions(max_side_px=max(width, height))


def psnr(a, b):
    return 10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b.astype(float)) ** 2)))


# --- shapes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        ((4000, 3000), {}, (384, 288)),
        ((3000, 4000), {}, (288, 384)),
        ((100, 50), {}, (384, 192)),  # enlarged
        ((1000, 333), {}, (384, 128)),  # 127.87
        ((640, 480), {"max_side_px": 100, "multiple_px": 32}, (96, 64)),  # 3.125 and 2.34 of 32
        ((5000, 1), {}, (384, 32)),
        ((1, 5000), {}, (32, 384)),
        ((5000, 1), {"multiple_px": 48}, (384, 48)),
        ((5000, 1), {"max_side_px": 16}, (16, 16)),
        ((5000, 100), {"min_side_px": 1}, (384, 8)),  # 7.68
    ],
)
def test_working_size(size, options, expected):
    assert working_size(*size, ImageOptions(**options)) == expected


@pytest.mark.parametrize(
    ("photo_side", "options", "expected"),
    [
        (2000, {}, (384, 192)),
        (2000, {"crops": "photo"}, (96, 48)),  # 384 / 2000 of 500 and 250
        (1024, {"crops": "photo", "max_side_px": 1024}, (500, 250)),
        (1500, {"crops": "photo", "max_side_px": 1000}, (333, 167)),  # 333.3, and half of 333
        (600, {"crops": "photo", "max_side_px": 1200}, (1000, 500)),
        (600, {"crops": "photo", "max_side_px": 1200, "enlarge": False}, (500, 250)),
    ],
)
def test_a_crop_is_sized_by_itself_or_with_its_photo(photo_side, options, expected):
    assert working_size(500, 250, ImageOptions(**options), photo_side) == expected


def test_an_option_that_came_later_changes_no_older_digest():
    assert "crops" not in repr(ImageOptions()) and "crops" not in ImageOptions().values
    assert repr(ImageOptions(crops="photo")).endswith("enlarge=True, crops='photo')")
    with pytest.raises(ConfigError, match=r"crops 'half' is none of own, photo"):
        ImageOptions(crops="half")


@given(st.integers(1, 20000), st.integers(1, 20000), st.integers(1, 1024), st.integers(1, 64))
def test_every_working_size_is_a_multiple_and_large_enough(width, height, max_side, multiple):
    sides = working_size(width, height, ImageOptions(max_side_px=max_side, multiple_px=multiple))
    assert all(side % multiple == 0 and side >= min(32, max_side) for side in sides)
    assert max(sides) <= max_side + multiple


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (2000, 3)])
def test_photos_one_pixel_wide_are_loaded(tmp_path, size):
    image = load(save(tmp_path / "a.png", Image.new("RGB", size, (10, 20, 30))), max_side_px=64)
    assert min(image.shape[:2]) >= 32
    assert max(image.shape[:2]) == 64
    assert (image == (10, 20, 30)).all()


@pytest.mark.parametrize(
    "options", [{"max_side_px": 0}, {"multiple_px": 0}, {"min_side_px": -1}, {"interpolation": "cubic"}]
)
def test_image_options_are_checked(options):
    with pytest.raises(ConfigError, match="image options"):
        ImageOptions(**options)


def test_the_result_is_free_to_be_changed_and_the_value_between_stages_is_not(tmp_path):
    photo = save(tmp_path / "a.png", picture())
    load(photo)[0, 0] = 0
    with pytest.raises(ValueError, match="read-only"):
        load_sized_image(photo, ImageOptions()).pixels[0, 0] = 0


# --- formats and colours ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("lzw.tif", {"compression": "tiff_lzw"}),
        ("a.ppm", {}),
        ("a.webp", {"lossless": True}),
        ("interlaced.png", {"interlace": 1}),
        ("a.jp2", {}),
        ("a.jpg", {"quality": 95, "subsampling": 0}),
        ("progressive.jpg", {"quality": 95, "subsampling": 0, "progressive": True}),
        ("a.webp", {"quality": 95}),
        ("a.avif", {"quality": 95}),
    ],
)
def test_every_format_gives_the_picture(tmp_path, name, options):
    image = load_image(save(tmp_path / name, picture(), **options), same_size())
    assert image.dtype == np.uint8
    assert image.shape == (64, 96, 3)
    assert psnr(image, picture()) > 28  # the blue edge is what the lossy ones blur


def test_lossless_formats_are_exact(tmp_path):
    for name in ("a.png", "a.bmp", "a.tif", "a.ppm"):
        assert np.array_equal(load_image(save(tmp_path / name, picture()), same_size()), picture()), name


def test_heic(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(picture())).save(tmp_path / "a.heic", quality=95)
    image = load_image(Photo("a", tmp_path / "a.heic"), same_size())
    assert psnr(image, picture()) > 28
    assert read_size(Photo("p", tmp_path / "a.heic")) == (96, 64)


def test_heic_without_its_plugin_says_what_to_install(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(picture())).save(tmp_path / "a.heic")
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from pathlib import Path; from meisho.images import *\n"
        "try: load_image(Photo('a', Path(sys.argv[1])), ImageOptions())\n"
        "except ImageError as error: print(error.reason)"
    )
    output = subprocess.check_output([sys.executable, "-c", code, tmp_path / "a.heic"], text=True)
    assert "pip install 'meisho[heic]'" in output


def test_the_content_decides_not_the_ending(tmp_path):
    save(tmp_path / "a.png", picture())
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(load_image(Photo("a", tmp_path / "a.jpg"), same_size()), picture())


def test_grey(tmp_path):
    grey = picture()[..., 0]
    for name in ("a.png", "a.jpg"):
        image = load_image(save(tmp_path / name, grey), same_size())
        assert np.abs(image - grey[..., None].astype(int)).max() <= 3


def test_one_bit(tmp_path):
    bits = picture()[..., 0] > 127
    image = load_image(save(tmp_path / "a.png", Image.fromarray(bits)), same_size())
    assert np.array_equal(image, np.where(bits, 255, 0)[..., None].repeat(3, axis=2))


def test_palette(tmp_path):
    pale = Image.fromarray(picture()).quantize(32)
    for name in ("a.png", "a.gif"):
        image = load_image(save(tmp_path / name, pale), same_size())
        assert np.array_equal(image, np.asarray(pale.convert("RGB"))), name


def test_16_bit_greys_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 96).astype(np.uint16)[None].repeat(64, axis=0)
    for name in ("a.png", "a.tif"):
        image = load_image(save(tmp_path / name, ramp), same_size())
        assert np.abs(image[..., 0] - ramp / 257).max() <= 0.51, name


def test_16_bit_big_endian_tiff_and_pgm(tmp_path):
    ramp = np.linspace(0, 65535, 96).astype(np.uint16)[None].repeat(64, axis=0)
    (tmp_path / "a.ppm").write_bytes(b"P5 96 64 65535\n" + ramp.astype(">u2").tobytes())
    save(tmp_path / "a.tif", Image.frombytes("I;16B", (96, 64), ramp.astype(">u2").tobytes()))
    for name in ("a.ppm", "a.tif"):
        image = load_image(Photo(name, tmp_path / name), same_size())
        assert np.abs(image[..., 0] - ramp / 257).max() <= 0.51, name


@pytest.mark.parametrize(("white", "factor"), [(1.0, 255.0), (1000.0, 0.255)])
def test_float_greys_are_scaled_to_one_or_to_the_brightest(tmp_path, white, factor):
    ramp = np.linspace(0, white, 96, dtype=np.float32)[None].repeat(64, axis=0)
    ramp[0, 0] = np.nan
    image = load_image(save(tmp_path / "a.tif", ramp), same_size())
    assert np.abs(image[1:, :, 0] - ramp[1:] * factor).max() <= 0.51
    assert image[0, 0, 0] == 0


def test_transparent_pixels_are_laid_on_white(tmp_path):
    rgba = np.dstack([picture(), np.full((64, 96), 255, np.uint8)])
    rgba[:32, :, 3] = 0
    rgba[32:, :48, 3] = 128
    for name in ("a.png", "a.tif"):
        image = load_image(save(tmp_path / name, rgba), same_size()).astype(int)
        assert (image[:32] == 255).all()
        expected = (picture()[32:, :48] * 128.0 + 255 * 127) / 255
        assert np.abs(image[32:, :48] - expected).max() <= 1
        assert np.abs(image[32:, 48:] - picture()[32:, 48:]).max() <= 1


def test_colour_of_transparent_pixels_does_not_bleed_when_resized(tmp_path):
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[::2] = (255, 255, 255, 255)  # white lines between black ones that cannot be seen
    assert (load(save(tmp_path / "a.png", rgba), max_side_px=32) >= 254).all()


def test_grey_with_alpha_and_marked_colours(tmp_path):
    alpha = Image.new("L", (40, 40), 0)
    alpha.paste(255, (0, 0, 40, 20))
    halves = Image.new("L", (40, 40), 60)
    halves.paste(90, (0, 0, 40, 20))
    grey = Image.merge("LA", [halves, alpha])
    rgb = Image.merge("RGB", [halves] * 3)
    palette = rgb.quantize(4)
    marked = [
        save(tmp_path / "la.png", grey),
        save(tmp_path / "l.png", halves, transparency=60),
        save(tmp_path / "rgb.png", rgb, transparency=(60, 60, 60)),
        save(tmp_path / "p.png", palette, transparency=palette.getpixel((0, 39))),
    ]
    for photo in marked:
        image = load(photo, max_side_px=40)
        assert (image[:20] == 90).all(), photo.id
        assert (image[20:] == 255).all(), photo.id


def test_cmyk_is_not_inverted(tmp_path):
    for name in ("a.jpg", "a.tif"):  # Pillow writes JPEGs of four colours inverted, as Adobe does
        image = load_image(save(tmp_path / name, Image.fromarray(picture()).convert("CMYK")), same_size())
        assert psnr(image, picture()) > 25, name


def test_colour_profiles_change_nothing(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = load_image(save(tmp_path / "a.png", picture(), icc_profile=profile), same_size())
    assert np.array_equal(image, picture())


@pytest.mark.parametrize(
    ("name", "options"), [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {}), ("a.tif", {})]
)
def test_animations_give_their_first_frame(tmp_path, name, options):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    photo = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **options)
    assert (load(photo) == (255, 0, 0)).all()


def test_phone_photos_of_several_pictures_give_the_first(tmp_path):
    first, second = Image.fromarray(photo_like(1600, 1200)), Image.new("RGB", (400, 300))
    photo = save(tmp_path / "a.jpg", first, format="MPO", save_all=True, append_images=[second], quality=95)
    expected = first.resize((384, 288), Image.Resampling.BICUBIC)
    assert psnr(load(photo), np.asarray(expected)) > 35


# --- upright ------------------------------------------------------------------------------------------------

SENSOR = {  # EXIF orientation -> how the sensor saw an upright picture (EXIF 2.32, 4.6.4.A: row 0, column 0)
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


def save_turned(path, upright, orientation, **options):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return save(path, np.ascontiguousarray(SENSOR[orientation](upright)), exif=exif, **options)


@pytest.mark.parametrize("orientation", SENSOR)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_photos_are_upright(tmp_path, name, orientation):
    photo = save_turned(
        tmp_path / name, picture(), orientation, **{"lossless": True} if "webp" in name else {}
    )
    loaded = load_sized_image(photo, same_size())
    assert np.array_equal(loaded.pixels, picture())
    assert loaded.size_px == read_size(photo) == (96, 64)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("ending", ["avif", "heic"])
def test_heic_and_avif_are_turned_once(tmp_path, ending, orientation):
    path = tmp_path / f"a.{ending}"
    if ending == "heic":
        pillow_heif = pytest.importorskip("pillow_heif")
        sensor = Image.fromarray(np.ascontiguousarray(SENSOR[orientation](picture())))
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        pillow_heif.from_pillow(sensor).save(path, quality=95, exif=exif.tobytes())
    else:
        save_turned(path, picture(), orientation, quality=95)
    assert read_size(Photo("p", path)) == (96, 64)
    assert psnr(load_image(Photo("a", path), same_size()), picture()) > 28


@pytest.mark.parametrize("orientation", SENSOR)
def test_a_reduced_jpeg_is_upright_and_its_box_the_same_part(tmp_path, orientation):
    upright = photo_like(1203, 901)  # not multiples of 8: the last reduced pixels lie partly outside
    photo = save_turned(tmp_path / "a.jpg", upright, orientation, quality=98, subsampling=0)
    box = Box(100.4, 50.2, 1100.7, 850.9)
    options = ImageOptions(max_side_px=120)
    loaded = load_sized_image(Photo("a", photo.path, box), options)
    assert loaded.size_px == (1203, 901)
    assert loaded.crop_px == (100, 50, 1101, 851)
    part = Image.fromarray(upright).crop(loaded.crop_px).resize((120, 96), Image.Resampling.BICUBIC)
    assert psnr(loaded.pixels, np.asarray(part)) > 36


@pytest.mark.parametrize(
    "exif",
    [b"", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(40)],
)
def test_broken_exif_is_ignored(tmp_path, exif):
    for name in ("a.jpg", "a.png", "a.webp"):
        assert load(save(tmp_path / name, picture(), exif=exif)).shape == (256, 384, 3)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    photo = save(tmp_path / "a.png", picture(), exif=exif)
    assert np.array_equal(load_image(photo, same_size()), picture())


# --- reduced decoding ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_jpeg(tmp_path_factory):
    """A photo of 12 megapixels, and the same decoded in full."""
    path = tmp_path_factory.mktemp("large") / "large.jpg"
    Image.fromarray(photo_like(4000, 3000)).save(path, quality=90)
    with Image.open(path) as image:
        return path, image.convert("RGB")


def test_reduced_decoding_is_not_seen_at_the_working_size(large_jpeg):
    path, full = large_jpeg
    reduced = load(Photo("a", path))
    reference = np.asarray(full.resize((384, 288), Image.Resampling.BICUBIC))
    assert not np.array_equal(reduced, reference)  # it was reduced
    assert psnr(reduced, reference) > 45
    assert np.percentile(np.abs(reduced.astype(int) - reference), 99.9) <= 5


@pytest.mark.parametrize(
    "box", [Box(0.3, 10.8, 1600.2, 1210.1), Box(1001, 801, 3999.7, 2999.9), Box(3500, 2500, 4100, 3100)]
)
def test_reduced_decoding_of_a_box_is_not_seen(large_jpeg, box):
    path, full = large_jpeg
    loaded = load_sized_image(Photo("a", path, box), ImageOptions())
    height, width = loaded.pixels.shape[:2]
    reference = full.crop(loaded.crop_px).resize((width, height), Image.Resampling.BICUBIC)
    assert psnr(loaded.pixels, np.asarray(reference)) > 42


# --- boxes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "crop"),
    [
        (Box(10, 20, 30, 50), (10, 20, 30, 50)),
        (Box(10.4, 19.6, 30.4, 49.6), (10, 20, 30, 50)),
        (Box(10.5, 11.5, 30.5, 31.5), (10, 12, 30, 32)),  # to even, as PIL's crop
        (Box(-5, -7.5, 30, 1000), (0, 0, 30, 64)),
        (Box(10.1, 10.1, 10.3, 10.3), (10, 10, 11, 11)),
        (Box(95.9, 63.9, 99, 99), (95, 63, 96, 64)),
    ],
)
def test_a_box_is_rounded_to_whole_pixels_and_cut_at_the_border(tmp_path, box, crop):
    photo = save(tmp_path / "a.png", picture())
    options = ImageOptions(max_side_px=max(crop[2] - crop[0], crop[3] - crop[1]), min_side_px=1)
    loaded = load_sized_image(Photo("a", photo.path, box), options)
    x0, y0, x1, y1 = crop
    assert loaded.crop_px == crop
    assert np.array_equal(loaded.pixels, picture()[y0:y1, x0:x1])


edges_inside = st.lists(st.integers(0, 640).map(lambda n: n / 10), min_size=2, max_size=2, unique=True)


@given(edges_inside, edges_inside)
def test_a_box_inside_the_photo_shows_what_pils_crop_shows(tmp_path_factory, columns, rows):
    (x0, x1), (y0, y1) = sorted(columns), sorted(rows)
    reference = Image.fromarray(picture()).crop((x0, y0, x1, y1))
    if 0 in reference.size:
        return
    photo = save(tmp_path_factory.mktemp("crop") / "a.ppm", picture())
    options = ImageOptions(max_side_px=max(reference.size), min_side_px=1)
    assert np.array_equal(load_image(Photo("a", photo.path, Box(x0, y0, x1, y1)), options), reference)


@pytest.mark.parametrize("box", [Box(96, 0, 120, 20), Box(0, 64, 5, 65), Box(-9, 0, 0, 5), Box(0, -9, 5, -1)])
def test_a_box_outside_the_photo_is_an_error(tmp_path, box):
    photo = save(tmp_path / "a.png", picture())
    with pytest.raises(ImageError, match=r"outside the photo of 96 × 64 px"):
        load(Photo("a", photo.path, box))


@pytest.mark.parametrize(
    "edges", [(5, 0, 5, 9), (0, 9, 5, 1), (0, 0, float("nan"), 1), (0, 0, float("inf"), 1)]
)
def test_empty_and_endless_boxes_are_refused(edges):
    with pytest.raises(ConfigError, match="box"):
        Box(*edges)


# --- what cannot be read ------------------------------------------------------------------------------------


def reason_of(path):
    with pytest.raises(ImageError) as caught:
        load(Photo("a", path))
    assert "\n" not in str(caught.value)
    assert str(caught.value) == f"{printable(str(path))}: {caught.value.reason}"
    return caught.value.reason


def test_files_that_are_not_there_or_not_files(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone")
    (tmp_path / "endless.jpg").symlink_to(tmp_path / "endless.jpg")
    assert reason_of(tmp_path / "missing.jpg") == "no such file"
    assert reason_of(tmp_path / "empty.jpg") == "the file is empty (0 bytes)"
    assert reason_of(tmp_path / "folder.jpg") == "a folder, not a file"
    assert reason_of(tmp_path / "broken.jpg") == "a link to a file that does not exist"
    assert "symbolic link" in reason_of(tmp_path / "endless.jpg")
    assert "null" in reason_of(tmp_path / "nul\0.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_or_device_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "zero.jpg"):
        assert reason_of(tmp_path / name) == "not a regular file (a pipe, socket or device)"
        with pytest.raises(ImageError):
            content_sha256(tmp_path / name)


@pytest.fixture
def nobodys_folder():
    """A folder that everybody may enter, and for the test no rights of root, who may read everything."""
    if not hasattr(os, "geteuid"):
        pytest.skip("needs users")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        yield folder
        os.seteuid(user)


def test_a_file_without_permission(nobodys_folder):
    photo = save(nobodys_folder / "a.jpg", picture())
    photo.path.chmod(0)
    assert reason_of(photo.path) == "permission denied"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {}),
        ("progressive.jpg", {"progressive": True}),
        ("a.png", {}),
        ("a.gif", {}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("deflate.tif", {"compression": "tiff_adobe_deflate"}),
        ("a.webp", {}),
        ("a.avif", {}),
        ("a.jp2", {}),
        ("a.ppm", {}),
    ],
)
@pytest.mark.parametrize("part", [0.01, 0.5, 0.9])
def test_a_truncated_file_is_an_error_not_half_a_photo(tmp_path, name, options, part):
    photo = save(tmp_path / name, photo_like(800, 600), **options)
    data = photo.path.read_bytes()
    photo.path.write_bytes(data[: int(len(data) * part)])
    assert reason_of(photo.path)


def test_a_large_truncated_jpeg_is_an_error_when_reduced_too(large_jpeg, tmp_path):
    data = large_jpeg[0].read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) * 9 // 10])
    assert "truncated" in reason_of(tmp_path / "a.jpg")


def test_truncated_files_are_refused_even_where_a_program_allows_them(tmp_path, monkeypatch):
    photo = save(tmp_path / "a.jpg", photo_like(800, 600))
    photo.path.write_bytes(photo.path.read_bytes()[:20000])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert "truncated" in reason_of(photo.path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_text_is_not_a_photo(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>404</html>")
    assert "not a photo in a known format" in reason_of(tmp_path / "a.jpg")


def png_chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png_file(width, height, *chunks):
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])  # 1 bit, grey
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + b"".join(chunks) + png_chunk(b"IEND", b"")


def bomb_of_zeros(megabytes):
    deflate = zlib.compressobj(9)
    return b"".join(deflate.compress(bytes(1_000_000)) for _ in range(megabytes)) + deflate.flush()


def test_a_bomb_in_the_pixels_is_refused_before_memory_is_taken(tmp_path):
    (tmp_path / "a.png").write_bytes(png_file(60000, 60000, png_chunk(b"IDAT", bomb_of_zeros(450))))
    gif = (
        b"GIF89a"
        + (65000).to_bytes(2, "little") * 2
        + bytes([0x80, 0, 0])
        + bytes(6)
        + b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
    )
    (tmp_path / "a.gif").write_bytes(gif)
    (tmp_path / "a.ppm").write_bytes(b"P6 100000 100000 255\n" + bytes(1000))
    code = (
        "import resource, sys; from pathlib import Path; from meisho.images import *\n"
        "import PIL.Image; PIL.Image.init()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for name in sys.argv[1:]:\n"
        "    try: load_image(Photo('a', Path(name)), ImageOptions())\n"
        "    except ImageError as error: print(error.reason)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    names = [tmp_path / name for name in ("a.png", "a.gif", "a.ppm")]
    lines = subprocess.check_output([sys.executable, "-c", code, *names], text=True).splitlines()
    assert lines[:3] == ["more than 300 megapixels: refused as a decompression bomb"] * 3
    assert int(lines[3]) < 20_000  # kB; the pixels would take 3,600,000


def test_a_photo_just_under_the_limit_is_no_bomb_and_warns_of_nothing(tmp_path):
    side = int(MAX_PIXELS**0.5)
    assert side * side > 1.5 * Image.MAX_IMAGE_PIXELS  # Pillow alone warns
    row = b"\0" + b"\xff" * ((side + 7) // 8)
    (tmp_path / "a.png").write_bytes(png_file(side, side, png_chunk(b"IDAT", zlib.compress(row * side, 1))))
    assert read_size(Photo("p", tmp_path / "a.png")) == (side, side)


@pytest.mark.parametrize(
    "chunk",
    [png_chunk(b"zTXt", b"a\0\0" + bomb_of_zeros(80)), png_chunk(b"iCCP", b"a\0\0" + bomb_of_zeros(80))],
)
def test_metadata_does_not_decide_not_even_a_bomb(tmp_path, chunk):
    pixels = png_chunk(b"IDAT", zlib.compress((b"\0" + bytes(5)) * 40))
    (tmp_path / "a.png").write_bytes(png_file(40, 40, chunk, pixels))
    assert not load(Photo("a", tmp_path / "a.png")).any()


def test_long_harmless_text_is_no_bomb(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "a" * 100_000, zip=True)
    assert np.array_equal(
        load_image(save(tmp_path / "a.png", picture(), pnginfo=text), same_size()), picture()
    )


def test_pillows_settings_are_put_back_whatever_threads_do(tmp_path):
    good = save(tmp_path / "a.png", picture())
    bad = tmp_path / "b.jpg"
    bad.write_bytes(b"\xff\xd8\xff\xe0nothing")
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    failures = []

    def read_often():
        for _ in range(50):
            load(good)
            try:
                load(Photo("b", bad))
                failures.append("no error")
            except ImageError:
                pass

    threads = [threading.Thread(target=read_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


def test_import_takes_no_torch():
    code = "import sys, meisho.images, meisho.decoding; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


# --- finding, hashing, showing ------------------------------------------------------------------------------


def test_find_photos_walks_sorts_and_leaves_out(tmp_path):
    for name in (
        "b.JPG",
        "a/z.png",
        "a/b/c.webp",
        "a.jpeg",
        ".hidden.jpg",
        ".git/x.jpg",
        "notes.txt",
        "dir.jpg/in.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find_photos(tmp_path)
    photos, problems = found.photos, found.problems
    assert [photo.id for photo in photos] == ["a.jpeg", "a/b/c.webp", "a/z.png", "b.JPG", "dir.jpg/in.png"]
    assert [photo.path for photo in photos] == [tmp_path / photo.id for photo in photos]
    assert problems == ()


def test_find_photos_follows_links_but_no_loops(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").write_bytes(b"x")
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "photos")
    found = find_photos(tmp_path / "photos")
    photos, problems = found.photos, found.problems
    assert [photo.id for photo in photos] == ["linked/a.jpg"]
    assert problems == ()


def test_find_photos_names_what_is_no_file(tmp_path):
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "good.jpg").write_bytes(b"x")
    found = find_photos(tmp_path)
    photos, problems = found.photos, found.problems
    assert [photo.id for photo in photos] == ["good.jpg"]
    assert [problem.path.name for problem in problems] == ["broken.jpg", "empty.jpg"]


def test_find_photos_names_folders_without_permission(nobodys_folder):
    (nobodys_folder / "closed").mkdir(mode=0)
    (nobodys_folder / "a.jpg").write_bytes(b"x")
    found = find_photos(nobodys_folder)
    photos, problems = found.photos, found.problems
    assert [photo.id for photo in photos] == ["a.jpg"]
    assert [str(p) for p in problems] == [
        f"{nobodys_folder}/closed: the folder cannot be read: permission denied"
    ]


def test_find_photos_needs_a_folder(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    for path in (tmp_path / "gone", tmp_path / "a.jpg"):
        with pytest.raises(InputError, match="no such folder"):
            find_photos(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow only text as names")
def test_names_that_are_not_text_stay_apart_and_can_be_opened(tmp_path):
    names = [b"caf\xe9.png", b"caf\\xE9.png", b"caf\xc3\xa9.png", b"line\nend.png", b"caf\xe8.png"]
    for number, name in enumerate(names):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(tmp_path / os.fsdecode(name))
    found = find_photos(tmp_path)
    photos, problems = found.photos, found.problems
    assert not problems
    assert sorted(photo.id for photo in photos) == sorted(
        ["caf\\xE9.png", "caf\\x5CxE9.png", "café.png", "line\\x0Aend.png", "caf\\xE8.png"]
    )
    for photo in photos:
        photo.id.encode("utf-8")
        assert load(photo)[0, 0, 0] == names.index(os.fsencode(photo.path.name))


@given(st.binary(min_size=1, max_size=8), st.binary(min_size=1, max_size=8))
def test_printable_ids_never_collide(a, b):
    first, second = (PurePosixPath(os.fsdecode(name)) for name in (a, b))
    printable_id(first).encode("utf-8")
    assert (printable_id(first) == printable_id(second)) == (first == second)


def test_an_error_about_a_name_that_is_not_text_can_be_printed(tmp_path):
    error = ImageError(Path(os.fsdecode(b"caf\xe9.jpg")), "no such file")
    assert str(error) == "caf\\xE9.jpg: no such file"
    str(error).encode("utf-8")


def test_content_sha256(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert (
        content_sha256(tmp_path / "a.jpg")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    with pytest.raises(ImageError, match="no such file"):
        content_sha256(tmp_path / "gone.jpg")


def open_jpeg(data):
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return np.asarray(image)


def test_a_thumbnail_is_upright_and_never_enlarged(tmp_path):
    photo = save_turned(tmp_path / "a.png", picture(), 6)
    assert psnr(open_jpeg(make_thumbnail(photo, 256, quality=95)), picture()) > 25
    assert open_jpeg(make_thumbnail(photo, 48)).shape == (32, 48, 3)


def test_a_thumbnail_shows_the_box(tmp_path):
    photo = save(tmp_path / "a.png", np.full((300, 400, 3), 128, np.uint8))
    plain = open_jpeg(make_thumbnail(photo, 200)).astype(int)
    boxed = open_jpeg(make_thumbnail(Photo("a", photo.path, Box(100, 100, 300, 200)), 200)).astype(int)
    assert boxed.shape == plain.shape == (150, 200, 3)
    changed = np.abs(boxed - plain).max(axis=2) > 30
    rows, columns = np.nonzero(changed)
    assert abs(rows.min() - 50) <= 1
    assert abs(rows.max() - 99) <= 1
    assert abs(columns.min() - 50) <= 1
    assert abs(columns.max() - 149) <= 1
    assert not changed[60:90, 60:140].any()


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_nothing_outside_a_box_is_blended_in(tmp_path, ending):
    """The box holds one colour, what lies beside it another; JPEG blocks of 8 px are kept apart."""
    picture = Image.new("RGB", (160, 96), (250, 20, 20))
    picture.paste((20, 20, 250), (48, 32, 112, 80))
    path = tmp_path / f"two.{ending}"
    picture.save(path, quality=98, subsampling=0) if ending == "jpg" else picture.save(path)
    for side in (32, 40, 64, 200):
        image = load_image(Photo("a", path, Box(48, 32, 112, 80)), ImageOptions(max_side_px=side))
        assert np.abs(image.astype(int) - [20, 20, 250]).max() <= 12
