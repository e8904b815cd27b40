"""Checkpoints of each published layout, as their authors' code saves them, drawn by the rule of `drawn.py`.

A new layout is one line in `CHECKPOINTS`.
"""

import sys
import types

import numpy as np
import torch
from drawn import draw_state, draw_tensor

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def save_state(table, path):
    torch.save(draw_state(table), path)


def save_model_state(table, path):
    torch.save({"epoch": 3, "model_state": draw_state(table), "cfg": "MODEL:\n  DEPTH: 50\n"}, path)


def save_cirtorch(architecture, pooling, path, *, table=None, dim=None, **facts):
    """Write what cirtorch's training script does, with "Lw" of `dim` dimensions where it is given."""
    meta = {"architecture": architecture, "pooling": pooling, "regional": False, **IMAGENET, **facts}
    meta = {"local_whitening": False, "whitening": False, **meta}
    if dim is not None:
        meta["Lw"] = {
            "retrieval-SfM-30k": {kind: draw_lw("other", dim) for kind in ("ss", "ms")},
            "retrieval-SfM-120k": {kind: draw_lw(kind, dim) for kind in ("ss", "ms")},
        }
    state = draw_state(table or f"cirtorch-{architecture}")
    torch.save({"epoch": np.int64(3), "meta": meta, "state_dict": state, "min_loss": np.float64(0.5)}, path)


def draw_lw(kind, dim):
    shapes = {"m": (dim, 1), "P": (dim, dim)}
    return {name: draw_tensor(f"Lw.{kind}.{name}", shape).double().numpy() for name, shape in shapes.items()}


def save_dirtorch(table, path, *, dim=None, **model):
    """Write what dirtorch's training script does; with a PCA of scikit-learn where `dim` is given."""
    state = {f"module.{key}": value for key, value in draw_state(table).items()}
    content = {"epoch": 3, "model_options": model, "state_dict": state, "preprocess": IMAGENET}
    if dim is None:
        torch.save(content, path)
        return
    module = types.ModuleType("sklearn.decomposition.pca")  # where it was when these files were written
    module.PCA = type("PCA", (), {"__module__": module.__name__})
    pca = module.PCA()
    pca.mean_ = draw_tensor("pca.mean_", (dim,)).numpy()
    pca.components_ = draw_tensor("pca.components_", (dim // 2, dim)).numpy()
    pca.explained_variance_ = draw_tensor("pca.running_var", (dim // 2,)).numpy()
    pca.whiten = True
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        torch.save({**content, "pca": {"Other": pca, "Landmarks_clean": pca}}, path)
    finally:
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before


ONE_SCALE = {"scales": (1.0,)}
THREE_SCALES = (1, 2**-0.5, 0.5)
CHECKPOINTS = {
    # what golden.json calls it: (how it is written, options, what its provenance calls it)
    "cirtorch resnet18": (
        lambda path: save_cirtorch("resnet18", "gem", path),
        {},
        "cirtorch",
    ),
    "cirtorch resnet18, 3 scales": (
        lambda path: save_cirtorch("resnet18", "gem", path),
        {"scales": THREE_SCALES},
        "cirtorch",
    ),
    "cirtorch resnet18, Lw": (
        lambda path: save_cirtorch("resnet18", "gem", path, dim=512),
        {},
        "cirtorch:retrieval-SfM-120k",
    ),
    "cirtorch resnet18, Lw, 3 scales": (
        lambda path: save_cirtorch("resnet18", "gem", path, dim=512),
        {"scales": THREE_SCALES},
        "cirtorch:retrieval-SfM-120k",
    ),
    "cirtorch resnet50, whiten": (
        lambda path: save_cirtorch("resnet50", "gem", path, table="cirtorch-resnet50-whiten", whitening=True),
        {"scales": THREE_SCALES[:2]},
        "cirtorch",
    ),
    "cirtorch resnet18, gemmp, lwhiten": (
        lambda path: save_cirtorch(
            "resnet18", "gemmp", path, table="cirtorch-resnet18-gemmp", local_whitening=True
        ),
        {},
        "cirtorch",
    ),
    "cirtorch vgg11, mac": (lambda path: save_cirtorch("vgg11", "mac", path), {}, "cirtorch"),
    "cirtorch densenet121, spoc": (lambda path: save_cirtorch("densenet121", "spoc", path), {}, "cirtorch"),
    "cosplace resnet18": (lambda path: save_state("cosplace-resnet18", path), {}, "cosplace"),
    "cosplace resnet50": (lambda path: save_state("cosplace-resnet50", path), {}, "cosplace"),
    "cosplace vgg16": (lambda path: save_state("cosplace-vgg16", path), {}, "cosplace"),
    "eigenplaces resnet18": (lambda path: save_state("cosplace-resnet18", path), {}, "cosplace"),
    "dirtorch resnet18": (
        lambda path: save_dirtorch("dirtorch-resnet18", path, arch="resnet18_rmac", out_dim=64),
        {},
        "dirtorch",
    ),
    "dirtorch resnet18, pca": (
        lambda path: save_dirtorch("dirtorch-resnet18", path, arch="resnet18_rmac", out_dim=64, dim=64),
        {},
        "dirtorch:Landmarks_clean",
    ),
    "dirtorch resnet50, norm_features": (
        lambda path: save_dirtorch("dirtorch-resnet50", path, arch="resnet50_rmac", norm_features=True),
        {},
        "dirtorch",
    ),
    "dirtorch resnet18, avg, without fc": (
        lambda path: save_dirtorch(
            "dirtorch-resnet18-avg", path, arch="resnet18_rmac", pooling="avg", without_fc=True
        ),
        {},
        "dirtorch",
    ),
    "sscd resnet18, torchvision": (lambda path: save_state("sscd-resnet18", path), {}, "sscd"),
    "sscd resnet18, classy": (lambda path: save_state("sscd-resnet18-classy", path), {}, "sscd"),
    "sscd resnet50, classy": (lambda path: save_state("sscd-resnet50-classy", path), {}, "sscd"),
    "dolg resnet50": (lambda path: save_model_state("dolg-resnet50", path), ONE_SCALE, "dolg"),
    "dolg resnet50, aspp": (lambda path: save_model_state("dolg-resnet50-aspp", path), ONE_SCALE, "dolg"),
    "delg-pytorch resnet50": (
        lambda path: save_model_state("delg-resnet50", path),
        ONE_SCALE,
        "delg-pytorch",
    ),
    "cvnet resnet50": (lambda path: save_model_state("cvnet-resnet50", path), ONE_SCALE, "cvnet"),
    "superglobal resnet50": (lambda path: save_model_state("cvnet-resnet50", path), ONE_SCALE, "superglobal"),
    "salad vits": (lambda path: torch.save({"state_dict": draw_state("salad-vits")}, path), {}, "salad"),
    "megaloc vits": (lambda path: save_state("megaloc-vits", path), {}, "megaloc"),
    "dinov2 vits, registers": (lambda path: save_state("dinov2-vits-reg", path), {}, "dinov2"),
    "dinov2 vits": (lambda path: save_state("dinov2-vits", path), {}, "dinov2"),
}
SIZES = {name: (140, 168) for name in CHECKPOINTS if " vits" in name}
"""Height and width of the images where they are not those of `draw_images`."""
