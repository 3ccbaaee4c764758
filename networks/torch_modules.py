"""Networks as torch modules, for those who want to look at, export or differentiate an agent."""

import numpy as np
import torch
from torch import nn

from networks.pixels import SIDE


def module_of(policy) -> nn.Sequential:
    """An `MLP_heb` or `CNN_heb` with the weights that it has now, which the module copies.

    It maps (N, n_inputs), or images (N, channels, 84, 84) as `input_of` gives them, to the
    (N, n_actions) float32 of `policy.output`. ValueError for a network whose output depends on
    more than its observation (--recurrent, --inputs), or that has a modulator.
    """
    if policy._loops or policy.recalled.size or policy.modulator is not None:
        raise ValueError("a module maps an observation to an output, and this network knows more")
    parts: list[nn.Module] = []
    for kernel, stride in zip(policy._kernels_as_in_files(), (1, 2), strict=False):
        maps, channels, side, _ = kernel.shape
        conv = nn.Conv2d(channels, maps, side, stride, bias=False)
        parts += [_with(conv, kernel), nn.Tanh(), nn.MaxPool2d(2)]
    if parts:
        parts.append(nn.Flatten())
    for weights in policy.layers():
        n_post, n_pre = weights.shape
        parts += [_with(nn.Linear(n_pre, n_post, bias=False), weights), nn.Tanh()]
    return nn.Sequential(*parts[:-1])  # the output is linear


def input_of(policy, observation: np.ndarray) -> torch.Tensor:
    """What a module takes for an observation, a vector or an (H, W, channels) image: (1, n_inputs),
    or (1, channels, 84, 84) from 0 to 1, with the axes of the reference's images."""
    if not policy.kernels:
        return torch.tensor(observation, dtype=torch.float32).reshape(1, -1)
    policy._resize(observation)
    planes = policy._buffers[0]  # (channels, 2, 2, ...): rows and columns by parity
    image = np.empty((len(planes), SIDE, SIDE), np.float32)
    for y, x in np.ndindex(2, 2):
        image[:, x::2, y::2] = planes[:, y, x].swapaxes(1, 2)
    return torch.from_numpy(image)[None]


def _with(layer: nn.Module, weights: np.ndarray) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.ascontiguousarray(weights)))
    return layer
