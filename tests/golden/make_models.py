#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes models/<name>.safetensors beside this file: for each vision architecture a small network as
PyTorch has it, with random weights and running statistics, and what it makes of two images; and
models.h: how many parameters the usual sizes have. Needs PyTorch; the tests need only the files.
Run: python3 make_models.py

A file holds the network's state_dict, num_batches_tracked included, and besides "golden.input" and
"golden.<tap>", channels last, computed in double precision from the single-precision weights. Some
also hold "golden.losses", of steps of SGD with momentum on these images from these weights, and
"golden.buffer", what the running variance that the metadata names is after them."""

import json
import os
import struct

import torch
import torch.nn.functional as F
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))


class Taps(dict):
    def add(self, name, x):
        self[name] = x
        return x


def conv_norm(inputs, outputs, kernel, stride=1, groups=1, bias=False):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
    return conv, nn.BatchNorm2d(outputs)


# ---- resnet ----


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, shortcut):
        super().__init__()
        self.conv1, self.bn1 = conv_norm(inputs, outputs, 3, stride)
        self.conv2, self.bn2 = conv_norm(outputs, outputs, 3)
        self.pad = outputs - inputs if shortcut == "A" else 0
        self.stride = stride
        if inputs != outputs and shortcut == "B":
            self.downsample = nn.Sequential(*conv_norm(inputs, outputs, 1, stride))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        elif self.pad:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.pad))
        return F.relu(h + x)


class ResNet(nn.Module):
    def __init__(self, channels, classes, depth=20, width=1.0, stem=0, shortcut="B"):
        super().__init__()
        base = int(16 * width + 0.5)
        inputs = stem or base
        self.conv1, self.bn1 = conv_norm(channels, inputs, 3)
        for stage in range(3):
            blocks = []
            for i in range((depth - 2) // 6):
                stride = 2 if stage and not i else 1
                blocks.append(ResidualBlock(inputs, base << stage, stride, shortcut))
                inputs = base << stage
            setattr(self, "layer%d" % (stage + 1), nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x, taps):
        x = taps.add("stem", F.relu(self.bn1(self.conv1(x))))
        for stage in (1, 2, 3):
            x = taps.add("stage%d.out" % stage, getattr(self, "layer%d" % stage)(x))
        return taps.add("logits", self.fc(taps.add("pool", x.mean((2, 3)))))


# ---- wrn ----


class WideBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1, self.bn2 = conv_norm(inputs, outputs, 3, stride)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if inputs != outputs:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        a = F.relu(self.bn1(x))
        shortcut = self.convShortcut(a) if hasattr(self, "convShortcut") else x
        return shortcut + self.conv2(F.relu(self.bn2(self.conv1(a))))


class WideResNet(nn.Module):
    def __init__(self, channels, classes, depth=16, widen=1.0, stem=1.0):
        super().__init__()
        base, inputs = int(16 * widen + 0.5), int(16 * stem + 0.5)
        self.conv1 = nn.Conv2d(channels, inputs, 3, 1, 1, bias=False)
        for stage in range(3):
            group = nn.Module()
            group.layer = nn.Sequential()
            for i in range((depth - 4) // 6):
                block = WideBlock(inputs, base << stage, 2 if stage and not i else 1)
                group.layer.add_module(str(i), block)
                inputs = base << stage
            setattr(self, "block%d" % (stage + 1), group)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x, taps):
        x = taps.add("stem", self.conv1(x))
        for stage in (1, 2, 3):
            if stage > 1:
                first = getattr(self, "block%d" % stage).layer[0]
                taps.add("stage%d.act" % (stage - 1), F.relu(first.bn1(x)))
            x = taps.add("stage%d.out" % stage, getattr(self, "block%d" % stage).layer(x))
        x = taps.add("stage3.act", F.relu(self.bn1(x)))
        return taps.add("logits", self.fc(taps.add("pool", x.mean((2, 3)))))


# ---- vgg ----

VGG = {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class Vgg(nn.Module):
    def __init__(self, channels, classes, depth=8, width=1.0, batchnorm=True):
        super().__init__()
        for i, base in enumerate((64, 128, 256, 512, 512)):
            outputs, layers = int(base * width + 0.5), []
            for _ in range(VGG[depth][i]):
                conv, norm = conv_norm(channels, outputs, 3, bias=True)
                layers += [conv, norm, nn.ReLU()] if batchnorm else [conv, nn.ReLU()]
                channels = outputs
            setattr(self, "block%d" % i, nn.Sequential(*layers))
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x, taps):
        for i in range(5):
            name = "stage%d.out" % i if i else "stem"
            x = taps.add(name, getattr(self, "block%d" % i)(x))
            if i < 3:
                x = F.max_pool2d(x, 2)
        return taps.add("logits", self.classifier(taps.add("pool", x.mean((2, 3)))))


# ---- mobilenet_v2 ----


def divisible(value, divisor):
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expand, activation):
        super().__init__()
        hidden, layers = inputs * expand, []
        if expand > 1:
            layers.append(nn.Sequential(*conv_norm(inputs, hidden, 1), activation()))
        layers.append(nn.Sequential(*conv_norm(hidden, hidden, 3, stride, hidden), activation()))
        layers += conv_norm(hidden, outputs, 1)
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    # stage that ends here, channels, blocks, stride
    TABLE = ((0, 16, 1, 1), (1, 24, 2, 1), (2, 32, 3, 2), (0, 64, 4, 2), (3, 96, 3, 1), (0, 160, 3, 2), (4, 320, 1, 1))

    def __init__(self, channels, classes, width=1.0, expand=6, divisor=8, head=0, activation="relu6"):
        super().__init__()
        act = nn.ReLU6 if activation == "relu6" else nn.ReLU
        inputs = divisible(32 * width, divisor)
        layers = [nn.Sequential(*conv_norm(channels, inputs, 3, 2), act())]
        self.ends = {}
        for stage, outputs, blocks, stride in self.TABLE:
            outputs = divisible(outputs * width, divisor)
            for i in range(blocks):
                t = expand if len(layers) > 1 else 1
                layers.append(InvertedResidual(inputs, outputs, 1 if i else stride, t, act))
                inputs = outputs
            if stage:
                self.ends[len(layers) - 1] = "stage%d.out" % stage
        head = head or divisible(1280 * max(1.0, width), divisor)
        layers.append(nn.Sequential(*conv_norm(inputs, head, 1), act()))
        self.ends.update({0: "stem", len(layers) - 1: "head"})
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(head, classes))

    def forward(self, x, taps):
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.ends:
                taps.add(self.ends[i], x)
        return taps.add("logits", self.classifier(taps.add("pool", x.mean((2, 3)))))


# ---- plain_cnn ----

PLAIN = {
    2: ((1, 1), (1, 1), 0),
    4: ((2, 2), (1, 2), 0),
    6: ((2, 2, 2), (1, 2, 4), 0),
    8: ((2, 2, 2, 2), (1, 2, 4, 8), 4),
    10: ((2, 2, 2, 4), (1, 2, 4, 8), 4),
}


class PlainCnn(nn.Module):
    def __init__(self, channels, classes, pixels, depth=4, width=16, batchnorm=True):
        super().__init__()
        self.counts, widths, hidden = PLAIN[depth]
        number = 1
        for count, multiple in zip(self.counts, widths):
            pixels //= 2
            for _ in range(count):
                conv, norm = conv_norm(channels, multiple * width, 3, bias=not batchnorm)
                setattr(self, "conv%d" % number, conv)
                if batchnorm:
                    setattr(self, "bn%d" % number, norm)
                channels, number = multiple * width, number + 1
        inputs = channels * pixels * pixels
        if hidden:
            self.fc1 = nn.Linear(inputs, hidden * width)
            inputs = hidden * width
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x, taps):
        number = 1
        for stage, count in enumerate(self.counts):
            for _ in range(count):
                x = getattr(self, "conv%d" % number)(x)
                if hasattr(self, "bn%d" % number):
                    x = getattr(self, "bn%d" % number)(x)
                x = F.relu(x)
                if number == 1:
                    taps.add("stem", x)
                number += 1
            x = F.max_pool2d(taps.add("stage%d.out" % (stage + 1), x), 2)
        x = taps.add("pool", x.flatten(1))
        if hasattr(self, "fc1"):
            x = taps.add("fc1", F.relu(self.fc1(x)))
        return taps.add("logits", self.fc(x))


ARCHITECTURES = {
    "plain_cnn": PlainCnn,
    "resnet": ResNet,
    "wrn": WideResNet,
    "vgg": Vgg,
    "mobilenet_v2": MobileNetV2,
}

# name, seed, architecture, (height, width, channels), classes, options. Seeds with which the images
# differ in what the network makes of them: a network so narrow may well answer all alike.
FILES = [
    ("resnet", 1, "resnet", (8, 8, 3), 5, {"depth": 8, "width": 0.1875, "stem": 5}),
    ("resnet_a", 1, "resnet", (11, 11, 1), 5, {"depth": 8, "width": 0.125, "shortcut": "A"}),
    ("wrn", 1, "wrn", (8, 8, 1), 5, {"depth": 10, "widen": 0.25, "stem": 0.125}),
    ("vgg", 59, "vgg", (8, 8, 3), 5, {"depth": 8, "width": 0.015625}),
    ("mobilenet_v2", 2, "mobilenet_v2", (12, 12, 3), 5, {"width": 0.05, "expand": 2, "divisor": 2, "head": 12}),
    ("plain_cnn", 1, "plain_cnn", (13, 13, 1), 5, {"depth": 4, "width": 3}),
    ("plain_cnn_bias", 1, "plain_cnn", (16, 16, 3), 5, {"depth": 8, "width": 2, "batchnorm": False}),
]

# A running variance that has something to say of all that is in front of it.
TRAINED = {"resnet": "layer3.0.bn2.running_var", "wrn": "bn1.running_var", "plain_cnn": "bn4.running_var"}
STEPS = 6

COUNTS = [
    ("resnet", (32, 32, 3), 10, {"depth": 20, "shortcut": "A"}),
    ("resnet", (32, 32, 3), 10, {"depth": 20}),
    ("resnet", (28, 28, 1), 10, {"depth": 8}),
    ("resnet", (32, 32, 3), 100, {"depth": 8, "width": 4, "stem": 32}),
    ("resnet", (32, 32, 3), 10, {"depth": 110, "shortcut": "A"}),
    ("wrn", (32, 32, 3), 10, {"depth": 16, "widen": 2}),
    ("wrn", (32, 32, 3), 10, {"depth": 40, "widen": 1}),
    ("wrn", (32, 32, 3), 100, {"depth": 40, "widen": 2}),
    ("vgg", (32, 32, 3), 100, {"depth": 8}),
    ("vgg", (32, 32, 3), 100, {"depth": 13}),
    ("vgg", (32, 32, 3), 10, {"depth": 19, "batchnorm": False}),
    ("mobilenet_v2", (32, 32, 3), 1000, {}),
    ("mobilenet_v2", (32, 32, 3), 1000, {"width": 0.5}),
    ("mobilenet_v2", (28, 28, 1), 10, {"width": 1.4}),
    ("plain_cnn", (32, 32, 3), 10, {"depth": 2}),
    ("plain_cnn", (32, 32, 3), 10, {"depth": 4}),
    ("plain_cnn", (32, 32, 3), 10, {"depth": 6}),
    ("plain_cnn", (28, 28, 1), 10, {"depth": 8}),
    ("plain_cnn", (32, 32, 3), 10, {"depth": 10, "width": 32}),
    ("plain_cnn", (28, 28, 1), 10, {"depth": 4, "batchnorm": False}),
]


def make(arch, sample, classes, options):
    more = {"pixels": sample[0]} if arch == "plain_cnn" else {}
    return ARCHITECTURES[arch](sample[2], classes, **more, **options)


def randomise(net):
    """Weights that keep the signal alive, and statistics that a forgotten batchnorm would show in."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.25, 1.5)
            module.num_batches_tracked.fill_(7)


