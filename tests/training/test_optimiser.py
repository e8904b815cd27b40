import pytest
import timm
import torch
from torch import nn

from meisho.layers.pooling import GeM
from meisho.training.optimiser import make_optimiser, parameter_groups, set_rates, split_by_decay
from meisho.training.recipe_tables import OptimiserRecipe


def make_parts():
    backbone = timm.create_model("test_resnet", num_classes=0)
    head = nn.ModuleList([GeM(3.0, learned=True), nn.Linear(8, 4), nn.BatchNorm1d(4)])
    return backbone, head


def test_every_parameter_is_in_one_group_and_only_matrices_and_kernels_are_decayed():
    backbone, head = make_parts()
    groups = parameter_groups(backbone, head, OptimiserRecipe(backbone_rate=1e-4, weight_decay=0.05))
    assert [g["name"] for g in groups] == ["backbone", "backbone_plain", "head", "head_plain"]
    assert [g["weight_decay"] for g in groups] == [0.05, 0, 0.05, 0]
    assert [g["lr"] for g in groups] == [1e-4, 1e-4, 1e-3, 1e-3]
    grouped = [id(p) for g in groups for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in (*backbone.parameters(), *head.parameters()))
    assert [tuple(p.shape) for p in groups[2]["params"]] == [(4, 8)]
    assert len(groups[3]["params"]) == 4  # GeM's power, the bias, the norm's gain and offset
    assert {p.ndim for p in groups[1]["params"]} == {1}
    assert {p.ndim for p in groups[0]["params"]} == {4}


def test_a_two_dimensional_norm_is_not_decayed():
    class Norm(nn.LayerNorm):
        pass

    groups = parameter_groups(Norm((3, 4)), nn.Linear(2, 2), OptimiserRecipe())
    assert [g["name"] for g in groups] == ["backbone_plain", "head", "head_plain"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("vit_tiny_patch16_224", {"cls_token", "pos_embed"}),
        ("levit_128s", {"stages.0.blocks.0.attn.attention_biases"}),
        ("xcit_nano_12_p8_224", {"cls_token", "pos_embed.token_projection.weight"}),
    ],
)
def test_class_tokens_and_what_belongs_to_positions_are_not_decayed(name, shown):
    with torch.device("meta"):
        backbone = timm.create_model(name, num_classes=0)
    names = {id(p): key for key, p in backbone.named_parameters()}
    decayed, plain = ({names[id(p)] for p in parameters} for parameters in split_by_decay(backbone))
    assert shown <= plain
    assert any(".qkv." in key for key in decayed)


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_rates_are_a_multiple_of_each_groups_peak(name, kind):
    recipe = OptimiserRecipe(name=name, backbone_rate=1e-4, head_rate=1e-2)
    optimiser = make_optimiser(parameter_groups(*make_parts(), recipe), recipe)
    assert type(optimiser) is kind
    set_rates(optimiser, 0.5)
    assert [g["lr"] for g in optimiser.param_groups] == [5e-5, 5e-5, 5e-3, 5e-3]
    set_rates(optimiser, 1.0)
    assert [g["lr"] for g in optimiser.param_groups] == [1e-4, 1e-4, 1e-2, 1e-2]
