#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes features.h beside this file: values and gradients of every loss on features as PyTorch
computes them, in double precision. Maps are channels last here and in the header, and turned for
PyTorch's own functions. Needs PyTorch; the tests need only the header. Run: python3
make_features.py"""

import math
import os

import torch
import torch.nn.functional as F

from relations import Contrast, RkdAngle, RkdDistance, Triplet

torch.set_default_dtype(torch.float64)
HERE = os.path.dirname(os.path.abspath(__file__))


def f32(x):
    """The number that a float field holds."""
    return torch.tensor(x, dtype=torch.float32).double().item() if isinstance(x, float) else x


def wave(shape, seed, size):
    """Numbers exact in f32."""
    count = math.prod(shape)
    values = [size * math.sin(1.3 * seed + 0.7 * i + 0.11 * (i * i % 97)) for i in range(count)]
    return torch.tensor(values, dtype=torch.float32).double().reshape(shape)


def nchw(x):
    return x.permute(0, 3, 1, 2)


class Hint:
    """FitNets: a regressor for each pair, and half the squared distance."""

    @staticmethod
    def adapters(student, teacher, regressor="auto", **_):
        shapes = []
        for s, t in zip(student, teacher):
            if regressor == "none":
                continue
            if regressor == "strided":
                kernel = (t[-1], 3, 3, s[-1]) if s[1] == 2 * t[1] else (s[-1], 4, 4, t[-1])
                shapes += [kernel, (t[-1],), (t[-1],)]
                continue
            shapes.append((t[-1],))
            if len(s) == 2:
                shapes.append((t[1], s[1]))
                continue
            kernel = [abs(s[i] - t[i]) + 1 for i in (1, 2)]
            shapes.append((t[3], *kernel, s[3]) if s[1] >= t[1] and s[2] >= t[2] else (s[3], *kernel, t[3]))
        return shapes

    @staticmethod
    def value(student, teacher, adapters, regressor="auto", relu=True, reduction="half_sum"):
        total, rest = 0, list(adapters)
        for s, t in zip(student, teacher):
            out = s
            if regressor == "strided":
                weight, gamma, beta = nchw(rest.pop(0)), rest.pop(0), rest.pop(0)
                apply = F.conv2d if s.shape[1] == 2 * t.shape[1] else F.conv_transpose2d
                out = apply(nchw(s), weight, stride=2, padding=1)
                out = F.relu(F.batch_norm(out, None, None, gamma, beta, training=True)).permute(0, 2, 3, 1)
            elif regressor != "none":
                bias, weight = rest.pop(0), rest.pop(0)
                if s.dim() == 2:
                    out = F.linear(s, weight, bias)
                elif s.shape[1] >= t.shape[1] and s.shape[2] >= t.shape[2]:
                    out = F.conv2d(nchw(s), nchw(weight), bias).permute(0, 2, 3, 1)
                else:
                    out = F.conv_transpose2d(nchw(s), nchw(weight), bias).permute(0, 2, 3, 1)
                if relu:
                    out = F.relu(out)
            if reduction == "mean":
                total = total + F.mse_loss(out, t)
            else:
                total = total + 0.5 * (out - t).square().flatten(1).sum(1).mean()
        return total


def no_adapters(student, teacher, **_):
    return []


class Attention:
    """Attention transfer; `code` is what the authors' program does with mean over channels."""

    adapters = staticmethod(no_adapters)

    @staticmethod
    def value(student, teacher, adapters, mode="code"):
        total = 0
        for s, t in zip(student, teacher):
            s, t = nchw(s), nchw(t)
            size = [min(s.shape[i], t.shape[i]) for i in (2, 3)]
            u, w = (
                F.normalize(F.adaptive_avg_pool2d(x, size).square().mean(1).flatten(1)) for x in (s, t)
            )
            if mode == "code":
                total = total + (u - w).square().mean()
            else:
                total = total + ((u - w).square().sum(1) + f32(1e-12)).sqrt().mean()
        return total


class Similarity:
    """Similarity-preserving: rows of the Gram matrix, normalised."""

    adapters = staticmethod(no_adapters)

    @staticmethod
    def value(student, teacher, adapters):
        total = 0
        for s, t in zip(student, teacher):
            gram = [F.normalize(x.flatten(1) @ x.flatten(1).T) for x in (s, t)]
            total = total + (gram[0] - gram[1]).square().sum() / s.shape[0] ** 2
        return total


class Neighbours:
    """Probabilistic knowledge transfer."""

    adapters = staticmethod(no_adapters)

    @staticmethod
    def value(student, teacher, adapters):
        total, eps = 0, f32(1e-7)
        for pair in zip(student, teacher):
            shares = []
            for x in pair:
                x = x.flatten(1)
                x = x / (x.square().sum(1, keepdim=True).sqrt() + eps)
                c = (x @ x.T + 1) / 2
                shares.append(c / c.sum(1, keepdim=True))
            q, p = shares
            total = total + (p * torch.log((p + eps) / (q + eps))).mean()
        return total


class Variational:
    """Variational information: 1x1 convolutions for the mean, a softplus for the variance."""

    @staticmethod
    def adapters(student, teacher, **_):
        shapes = []
        for s, t in zip(student, teacher):
            shapes += [(t[-1],), (t[-1], s[-1]), (t[-1], t[-1]), (t[-1], t[-1])]
        return shapes

    @staticmethod
    def value(student, teacher, adapters, variance=5.0):
        total, rest = 0, list(adapters)
        for s, t in zip(student, teacher):
            log_scale, *weights = rest[:4]
            rest = rest[4:]
            if s.dim() == 2:
                s, t = s[:, None, None], t[:, None, None]
            size = [min(s.shape[i], t.shape[i]) for i in (1, 2)]
            mean = F.adaptive_avg_pool2d(nchw(s), size)
            t = F.adaptive_avg_pool2d(nchw(t), size)
            for k, w in enumerate(weights):
                mean = F.conv2d(mean, w[:, :, None, None])
                mean = F.relu(mean) if k < 2 else mean
            var = (F.softplus(log_scale) + f32(1e-5))[None, :, None, None]
            total = total + 0.5 * ((mean - t).square() / var + var.log()).mean()
        return total


