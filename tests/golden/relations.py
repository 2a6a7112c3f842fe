# SPDX-License-Identifier: Apache-2.0
"""Losses over the relations between samples, for make_features.py; and the random numbers that they
need, written once more from what runtime/base/philox.h, base.h and shuffle.h say of them."""

import math

import torch
import torch.nn.functional as F

WORD = 0xFFFFFFFF
CLASSES = 10


def philox(seed, stream, step, index):
    c, key = [index, step, 0, 0], [seed, stream]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ key[0], b & WORD, (a >> 32) ^ c[3] ^ key[1], a & WORD]
        key = [(key[0] + 0x9E3779B9) & WORD, (key[1] + 0xBB67AE85) & WORD]
    return c


def stream(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return (h ^ (h >> 32)) & WORD


def mix(v):
    v = ((v ^ (v >> 16)) * 0x85EBCA6B) & WORD
    v = ((v ^ (v >> 13)) * 0xC2B2AE35) & WORD
    return v ^ (v >> 16)


def shuffle(key, n, i):
    bits = max(2, (n - 1).bit_length())
    right_bits = bits // 2
    right_mask, left_mask = (1 << right_bits) - 1, (1 << (bits - right_bits)) - 1
    while True:
        left, right = i >> right_bits, i & right_mask
        for r in range(0, 8, 2):
            left ^= mix((right + key[r % 4] + r * 0x9E3779B9) & WORD) & left_mask
            right ^= mix((left + key[r % 4 + 1] + r * 0xBB67AE85) & WORD) & right_mask
        i = left << right_bits | right
        if i < n:
            return i


def uniform(bits):
    return (bits >> 8) * 2.0**-24


def labels_of(count):
    """Those that the tests give a batch."""
    return [philox(3, 3, 0, n)[0] % CLASSES for n in range(count)]


class Relation:
    @staticmethod
    def adapters(student, teacher, **_):
        return []


class RkdDistance(Relation):
    """RKD: distances, divided by the mean of those above 0."""

    @staticmethod
    def value(student, teacher, adapters):
        total = 0
        for pair in zip(student, teacher):
            scaled = []
            for x in pair:
                x = x.flatten(1)
                d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
                scaled.append(d / d[d > 0].mean())
            total = total + F.smooth_l1_loss(*scaled)
        return total


class RkdAngle(Relation):
    """RKD: cosines at i between the directions to j and k."""

    @staticmethod
    def value(student, teacher, adapters):
        total = 0
        for pair in zip(student, teacher):
            e = [F.normalize(x.flatten(1)[None] - x.flatten(1)[:, None], dim=2) for x in pair]
            total = total + F.smooth_l1_loss(*[x @ x.transpose(1, 2) for x in e])
        return total


class Triplet(Relation):
    """All triplets of a batch, the mean over those above 0."""

    @staticmethod
    def value(student, teacher, adapters, margin=torch.tensor(0.2).double().item(), normalize=True):
        total = 0
        for x in student:
            x = F.normalize(x.flatten(1)) if normalize else x.flatten(1)
            y = labels_of(len(x))
            terms = []
            for i in range(len(x)):
                for j in range(len(x)):
                    for k in range(len(x)):
                        if i != j and y[i] == y[j] and y[i] != y[k]:
                            terms.append((x[i] - x[j]).norm() - (x[i] - x[k]).norm() + margin)
            above = [t for t in terms if t > 0]
            total = total + torch.stack(above).mean()
        return total


class Contrast:
    """CRD, with a constant of 40.5 as the tests have it, out of a split of four times the batch."""

    @staticmethod
    def adapters(student, teacher, dim=0, **_):
        shapes = []
        for s, t in zip(student, teacher):
            for of in (s, t):
                shapes += [(dim, math.prod(of[1:])), (dim,)]
        return shapes

    @staticmethod
    def bank(name, rows, dim):
        size = torch.tensor(3.0 / dim).sqrt()
        u = [uniform(philox(0, stream(name), 0, i // 4)[i % 4]) for i in range(rows * dim)]
        return (size * (2 * torch.tensor(u, dtype=torch.float32) - 1)).double().reshape(rows, dim)

    @staticmethod
    def choices(count, k):
        samples, batch = 4 * count, labels_of(count)
        y = [i % CLASSES for i in range(samples)]
        for n in range(count):
            y[4 * n + 1] = batch[n]
        rows = []
        for n in range(count):
            others = sorted((i for i in range(samples) if y[i] != batch[n]), key=lambda i: (y[i], i))
            key = philox(0, stream("crd.negatives"), 0, n)
            row = [4 * n + 1]
            for j in range(k):
                turned = [(word + j // len(others)) & WORD for word in key]
                row.append(others[shuffle(turned, len(others), j % len(others))])
            rows.append(row)
        return torch.tensor(rows)

    @staticmethod
    def value(student, teacher, adapters, k, dim, temperature, z="once"):
        total, rest, count = 0, list(adapters), student[0].shape[0]
        choices, samples = Contrast.choices(count, k), 4 * count
        noise = k / samples
        for pair, (s, t) in enumerate(zip(student, teacher)):
            v = []
            for x in (s, t):
                weight, bias = rest.pop(0), rest.pop(0)
                v.append(F.normalize(F.linear(x.flatten(1), weight, bias)))
            banks = [Contrast.bank("%d.%s.bank" % (pair, whose), samples, dim) for whose in ("teacher", "student")]
            for anchor, bank in zip(v, banks):
                p = torch.exp(torch.einsum("nd,njd->nj", anchor, bank[choices]) / temperature) / 40.5
                positive = torch.log(p[:, 0] / (p[:, 0] + noise + 1e-7)).sum()
                negative = torch.log(noise / (p[:, 1:] + noise + 1e-7)).sum()
                total = total - (positive + negative) / count
        return total
