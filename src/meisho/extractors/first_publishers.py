"""Weights of a timm backbone under the names of its first publisher, such as ConvNeXt's or OpenCLIP's."""

import logging
import sys

from torch import Tensor, nn

from meisho.extractors.weights import StateDict

_logger = logging.getLogger(__name__)


def name_as_timm(backbone: nn.Module, state: StateDict) -> StateDict:
    """Give weights timm's names, by the filter that timm has for the first publishers of a model.

    Args:
        backbone: The timm model that they are for.
        state: Name -> tensor.

    Returns:
        The weights under timm's names; `state` itself where it has these already, or where the filter does
        not make them fit.
    """
    expected = {key for key in backbone.state_dict() if not key.endswith("num_batches_tracked")}
    convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", None)
    if convert is None or expected <= state.keys() or any(key.startswith("backbone.") for key in state):
        return state
    try:
        found = convert(dict(state), backbone)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        _logger.info("timm's filter does not take these weights: %s", error)
        return state
    if not isinstance(found, dict) or not expected <= found.keys():
        return state
    if len(found) < len(state):
        _logger.info("%d tensors are none of the backbone's and are not loaded", len(state) - len(found))
    return {key: value for key, value in found.items() if isinstance(value, Tensor)}
