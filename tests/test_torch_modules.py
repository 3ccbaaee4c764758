"""Networks as torch modules do what ours do, and can be differentiated."""

import numpy as np
import pytest
import torch
from conftest import ROOT

from networks.torch_modules import input_of
from policies import CNN_heb, MLP_heb


def rng(seed):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("hidden", [(128, 64), (5,), ()])
def test_an_mlp_as_a_module_has_its_output(hidden):
    policy = MLP_heb(28, 8, hidden)
    policy.start("xa_uni_big", rng(1))
    observation = rng(2).standard_normal(28)
    policy.forward(observation)
    module = policy.as_torch()
    output = module(input_of(policy, observation)).detach().numpy()
    np.testing.assert_allclose(output, policy.output[None], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(96, 96, 3), (210, 160, 1), (64, 64, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_cnn_as_a_module_has_its_output(shape, dtype):
    policy, image = CNN_heb(shape[2], 3), rng(3).integers(0, 256, shape).astype(np.uint8)
    if dtype == np.float32:
        image = image.astype(np.float32) / np.float32(255)
    policy.start("xa_uni_big", rng(1), 0.3 * rng(2).standard_normal(policy.n_conv))
    policy.forward(image)
    output = policy.as_torch()(input_of(policy, image)).detach().numpy()
    np.testing.assert_allclose(output, policy.output[None], rtol=0, atol=1e-5)


def test_a_module_keeps_its_weights_and_its_gradients_are_those_of_the_network():
    policy = MLP_heb(4, 2, (6,))
    policy.start("xa_uni_big", rng(1))
    module, observation = policy.as_torch(), rng(2).standard_normal(4)
    first, second = (layer.astype(float).copy() for layer in policy.layers())
    policy.weights[:] = 0  # the rule goes on, the module stays
    x = input_of(policy, observation).requires_grad_()
    module(x)[0, 0].backward()
    hidden = np.tanh(first @ observation)
    right = (second[0] * (1 - hidden**2)) @ first
    np.testing.assert_allclose(x.grad[0].numpy(), right, rtol=1e-4)
    assert sum(parameter.numel() for parameter in module.parameters()) == policy.n_plastic


@pytest.mark.parametrize("more", [{"recurrent": True}, {"n_recalled": 2}, {"modulated": True}])
def test_a_network_that_knows_more_than_its_observation_is_refused(more):
    with pytest.raises(ValueError, match="this network knows more"):
        MLP_heb(4, 2, (6,), **more).as_torch()


def test_the_readme_s_example_differentiates_a_trained_agent(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    readme = (ROOT / "README.md").read_text()
    exec(readme.split("```python\n# an agent as a torch module\n")[1].split("```")[0], names)
    gradient = names["image"].grad
    assert gradient.shape == (1, 3, 84, 84) and torch.isfinite(gradient).all() and gradient.any()
