"""What the network sees of a photo under `--as NAME` is what it sees in the authors' own scripts.

`golden_photos.json` holds, of a drawn photo and of its crop, each scale's height, width, mean colour and the
colours at `PLACES`, as the authors' code gave them, outside this repository, with Pillow 12 or OpenCV 5:

- cirtorch: `ImagesFromList` and the `interpolate` of `extract_ms`, at 1e66a41.
- dirtorch: `ImageListROIs.get_image` and `Dataset.get_image`, at 610247f.
- delg: `preprocess` of tools/extractor.py, at 3557169, on a photo cut as DOLG's are.
- dolg: `preprocess` of evaler/process.py after the crop of evaler/infer.py, at 63b117d.
- cvnet: `DataSet` of test/dataset.py, at 5f5bf24.
- superglobal: `DataSet` of test/dataset.py and the `resize` of model/resnet.py, at 8694696, which smoothed
  nothing when it was written: torchvision's default changed in version 0.17.

"descriptor" is that of the crop, by the authors' network with the drawn weights of `checkpoints.py`.
"""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import CHECKPOINTS
from drawn import summarise
from PIL import Image

from meisho.describing import Describer
from meisho.evaluate.papers import PAPERS, cut_boxes
from meisho.extractors.backbone import create_backbone
from meisho.extractors.base import load_extractor
from meisho.extractors.published.base import recognise
from meisho.extractors.published.files import read_published
from meisho.extractors.published.network import PublishedNetwork
from meisho.extractors.published.options import PublishedOptions
from meisho.images import ImageOptions, load_image
from meisho.photos import Box, Photo

GOLDEN = json.loads((Path(__file__).parent / "golden_photos.json").read_text())
PHOTOS = {
    "small": (160, 210, Box(40.5, 21.7, 173.6, 140.2)),
    "large": (1101, 1500, Box(300.5, 200.2, 1201.5, 905.9)),
}
"""Height, width, and the box of the query."""
PLACES = ((0, 0), (1, 1), (0.5, 0.5), (0.21, 0.83), (0.77, 0.13), (0.4, 0.95))
"""Down and across, as shares of the image."""
TWINS = {
    # authors' code: (paper, a checkpoint of that layout, how far a grey level may be off)
    "cirtorch": ("cirtorch-ms", "cirtorch resnet18, Lw", 0.01),
    "dirtorch": ("ap-gem", "dirtorch resnet18, pca", 0.001),
    "delg": ("delg-r50", "delg-pytorch resnet50", 0.03),
    "dolg": ("dolg-r50", "dolg resnet50", 0.03),
    "cvnet": ("cvnet-r50", "cvnet resnet50", 1.001),
    "superglobal": ("superglobal-r50", "superglobal resnet50", 0.01),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The drawn photos, and those with a box: "query small", "db small", and so on."""
    folder, found = tmp_path_factory.mktemp("photos"), {}
    for name, (height, width, box) in PHOTOS.items():
        rng = np.random.default_rng(11)
        coarse = rng.integers(0, 200, (-(-height // 16), -(-width // 16), 3))
        patches = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
        path = folder / f"{name}.png"
        Image.fromarray((patches + rng.integers(0, 56, patches.shape)).astype(np.uint8)).save(path)
        found[f"db {name}"] = Photo(name, path)
        found[f"query {name}"] = Photo(name, path, box)
    return found


def published_of(checkpoint, path):
    """Return what the converter makes of a drawn checkpoint."""
    write, _, model = CHECKPOINTS[checkpoint]
    write(path)
    return recognise(read_published(path), model.partition(":")[0])[2]


def image_options(paper, published):
    options = {"interpolation": published.options["interpolation"], **paper.options}
    names = {field.name for field in fields(ImageOptions)}
    return ImageOptions(**{name: value for name, value in options.items() if name in names})


@pytest.mark.parametrize("code", TWINS)
def test_the_network_sees_what_it_sees_in_the_authors_script(code, photos, tmp_path):
    name, checkpoint, tolerance = TWINS[code]
    paper, published = PAPERS[name], published_of(checkpoint, tmp_path / "model.pth")
    bare = replace(published, pooling=None, local=None, head=None)
    options = PublishedOptions(rescaling=paper.options.get("rescaling", "bilinear"))
    network = PublishedNetwork(create_backbone("test_resnet", seed=0), bare, options, None)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (network.traits.mean, network.traits.std))
    for which, golden in GOLDEN[code].items():
        if which == "descriptor":
            continue
        photo = cut_boxes([photos[which]])[0] if paper.whole_boxes else photos[which]
        pixels = torch.from_numpy(load_image(photo, image_options(paper, published)))
        normalised = (pixels.permute(2, 0, 1)[None] / 255 - mean) / std
        assert len(golden) == len(paper.options["scales"])
        for scale, (height, width, colour, colours) in zip(paper.options["scales"], golden, strict=True):
            seen = ((network.resize(normalised, scale) * std + mean) * 255)[0].permute(1, 2, 0).numpy()
            assert seen.shape == (height, width, 3), (which, scale)
            mean_colour = seen.mean(axis=(0, 1), dtype=np.float64)
            np.testing.assert_allclose(mean_colour, colour, rtol=0, atol=1e-3, err_msg=f"{which} {scale}")
            places = [(int(y * (height - 1)), int(x * (width - 1))) for y, x in PLACES]
            found = [seen[place] for place in places]
            np.testing.assert_allclose(found, colours, rtol=0, atol=tolerance, err_msg=f"{which} {scale}")


@pytest.mark.parametrize("code", ["dolg", "cvnet", "superglobal"])
def test_the_descriptor_of_a_crop_at_several_scales_is_the_authors(code, photos, tmp_path):
    name, checkpoint, _ = TWINS[code]
    CHECKPOINTS[checkpoint][0](tmp_path / "model.pth")
    paper = PAPERS[name]
    extractor = load_extractor(
        f"published:{paper.layout}", weights=str(tmp_path / "model.pth"), device="cpu", **paper.options
    )
    assert extractor.backbone == paper.backbone
    described = Describer(extractor, num_workers=0).describe(cut_boxes([photos["query small"]]))
    found = summarise(described.vectors)[0]
    np.testing.assert_allclose(found, GOLDEN[code]["descriptor"], rtol=0, atol=1e-5)
