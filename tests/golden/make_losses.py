#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes losses.h beside this file: values and gradients of every loss as PyTorch computes them, in
double precision. Needs PyTorch; the tests need only the header. Run: python3 make_losses.py"""

import math
import os

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
HERE = os.path.dirname(os.path.abspath(__file__))


def wave(n, v, seed, size):
    return [[size * math.sin(1.7 * seed + 2.3 * i + 0.9 * j * j) for j in range(v)] for i in range(n)]


PROBLEMS = [
    # name, student, teacher, labels
    ("two", [[1, 2, 3, 0.5], [0.2, -1, 0.7, 1.5]], [[3, 2.5, -1, 0], [0, 0.5, 2, -2]], [2, 0]),
    ("wave", wave(5, 7, 1, 3.0), wave(5, 7, 2, 4.0), [0, 6, 3, 1, 1]),
    ("binary", wave(3, 2, 3, 2.0), wave(3, 2, 4, 5.0), [1, 0, 1]),
]


def kl(log_p, log_q):
    """KL(p || q), summed over classes, mean over rows; kl_div's first argument is log q."""
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def unit(tau, t_squared):
    return tau * tau if t_squared else 1.0


def ce(s, t, y, smoothing=0.0):
    return F.cross_entropy(s, y, label_smoothing=smoothing)


def kd_kl(s, t, y, tau, t_squared=True):
    return unit(tau, t_squared) * kl(F.log_softmax(t / tau, 1), F.log_softmax(s / tau, 1))


def kd_reverse_kl(s, t, y, tau, t_squared=True):
    return unit(tau, t_squared) * kl(F.log_softmax(s / tau, 1), F.log_softmax(t / tau, 1))


def kd_jsd(s, t, y, tau, beta, form, t_squared=True):
    log_p, log_q = F.log_softmax(t / tau, 1), F.log_softmax(s / tau, 1)
    if beta == 0:
        value = kl(log_p, log_q)
    elif beta == 1:
        value = kl(log_q, log_p)
    else:
        log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log(1 - beta))
        value = beta * kl(log_p, log_m) + (1 - beta) * kl(log_q, log_m)
        if form == "continuous":
            value = value / (beta * (1 - beta))
    return unit(tau, t_squared) * value


def kd_mse(s, t, y):
    return F.mse_loss(s, t)


def kd_topk(s, t, y, tau, k, t_squared=True):
    k = min(k, s.shape[1])
    top = torch.topk(t, k, 1).indices

    def buckets(x):
        p = F.softmax(x / tau, 1)
        inside = p.gather(1, top)
        rest = (p * (1 - torch.zeros_like(p).scatter(1, top, 1.0))).sum(1, keepdim=True)
        return torch.cat([inside, rest] if k < s.shape[1] else [inside], 1).log()

    return unit(tau, t_squared) * kl(buckets(t), buckets(s))


def dkd(s, t, y, tau, alpha, beta):
    target = F.one_hot(y, s.shape[1]).bool()
    p, q = F.softmax(t / tau, 1), F.softmax(s / tau, 1)

    def binary(x):
        a = x[target]
        return torch.stack([a, 1 - a], 1).log()

    rest_t = t[~target].view(t.shape[0], -1) / tau
    rest_s = s[~target].view(s.shape[0], -1) / tau
    tckd = kl(binary(p), binary(q))
    nckd = kl(F.log_softmax(rest_t, 1), F.log_softmax(rest_s, 1))
    return tau * tau * (alpha * tckd + beta * nckd)


def dist(s, t, y, tau, beta, gamma):
    q, p = F.softmax(s / tau, 1), F.softmax(t / tau, 1)

    def pearson(a, b):
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
        return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + f32(1e-8))

    inter, intra = 1 - pearson(q, p).mean(), 1 - pearson(q.T, p.T).mean()
    return tau * tau * (beta * inter + gamma * intra)


def cwtm(s, t, y, tau):
    sure = F.softmax(t / tau, 1).max(1).values
    return (sure / sure.sum() * F.cross_entropy(s, y, reduction="none")).sum()


def philox(seed, stream, step, index):
    """Philox4x32-10 (Salmon et al., SC 2011)."""
    low = 0xFFFFFFFF
    c, k = [index, step, 0, 0], [seed, stream]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k[0], b & low, a >> 32 ^ c[3] ^ k[1], a & low]
        k = [k[0] + 0x9E3779B9 & low, k[1] + 0xBB67AE85 & low]
    return c


