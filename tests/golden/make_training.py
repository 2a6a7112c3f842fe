#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes training.h beside this file: the losses of ten training steps of a small network, as PyTorch
computes them in double precision from start values rounded to single. Needs PyTorch; the tests need
only the header, and make the same start values with the same formula. Run: python3 make_training.py"""

import math
import os

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
HERE = os.path.dirname(os.path.abspath(__file__))
STEPS, BATCH, WIDTHS = 10, 8, (12, 16, 5)
TAU = 4.0


def wave(count, seed, size):
    """size * sin(0.7 i + 0.31 i^2 mod 5 + seed), rounded to single precision."""
    values = [size * math.sin(0.7 * i + (i * i % 5) * 0.31 + seed) for i in range(count)]
    return torch.tensor(values, dtype=torch.float32).double()


def single(x):
    """The number that a float holds."""
    return torch.tensor(x, dtype=torch.float32).double().item()


def parameters():
    out = []
    for layer, (inner, outer) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        out.append(wave(outer * inner, 10 + layer, 0.4).view(outer, inner).requires_grad_())
        out.append(wave(outer, 20 + layer, 1.0).requires_grad_())
    return out


def run(make_optimiser):
    params = parameters()
    w0, b0, w1, b1 = params
    optimiser = make_optimiser([w0, w1], [b0, b1])
    losses = []
    for step in range(STEPS):
        x = wave(BATCH * WIDTHS[0], 30 + step, 1.5).view(BATCH, WIDTHS[0])
        teacher = wave(BATCH * WIDTHS[2], 50 + step, 5.0).view(BATCH, WIDTHS[2])
        labels = torch.tensor([(3 * i + step) % WIDTHS[2] for i in range(BATCH)])
        student = F.relu(x @ w0.T + b0) @ w1.T + b1
        soft = TAU * TAU * F.kl_div(
            F.log_softmax(student / TAU, 1), F.softmax(teacher / TAU, 1), reduction="batchmean"
        )
        loss = 0.25 * F.cross_entropy(student, labels) + 0.75 * soft
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return losses


def sgd(weights, biases):
    groups = [{"params": weights, "weight_decay": single(1e-3)}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=single(0.05), momentum=single(0.9), nesterov=True)


def adamw(weights, biases):
    groups = [{"params": weights, "weight_decay": single(0.01)}, {"params": biases, "weight_decay": 0.0}]
    betas = (single(0.9), single(0.999))
    return torch.optim.AdamW(groups, lr=single(0.01), betas=betas, eps=single(1e-8))


def main():
    with open(os.path.join(HERE, "training.h"), "w", encoding="ascii") as file:
        file.write("// SPDX-License-Identifier: Apache-2.0\n")
        version = torch.__version__.split("+")[0]
        file.write("/* Written by make_training.py with PyTorch %s, in double precision. */\n" % version)
        file.write("// clang-format off\n")
        for name, make in (("sgd", sgd), ("adamw", adamw)):
            values = ",\n    ".join(repr(v) for v in run(make))
            file.write("static const double golden_%s_losses[] = {\n    %s,\n};\n" % (name, values))
        file.write("// clang-format on\n")


if __name__ == "__main__":
    main()
