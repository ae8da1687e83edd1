"""A torch module as a `Run`: arrays in, arrays out, on whatever device it is."""

import numpy as np
import torch
from torch import nn

from flawsmith.core.spec import Run


def torch_run(module: nn.Module, bf16: bool = False) -> Run:
    """A module of `ModelSpec`'s contract, eager; fp32 unless `bf16` autocast is asked for."""
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    module.eval()

    @torch.inference_mode()
    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            scores = module(torch.from_numpy(pixels).to(device))
        return scores.float().cpu().numpy()

    return run
