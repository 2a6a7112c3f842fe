#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rows of `vkdistill bench` in PyTorch, as one would write them there.

Line by line, as tests/peers/run asks: the first line out says what this is; then each line in is a
row of `vkdistill bench --serve` with "steps" added, as JSON, and is answered by the seconds of one
of that many steps back to back. A row stays ready until another one is named. To add a row, add a
function with the name that the row has as its `work`: it gets the row and returns the step."""

import argparse
import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F

WORK = {}
TAU = 4.0


def work(make):
    WORK[make.__name__] = make
    return make


# ---- Kernels. Where PyTorch can write into memory that is there already, it does. ----


def matrices(row, rows, columns):
    batch = [row["batch"]] if row["batch"] > 1 else []
    return torch.randn(*batch, row[rows], row[columns])


def multiply(a, b):
    product = torch.bmm if a.dim() == 3 else torch.mm
    out = product(a, b)
    return lambda: product(a, b, out=out)


@work
def matmul_nn(row):
    return multiply(matrices(row, "m", "k"), matrices(row, "k", "n"))


@work
def matmul_nt(row):
    return multiply(matrices(row, "m", "k"), matrices(row, "n", "k").mT)


@work
def matmul_tn(row):
    return multiply(matrices(row, "k", "m").mT, matrices(row, "k", "n"))


@work
def add(row):
    a, b = torch.randn(row["m"], row["n"]), torch.randn(row["m"], row["n"])
    out = torch.empty_like(a)
    return lambda: torch.add(a, b, out=out)


@work
def gelu(row):
    x = torch.randn(row["m"], row["n"])
    return lambda: F.gelu(x)


@work
def column_sum(row):
    x, out = torch.randn(row["m"], row["n"]), torch.empty(row["n"])
    return lambda: torch.sum(x, 0, out=out)


@work
def softmax(row):
    x = torch.randn(row["m"], row["n"])
    return lambda: torch.softmax(x, 1)


def layernorm_inputs(row, gradients):
    width = row["n"]
    x = torch.randn(row["m"], width, requires_grad=gradients)
    gamma = torch.ones(width, requires_grad=gradients)
    beta = torch.zeros(width, requires_grad=gradients)
    return x, gamma, beta


@work
def layernorm(row):
    x, gamma, beta = layernorm_inputs(row, False)
    return lambda: F.layer_norm(x, (row["n"],), gamma, beta)


@work
def layernorm_backward(row):
    inputs = layernorm_inputs(row, True)
    dy = torch.randn(row["m"], row["n"])

    def step():
        for tensor in inputs:
            tensor.grad = None
        F.layer_norm(inputs[0], (row["n"],), inputs[1], inputs[2]).backward(dy)

    return step


def kd(student, teacher):
    """tau^2 KL(teacher || student), the mean over the rows."""
    p = F.softmax(teacher / TAU, 1)
    return F.kl_div(F.log_softmax(student / TAU, 1), p, reduction="batchmean") * TAU**2


@work
def kd_loss(row):
    student = torch.randn(row["m"], row["n"], requires_grad=True)
    teacher = torch.randn(row["m"], row["n"])

    def step():
        student.grad = None
        kd(student, teacher).backward()

    return step


def features(row):
    """Of the student, and of the teacher."""
    size = (row["size"], row["size"])
    return torch.randn(row["m"], row["k"], *size, requires_grad=True), torch.randn(row["m"], row["n"], *size)


def compared(row, relation):
    student, teacher = features(row)

    def step():
        student.grad = None
        (relation(student) - relation(teacher)).square().mean().backward()

    return step


@work
def attention(row):
    return compared(row, lambda x: F.normalize(x.square().mean(1).flatten(1)))


@work
def similarity(row):
    return compared(row, lambda x: F.normalize(x.flatten(1) @ x.flatten(1).T))


def convolution(row):
    """In PyTorch's own order of axes; channels last was slower on a CPU when it was tried."""
    kernel, dilation, groups = row["kernel"], row["dilation"], row["groups"]
    x = torch.randn(row["m"], row["k"], row["size"], row["size"])
    weight = torch.randn(row["n"], row["k"] // groups, kernel, kernel)
    padding = kernel // 2 * dilation
    return x, weight, dict(stride=row["stride"], padding=padding, dilation=dilation, groups=groups)


@work
def conv2d(row):
    x, weight, shape = convolution(row)
    return lambda: F.conv2d(x, weight, **shape)


def conv2d_gradient(row, of_image):
    x, weight, shape = convolution(row)
    dy = torch.randn_like(F.conv2d(x, weight, **shape))
    pairs = [[shape[name]] * 2 for name in ("stride", "padding", "dilation")]
    rest = [False, [0, 0], shape["groups"], [of_image, not of_image, False]]
    return lambda: torch.ops.aten.convolution_backward(dy, x, weight, None, *pairs, *rest)


@work
def conv2d_image(row):
    return conv2d_gradient(row, True)


@work
def conv2d_weight(row):
    return conv2d_gradient(row, False)


def image(row, gradients):
    return torch.randn(row["m"], row["k"], row["size"], row["size"], requires_grad=gradients)


def max_pool(row, x):
    return F.max_pool2d(x, row["n"], stride=row["stride"], padding=(row["n"] - 1) // 2)


def both_ways(x, forward):
    dy = torch.randn_like(forward(x))

    def step():
        x.grad = None
        forward(x).backward(dy)

    return step


@work
def max_pool2d(row):
    x = image(row, False)
    return lambda: max_pool(row, x)


@work
def max_pool2d_backward(row):
    return both_ways(image(row, True), lambda x: max_pool(row, x))


@work
def global_average(row):
    x = image(row, False)
    return lambda: x.mean((2, 3))


@work
def global_average_backward(row):
    return both_ways(image(row, True), lambda x: x.mean((2, 3)))


@work
def batch(row):
    data = torch.zeros(row["m"], row["size"], row["size"], row["k"], dtype=torch.uint8)
    indices = torch.zeros(row["m"], dtype=torch.long)
    mean, deviation = torch.rand(row["k"]), torch.rand(row["k"]) + 1
    return lambda: (data[indices] / 255 - mean) / deviation


@work
def augment_crop(row):
    """Four pixels reflected on all sides, a window of its own for each image, half of them flipped."""
    x = image(row, False)
    batch, size = row["m"], row["size"]
    channel = torch.arange(row["k"]).view(1, -1, 1, 1)
    sample = torch.arange(batch).view(-1, 1, 1, 1)

    def step():
        places = torch.arange(size) + torch.randint(0, 9, (batch, 2, 1))
        flip = torch.rand(batch, 1) < 0.5
        columns = torch.where(flip, places[:, 1].flip(1), places[:, 1])
        padded = F.pad(x, (4, 4, 4, 4), mode="reflect")
        return padded[sample, channel, places[:, 0].view(batch, 1, -1, 1), columns.view(batch, 1, 1, -1)]

    return step


@work
def augment_affine(row):
    """An affine map for each image, and a square of zeros."""
    x = image(row, False)
    batch, size = row["m"], row["size"]
    place = torch.arange(size)

    def step():
        angle = (torch.rand(batch) * 2 - 1) * (math.pi / 12)
        scale = 1 / (1 + (torch.rand(batch) * 2 - 1) * 0.1)
        shear = (torch.rand(batch) * 2 - 1) * 0.1
        flip = 1 - 2 * (torch.rand(batch) < 0.5).float()
        cos, sin = angle.cos() * scale, angle.sin() * scale
        shift = (torch.rand(batch, 2) * 2 - 1) * (4 / size)
        rows = [torch.stack([flip * (cos - shear * sin), flip * (sin + shear * cos), shift[:, 0]], 1)]
        rows.append(torch.stack([-sin, cos, shift[:, 1]], 1))
        grid = F.affine_grid(torch.stack(rows, 1), x.shape, align_corners=False)
        middle = torch.randint(0, size, (batch, 2, 1))
        inside = (place - middle + 4 >= 0) & (place - middle < 4)
        hole = inside[:, 0].view(batch, 1, -1, 1) & inside[:, 1].view(batch, 1, 1, -1)
        return F.grid_sample(x, grid, align_corners=False).masked_fill(hole, 0)

    return step


@work
def adamw(row):
    weight = torch.nn.Parameter(torch.randn(row["m"] * row["n"]))
    weight.grad = torch.zeros_like(weight)
    optimiser = torch.optim.AdamW([weight], lr=1e-3)

    def step():
        weight.grad.norm()
        optimiser.step()

    return step


# ---- Losses over relations between rows, as their authors write them ----


def distances(x):
    square = (x * x).sum(1)
    d = (square[:, None] + square[None] - 2 * x @ x.t()).clamp(min=1e-12).sqrt()
    return d * (1 - torch.eye(len(x), device=x.device))


def scaled_distances(x):
    d = distances(x)
    return d / d[d > 0].mean()


def angles(x):
    e = F.normalize(x[None] - x[:, None], dim=2)
    return torch.bmm(e, e.transpose(1, 2)).view(-1)


def relation(row, of):
    student = torch.randn(row["m"], row["n"], requires_grad=True)
    teacher = torch.randn(row["m"], row["n"])

    def step():
        student.grad = None
        with torch.no_grad():
            wanted = of(teacher)
        F.smooth_l1_loss(of(student), wanted).backward()

    return step


@work
def rkd_distance(row):
    return relation(row, scaled_distances)


@work
def rkd_angle(row):
    return relation(row, angles)


@work
def bank_nce(row):
    m, k, size = row["m"], row["k"], row["size"]
    v = F.normalize(torch.randn(m, row["n"])).requires_grad_()
    bank = 0.09 * torch.randn(size, row["n"])
    choices = torch.randint(size, (m, k + 1), device=bank.device)
    noise = k / size

    def step():
        v.grad = None
        rows = bank.index_select(0, choices.view(-1)).view(m, k + 1, -1)
        p = torch.bmm(rows, v[:, :, None])[:, :, 0].div(0.07).exp() / 1e6
        positive = torch.log(p[:, 0] / (p[:, 0] + noise + 1e-7))
        negative = torch.log(noise / (p[:, 1:] + noise + 1e-7))
        (-(positive.sum() + negative.sum()) / m).backward()

    return step


@work
def negatives(row):
    """Without replacement: a permutation for each row."""
    return lambda: torch.rand(row["m"], row["size"]).topk(row["k"], dim=1).indices


# ---- Training steps ----


def mlp(widths):
    layers = []
    for i, (fan_in, fan_out) in enumerate(zip(widths, widths[1:])):
        layers.append(torch.nn.Linear(fan_in, fan_out))
        if i + 2 < len(widths):
            layers.append(torch.nn.ReLU(inplace=True))
    return torch.nn.Sequential(*layers)


def distil(teacher, student, x, labels):
    """A step of SGD with momentum on 0.9 KD + 0.1 cross-entropy."""
    optimiser = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9)

    def step():
        optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            wanted = teacher(x)
        logits = student(x)
        loss = 0.9 * kd(logits, wanted) + 0.1 * F.cross_entropy(logits, labels)
        loss.backward()
        optimiser.step()

    return step


@work
def mlp_step(row):
    x = torch.randn(row["m"], row["student"][0])
    labels = torch.zeros(row["m"], dtype=torch.long, device=x.device)
    return distil(mlp(row["teacher"]), mlp(row["student"]), x, labels)


class Block(torch.nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        stride = outputs // inputs
        self.conv1 = torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(outputs)
        self.conv2 = torch.nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(outputs)
        self.shortcut = None
        if stride > 1:
            conv = torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(outputs))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        h += self.shortcut(x) if self.shortcut else x
        return F.relu(h, inplace=True)


def resnet(depth, channels):
    nn = torch.nn
    layers = [nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    inputs = 16
    for outputs in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            layers.append(Block(inputs, outputs))
            inputs = outputs
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)]
    return nn.Sequential(*layers)