def channels_last(x):
    return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).contiguous()


def save(path, tensors, metadata):
    """The safetensors format: a header's size, the header, the values."""
    names = {torch.float32: "F32", torch.int64: "I64"}
    header, data = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        values = tensor.contiguous().numpy().tobytes()
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(values)],
        }
        data += values
    text = json.dumps(header, separators=(",", ":")).encode()
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)


def text_of(options):
    words = {True: "true", False: "false"}
    return " ".join("%s=%s" % (key, words.get(v, v) if isinstance(v, bool) else v) for key, v in options.items())


def train(net, x):
    """In double precision; returns the losses."""
    optimiser, losses = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9), []
    labels = torch.tensor([1, 3])
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = F.cross_entropy(net(x, Taps()), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def write_file(name, seed, arch, sample, classes, options):
    torch.manual_seed(seed)
    net = make(arch, sample, classes, options).eval()
    with torch.no_grad():
        randomise(net)
        state = net.state_dict()
        x = torch.randn(2, sample[2], sample[0], sample[1])
        taps = Taps()
        net.double()(x.double(), taps)
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    tensors["golden.input"] = channels_last(x)
    for tap, value in taps.items():
        tensors["golden." + tap] = channels_last(value).float()
    metadata = {"golden.arch": arch, "golden.options": text_of(options), "golden.classes": str(classes)}
    if name in TRAINED:
        tensors["golden.losses"] = train(net.train(), x.double()).float()
        tensors["golden.buffer"] = net.state_dict()[TRAINED[name]].float()
        metadata["golden.buffer"] = TRAINED[name]
    save(os.path.join(HERE, "models", name + ".safetensors"), tensors, metadata)


def main():
    for entry in FILES:
        write_file(*entry)
    with open(os.path.join(HERE, "models.h"), "w", encoding="ascii") as out:
        out.write("// SPDX-License-Identifier: Apache-2.0\n")
        out.write("/* Written by make_models.py with PyTorch %s. */\n// clang-format off\n" % torch.__version__)
        out.write("static const char *const golden_models[] = {\n")
        for entry in FILES:
            out.write('    "%s",\n' % entry[0])
        out.write("};\nstatic const struct {\n    const char *arch, *options;\n    vkd_shape sample;\n")
        out.write("    uint32_t classes;\n    uint64_t parameters;\n} golden_counts[] = {\n")
        for arch, sample, classes, options in COUNTS:
            count = sum(p.numel() for p in make(arch, sample, classes, options).parameters())
            row = (arch, text_of(options), sample[0], sample[1], sample[2], classes, count)
            out.write('    {"%s", "%s", {3, {%d, %d, %d}}, %d, %d},\n' % row)
        out.write("};\n// clang-format on\n")


if __name__ == "__main__":
    main()
