// SPDX-License-Identifier: Apache-2.0
/* Written by make_models.py with PyTorch 1.13.0a0. */
// clang-format off
static const char *const golden_models[] = {
    "resnet",
    "resnet_a",
    "wrn",
    "vgg",
    "mobilenet_v2",
    "plain_cnn",
    "plain_cnn_bias",
};
static const struct {
    const char *arch, *options;
    vkd_shape sample;
    uint32_t classes;
    uint64_t parameters;
} golden_counts[] = {
    {"resnet", "depth=20 shortcut=A", {3, {32, 32, 3}}, 10, 269722},
    {"resnet", "depth=20", {3, {32, 32, 3}}, 10, 272474},
    {"resnet", "depth=8", {3, {28, 28, 1}}, 10, 77754},
    {"resnet", "depth=8 width=4 stem=32", {3, {32, 32, 3}}, 100, 1233540},
    {"resnet", "depth=110 shortcut=A", {3, {32, 32, 3}}, 10, 1727962},
    {"wrn", "depth=16 widen=2", {3, {32, 32, 3}}, 10, 691674},
    {"wrn", "depth=40 widen=1", {3, {32, 32, 3}}, 10, 563930},
    {"wrn", "depth=40 widen=2", {3, {32, 32, 3}}, 100, 2255156},
    {"vgg", "depth=8", {3, {32, 32, 3}}, 100, 3965028},
    {"vgg", "depth=13", {3, {32, 32, 3}}, 100, 9462180},
    {"vgg", "depth=19 batchnorm=false", {3, {32, 32, 3}}, 10, 20029514},
    {"mobilenet_v2", "", {3, {32, 32, 3}}, 1000, 3504872},
    {"mobilenet_v2", "width=0.5", {3, {32, 32, 3}}, 1000, 1968680},
    {"mobilenet_v2", "width=1.4", {3, {28, 28, 1}}, 10, 4332842},
    {"plain_cnn", "depth=2", {3, {32, 32, 3}}, 10, 13050},
    {"plain_cnn", "depth=4", {3, {32, 32, 3}}, 10, 37242},
    {"plain_cnn", "depth=6", {3, {32, 32, 3}}, 10, 82554},
    {"plain_cnn", "depth=8", {3, {28, 28, 1}}, 10, 302618},
    {"plain_cnn", "depth=10 width=32", {3, {32, 32, 3}}, 10, 2486378},
    {"plain_cnn", "depth=4 batchnorm=false", {3, {28, 28, 1}}, 10, 32058},
};
// clang-format on