def folded(teacher):
    """Each batchnorm in the convolution in front of it, as torch.jit.freeze and others do."""
    fuse = torch.nn.utils.fusion.fuse_conv_bn_eval
    nothing = torch.nn.Identity()
    for block in [m for m in teacher if isinstance(m, Block)]:
        block.conv1, block.bn1 = fuse(block.conv1, block.bn1), nothing
        block.conv2, block.bn2 = fuse(block.conv2, block.bn2), nothing
        if block.shortcut:
            block.shortcut = fuse(*block.shortcut)
    teacher[0], teacher[1] = fuse(teacher[0], teacher[1]), nothing
    return teacher


@work
def resnet_step(row):
    x = torch.randn(row["m"], row["k"], row["size"], row["size"])
    labels = torch.zeros(row["m"], dtype=torch.long, device=x.device)
    teacher = folded(resnet(row["teacher"][0], row["k"]).eval())
    return distil(teacher, resnet(row["student"][0], row["k"]), x, labels)


# ---- The server ----


def synchronise():
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def seconds_of(step, steps):
    synchronise()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    synchronise()
    return (time.perf_counter() - start) / steps


def describe(device):
    blas = next((line.strip(" -") for line in torch.__config__.show().splitlines() if "BLAS" in line), "")
    mkldnn = torch.backends.mkldnn.is_available()
    what = {"torch": torch.__version__, "threads": torch.get_num_threads(), "onednn": mkldnn, "blas": blas}
    name = "PyTorch %s, CPU, threads: %d" % (torch.__version__, torch.get_num_threads())
    if device == "cuda":
        what.update(cuda=torch.version.cuda, device=torch.cuda.get_device_name(0))
        name = "PyTorch %s, CUDA %s" % (torch.__version__, torch.version.cuda)
    names = ("OPENBLAS_CORETYPE", "OMP_NUM_THREADS", "LD_LIBRARY_PATH")
    what["variables"] = {n: os.environ[n] for n in names if n in os.environ}
    return {"peer": name, "about": what}


def use(device):
    if device != "cuda":
        return
    # The same arithmetic on both sides: f32, not TF32.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_default_tensor_type(torch.cuda.FloatTensor)


def answer(row, ready):
    if row["work"] not in WORK:
        return {"unknown": row["work"]}
    if ready.get("row") != row["row"]:
        ready.clear()  # first, so that two rows never hold memory together
        ready.update(row=row["row"], step=WORK[row["work"]](row))
        seconds_of(ready["step"], 3)
    return {"seconds": seconds_of(ready["step"], row["steps"])}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    device = parser.parse_args().device
    use(device)
    torch.manual_seed(0)
    print(json.dumps(describe(device)), flush=True)
    ready = {}
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), ready)
        except RuntimeError as error:  # out of memory, for one: the row has no figure
            ready.clear()
            reply = {"error": str(error).splitlines()[0]}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
