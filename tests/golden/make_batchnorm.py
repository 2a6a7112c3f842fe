#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes batchnorm.h beside this file: results, gradients and running statistics of batch normalisation
as PyTorch computes them, in double precision from values rounded to single. Needs PyTorch; the tests
need only the header, and make the same values with the same formula. Run: python3 make_batchnorm.py"""

import math
import os

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
HERE = os.path.dirname(os.path.abspath(__file__))
SHAPE = (2, 3, 2, 5)  # images, height, width, channels


def single(x):
    """The number that a float holds."""
    return torch.tensor(x, dtype=torch.float32).double()


def wave(shape, seed, size, shift=0.0):
    """shift + size * sin(0.7 i + 0.31 i^2 mod 5 + seed), rounded to single precision."""
    count = math.prod(shape)
    return single([shift + size * math.sin(0.7 * i + (i * i % 5) * 0.31 + seed) for i in range(count)]).view(shape)


ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6, "gelu": F.gelu}
CASES = [
    # name, training, activation, with a residual
    ("training", True, "none", False),
    ("training_relu", True, "relu", True),
    ("training_gelu", True, "gelu", False),
    ("running_relu6", False, "relu6", True),
]


def run(training, activation, with_residual):
    channels = SHAPE[-1:]
    x = wave(SHAPE, 1, 3.0, 0.5).requires_grad_()
    gamma = wave(channels, 2, 0.5, 2.0).requires_grad_()
    beta = wave(channels, 3, 1.0, 1.0).requires_grad_()
    residual = wave(SHAPE, 4, 4.0).requires_grad_()
    mean, var = wave(channels, 5, 1.0), wave(channels, 6, 0.5, 1.5)
    for _ in range(2 if training else 1):  # the statistics follow twice
        z = F.batch_norm(
            x.permute(0, 3, 1, 2), mean, var, gamma, beta, training, single(0.25).item(), single(1e-3).item()
        )
        z = z.permute(0, 2, 3, 1)
        y = ACTIVATIONS[activation](z + residual if with_residual else z)
    (y * wave(SHAPE, 7, 1.0)).sum().backward()
    out = {"y": y, "dx": x.grad, "dgamma": gamma.grad, "dbeta": beta.grad, "mean": mean, "var": var}
    if with_residual:
        out["dresidual"] = residual.grad
    return out


def main():
    with open(os.path.join(HERE, "batchnorm.h"), "w", encoding="ascii") as file:
        file.write("// SPDX-License-Identifier: Apache-2.0\n")
        version = torch.__version__.split("+")[0]
        file.write("/* Written by make_batchnorm.py with PyTorch %s, in double precision. */\n" % version)
        file.write("// clang-format off\n")
        for name, *how in CASES:
            for what, tensor in run(*how).items():
                values = ["%.17g" % v for v in tensor.detach().reshape(-1).tolist()]
                lines = ["    " + ", ".join(values[i : i + 5]) + ",\n" for i in range(0, len(values), 5)]
                file.write("static const double golden_%s_%s[] = {\n%s};\n" % (name, what, "".join(lines)))
        file.write("// clang-format on\n")


if __name__ == "__main__":
    main()