def stream_of(name):
    """FNV-1a, folded to 32 bits."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return (value ^ value >> 32) & 0xFFFFFFFF


def shuffled(key, n, i):
    """Where the permutation of 0..n-1 that a key chooses takes i: Feistel's rounds, until inside."""
    low = 0xFFFFFFFF

    def mix(v):
        v = (v ^ v >> 16) * 0x85EBCA6B & low
        v = (v ^ v >> 13) * 0xC2B2AE35 & low
        return v ^ v >> 16

    bits = max(2, (n - 1).bit_length())
    right_bits = bits // 2
    right_mask, left_mask = (1 << right_bits) - 1, (1 << bits - right_bits) - 1
    while True:
        left, right = i >> right_bits, i & right_mask
        for r in range(0, 8, 2):
            left ^= mix(right + key[r % 4] + r * 0x9E3779B9 & low) & left_mask
            right ^= mix(left + key[(r + 1) % 4] + r * 0xBB67AE85 & low) & right_mask
        i = left << right_bits | right
        if i < n:
            return i


def dkpp(s, t, y, tau, t_squared=True):
    rows = []
    for n, row in enumerate(t):
        key = philox(0, stream_of("dkpp"), 0, n)
        m = int(row.argmax())
        rest = [v for v in range(len(row)) if v != m]
        order = [rest[shuffled(key, len(rest), k)] for k in range(len(rest))]
        order.insert(m, m)
        rows.append(row[order])
    return kd_kl(s, torch.stack(rows), y, tau, t_squared)


def f32(x):
    """The number that a float field holds."""
    return torch.tensor(x, dtype=torch.float32).double().item()


CALLS = [(ce, {}), (ce, {"smoothing": 0.1}), (kd_mse, {})]
CALLS += [(f, {"tau": tau}) for f in (kd_kl, kd_reverse_kl) for tau in (1.0, 4.0, 20.0)]
CALLS += [(f, {"tau": 2.5, "t_squared": False}) for f in (kd_kl, kd_reverse_kl)]
CALLS += [
    (kd_jsd, {"tau": tau, "beta": beta, "form": form})
    for tau, form in ((1.0, "literature"), (3.0, "continuous"))
    for beta in (0.0, 0.1, 0.5, 0.9, 1.0)
]
CALLS += [(kd_topk, {"tau": 4.0, "k": k}) for k in (1, 3, 7)]
CALLS += [(kd_topk, {"tau": 1.0, "k": 2, "t_squared": False})]
CALLS += [(dkd, {"tau": 4.0, "alpha": 1.0, "beta": 8.0}), (dkd, {"tau": 1.5, "alpha": 2.0, "beta": 0.5})]

CALLS += [(dist, {"tau": tau, "beta": 2.0, "gamma": 0.5}) for tau in (1.0, 4.0)]
CALLS += [(cwtm, {"tau": tau}) for tau in (1.0, 3.0)]
CALLS += [(dkpp, {"tau": 1.0}), (dkpp, {"tau": 4.0, "t_squared": False})]


def numbers(values):
    lines, line = [], "   "
    for v in values:
        text = " %r," % float(v)
        if len(line) + len(text) > 98:
            lines.append(line)
            line = "   "
        line += text
    return "\n".join(lines + [line])


def text_of(value):
    return str(value).lower() if isinstance(value, bool) else "%s" % value


def main():
    out = [
        "// SPDX-License-Identifier: Apache-2.0",
        "/* Written by make_losses.py with PyTorch %s, in double precision. */" % torch.__version__.split("+")[0],
        "// clang-format off",
    ]
    rows = []
    for name, student, teacher, labels in PROBLEMS:
        out.append("static const double golden_%s_student[] = {\n%s\n};" % (name, numbers(sum(student, []))))
        out.append("static const double golden_%s_teacher[] = {\n%s\n};" % (name, numbers(sum(teacher, []))))
        out.append("static const int32_t golden_%s_labels[] = {%s};" % (name, ", ".join(map(str, labels))))
        for number, (loss, config) in enumerate(CALLS):
            s = torch.tensor(student, dtype=torch.float64, requires_grad=True)
            t = torch.tensor(teacher, dtype=torch.float64)
            exact = {k: f32(v) if isinstance(v, float) else v for k, v in config.items()}
            value = loss(s, t, torch.tensor(labels), **exact)
            value.backward()
            out.append(
                "static const double golden_%s_%d[] = {\n%s\n};" % (name, number, numbers(s.grad.flatten().tolist()))
            )
            settings = ", ".join('{"%s", "%s"}' % (k, text_of(v)) for k, v in config.items())
            rows.append(
                '    {"%s", {%s}, %d, %d, golden_%s_student, golden_%s_teacher, golden_%s_labels, %r, golden_%s_%d},'
                % (loss.__name__, settings or "{0}", len(student), len(student[0]), name, name, name,
                   value.item(), name, number)
            )
    out.append("static const struct {")
    out.append("    const char *loss;")
    out.append("    const char *set[4][2]; /* key and value of the configuration */")
    out.append("    uint32_t N, V;")
    out.append("    const double *student, *teacher;")
    out.append("    const int32_t *labels;")
    out.append("    double value;")
    out.append("    const double *gradient;")
    out.append("} golden_losses[] = {")
    out += rows + ["};", "// clang-format on", ""]
    with open(os.path.join(HERE, "losses.h"), "w", encoding="ascii") as file:
        file.write("\n".join(out))


if __name__ == "__main__":
    main()
