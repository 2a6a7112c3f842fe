#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes images.h beside this file: pooling and padding of small images and their gradients, as PyTorch
computes them in double precision. Needs PyTorch; the tests need only the header, and make the same
images with the same formula. Run: python3 make_images.py"""

import os

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
HERE = os.path.dirname(os.path.abspath(__file__))


def numbers(shape, a, b, most):
    """(a i + b) mod most / 8 for element i: exact, with many equal ones."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * a + b) % most).double().div(8).reshape(shape)


def pool(kind, kernel, stride, padding, **more):
    return lambda x: kind(x, kernel, stride=stride, padding=padding, **more)


def include(kernel, stride, padding):
    return pool(F.avg_pool2d, kernel, stride, padding, count_include_pad=True)


def exclude(kernel, stride, padding):
    return pool(F.avg_pool2d, kernel, stride, padding, count_include_pad=False)


# name, (N, H, W, C), what to do with (N, C, H, W)
CASES = [
    ("max", (2, 7, 6, 3), pool(F.max_pool2d, (3, 2), (2, 1), (1, 1))),
    ("include", (2, 7, 6, 3), include((3, 2), (2, 1), (1, 1))),
    ("exclude", (2, 7, 6, 3), exclude((3, 2), (2, 1), (1, 1))),
    ("bins", (2, 7, 5, 2), lambda x: F.adaptive_avg_pool2d(x, (3, 4))),
    ("more_bins", (1, 3, 4, 2), lambda x: F.adaptive_avg_pool2d(x, (5, 6))),
    ("zeros", (1, 3, 4, 2), lambda x: F.pad(x, (1, 0, 2, 1))),
    ("reflected", (2, 3, 4, 2), lambda x: F.pad(x, (3, 2, 1, 2), mode="reflect")),
]


def golden(shape, forward):
    x = numbers(shape, 37, 11, 5).requires_grad_()
    y = forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    dy = numbers(y.shape, 13, 5, 23)
    y.backward(dy)
    return y.detach(), x.grad


def write(file, name, tensor):
    file.write(f"static const double golden_{name}[] = {{\n")
    values = [f"{v!r}," for v in tensor.reshape(-1).tolist()]
    for i in range(0, len(values), 6):
        file.write("    " + " ".join(values[i : i + 6]) + "\n")
    file.write("};\n")


def main():
    with open(os.path.join(HERE, "images.h"), "w", encoding="utf-8") as file:
        file.write("// SPDX-License-Identifier: Apache-2.0\n")
        file.write(f"/* Written by make_images.py with PyTorch {torch.__version__}, in double precision. */\n")
        file.write("// clang-format off\n")
        for name, shape, forward in CASES:
            y, dx = golden(shape, forward)
            write(file, name, y)
            write(file, f"{name}_gradient", dx)


if __name__ == "__main__":
    main()