def features(*pairs):
    return [p[0] for p in pairs], [p[1] for p in pairs]


ROWS = features(((3, 5), (3, 8)))
SHRINK = features(((2, 5, 6, 3), (2, 3, 6, 4)), ((2, 4, 4, 2), (2, 4, 4, 5)))
GROW = features(((2, 2, 3, 4), (2, 4, 3, 2)))
TWICE = features(((2, 4, 6, 3), (2, 2, 3, 4)), ((2, 2, 3, 4), (2, 4, 6, 2)))
MAPS = features(((3, 4, 3, 2), (3, 4, 3, 5)), ((3, 5, 2, 3), (3, 3, 4, 4)))
BATCH = features(((5, 3), (5, 6)), ((5, 2, 2, 2), (5, 3, 1, 2)))
RELATED = features(((5, 3), (5, 4)))
RELATED_MAPS = features(((4, 2, 2, 2), (4, 1, 3, 2)), ((4, 2), (4, 3)))
CLASSED = features(((16, 3), (16, 1)))
EQUAL = features(((1, 4), (1, 4)), ((1, 2, 2, 3), (1, 2, 2, 3)))

CALLS = [
    ("hint", Hint, ROWS, {}),
    ("hint", Hint, ROWS, {"relu": False, "reduction": "mean"}),
    ("hint", Hint, SHRINK, {}),
    ("hint", Hint, GROW, {"reduction": "mean"}),
    ("hint", Hint, EQUAL, {"regressor": "none"}),
    ("hint", Hint, TWICE, {"regressor": "strided"}),
    ("at", Attention, MAPS, {}),
    ("at", Attention, MAPS, {"mode": "paper"}),
    ("similarity", Similarity, BATCH, {}),
    ("pkt", Neighbours, BATCH, {}),
    ("vid", Variational, MAPS, {}),
    ("vid", Variational, ROWS, {"variance": 0.5}),
    ("rkd_distance", RkdDistance, RELATED, {}),
    ("rkd_distance", RkdDistance, RELATED_MAPS, {}),
    ("rkd_angle", RkdAngle, RELATED, {}),
    ("rkd_angle", RkdAngle, RELATED_MAPS, {}),
    ("triplet", Triplet, CLASSED, {}),
    ("triplet", Triplet, CLASSED, {"margin": 0.5, "normalize": False}),
    ("crd", Contrast, RELATED, {"k": 7, "dim": 4, "temperature": 0.5}),
    ("crd", Contrast, RELATED_MAPS, {"k": 20, "dim": 8, "temperature": 0.25, "z": "ema"}),
]


def numbers(values):
    lines, line = [], "   "
    for v in values:
        text = " %r," % float(v)
        if len(line) + len(text) > 98:
            lines.append(line)
            line = "   "
        line += text
    return "\n".join(lines + [line])


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors]).tolist()


def shape_text(shape):
    return "{%d, {%s}}" % (len(shape), ", ".join(map(str, shape)))


def text_of(value):
    return str(value).lower() if isinstance(value, bool) else "%s" % value


def main():
    out = [
        "// SPDX-License-Identifier: Apache-2.0",
        "/* Written by make_features.py with PyTorch %s, in double precision. */" % torch.__version__.split("+")[0],
        "// clang-format off",
    ]
    rows = []
    for number, (loss, kind, (student, teacher), config) in enumerate(CALLS):
        s = [wave(shape, number + i, 1.5) for i, shape in enumerate(student)]
        t = [wave(shape, number + 20 + i, 2.0) for i, shape in enumerate(teacher)]
        a = [wave(shape, number + 40 + i, 0.8) for i, shape in enumerate(kind.adapters(student, teacher, **config))]
        leaves = [x.requires_grad_() for x in s + a]
        value = kind.value(s, t, a, **{k: f32(v) for k, v in config.items()})
        gradients = torch.autograd.grad(value, leaves)
        for what, values in (("x", flat(leaves)), ("t", flat(t)), ("g", flat(gradients))):
            out.append("static const double golden_feature_%d_%s[] = {\n%s\n};" % (number, what, numbers(values)))
        settings = ", ".join('{"%s", "%s"}' % (k, text_of(v)) for k, v in config.items())
        rows.append(
            '    {"%s", {{%s}, %d, {%s}, {%s}},\n     golden_feature_%d_x, golden_feature_%d_g, %d, '
            "golden_feature_%d_t, %d, %r},"
            % (loss, settings or "{0}", len(student), ", ".join(map(shape_text, student)),
               ", ".join(map(shape_text, teacher)), number, number, len(flat(leaves)), number, len(flat(t)),
               value.item())
        )
    out.append("static const struct {")
    out.append("    const char *loss;")
    out.append("    vkd__loss_case shapes;")
    out.append("    const double *x, *gradient; /* students, then adapters in order of creation */")
    out.append("    size_t count;")
    out.append("    const double *teacher;")
    out.append("    size_t teacher_count;")
    out.append("    double value;")
    out.append("} golden_features[] = {")
    out += rows + ["};", "// clang-format on", ""]
    with open(os.path.join(HERE, "features.h"), "w", encoding="ascii") as file:
        file.write("\n".join(out))


if __name__ == "__main__":
    main()
