"""The module of one level: its images, targets and start."""

from typing import cast

import torch

from nst_exp.config.loss_layers import content_layers, style_layers
from nst_exp.config.pyramid import Level
from nst_exp.config.schema import Config
from nst_exp.core.init_image import starting_image
from nst_exp.core.objective import build_objective
from nst_exp.core.optimizers import carries_state, carry_adam_state
from nst_exp.core.targets import whole_image
from nst_exp.images.tensors import enlarge
from nst_exp.runner.inputs import Inputs
from nst_exp.runner.module import StyleTransfer
from nst_exp.runner.network import Network


def build_module(
    level: Level,
    config: Config,
    inputs: Inputs,
    network: Network,
    before: StyleTransfer | None,
    device: torch.device,
) -> StyleTransfer:
    """Build the module of a level, which starts from the image of the level ``before``.

    Raises:
        ConfigError: If an image is too small for the network.
    """
    dtype = torch.float64 if config.trainer.precision == "64-true" else torch.float32
    encoder, loss = network.encoder.to(device, dtype), network.loss
    content, style, start = inputs.tensors(level.size)
    objective = build_objective(
        loss,
        config.alpha,
        config.beta,
        network.maps(content.to(device, dtype), content_layers(loss), "content"),
        whole_image(network.maps(style.to(device, dtype), style_layers(loss), "style")),
        seed=config.seed,
    )
    if before is None:
        image = starting_image(config.init, content, start, config.seed)
    else:
        image = enlarge(before.result_image().float().cpu(), *content.shape[2:])
    module = StyleTransfer(image, encoder, objective, config.optimizer, config.resolution.averaging)
    if dtype is torch.float64:  # Lightning would do it after it has restored a checkpoint
        module.double()
    module.level = level.index
    if before is not None:
        module.evaluations, module.restarts = before.evaluations, before.restarts
        if carries_state(config.optimizer):
            adam = cast(torch.optim.Optimizer, before.optimizers(use_pl_optimizer=False))
            state = adam.state[before.parameter.values]
            module.carried_state = carry_adam_state(state, *content.shape[2:])
            module.loss_scale = before.loss_scale  # the unit of the gradients in that state
    return module
