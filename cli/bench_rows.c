// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "cli/bench.h"

vkd_tensor bench_normal(vkd_graph *g, const char *name, vkd_shape shape) {
    return vkd_param(g, name, shape, &(vkd_init){.kind = VKD_INIT_NORMAL, .value = 1});
}

vkd_tensor bench_data(vkd_graph *g, const char *name, uint32_t rows, uint32_t columns) {
    return bench_normal(g, name, VKD_SHAPE(rows, columns));
}

void bench_keep(vkd_graph *g, const char *name, vkd_tensor t) {
    const uint32_t count = (uint32_t)vkd_shape_count(vkd_tensor_shape(g, t));
    vkd_output(g, name, vkd_slice(g, vkd_reshape(g, t, VKD_SHAPE(count)), 0, 0, 1));
}

/* ---- What the rows build ---- */

static void build_add(vkd_graph *g, const bench_row *r) {
    const vkd_tensor a = bench_data(g, "b.a", r->m, r->n), b = bench_data(g, "b.b", r->m, r->n);
    bench_keep(g, "y", vkd_add(g, a, b));
}

static void build_gelu(vkd_graph *g, const bench_row *r) {
    bench_keep(g, "y", vkd_gelu(g, bench_data(g, "b.a", r->m, r->n)));
}

static void build_columns(vkd_graph *g, const bench_row *r) {
    bench_keep(g, "y", vkd_sum(g, bench_data(g, "b.a", r->m, r->n), 1u, false));
}

static void build_softmax(vkd_graph *g, const bench_row *r) {
    bench_keep(g, "y", vkd_softmax(g, bench_data(g, "b.a", r->m, r->n)));
}

typedef struct norm {
    vkd_tensor x, gamma, beta, y;
} norm;

static norm layernorm(vkd_graph *g, const bench_row *r) {
    const vkd_shape d = VKD_SHAPE(r->n);
    norm out = {.x = bench_data(g, "b.a", r->m, r->n),
                .gamma = vkd_param(g, "b.gamma", d, NULL),
                .beta = vkd_param(g, "b.beta", d, NULL)};
    out.y = vkd_layernorm(g, out.x, out.gamma, out.beta, 1e-5f);
    return out;
}

static void build_layernorm(vkd_graph *g, const bench_row *r) {
    bench_keep(g, "y", layernorm(g, r).y);
}

/* The loss that has the wanted dy as its gradient: its own value is not asked for, and is not
 * computed. */
static void build_layernorm_backward(vkd_graph *g, const bench_row *r) {
    const norm n = layernorm(g, r);
    const vkd_tensor dy = vkd_stop_gradient(g, bench_data(g, "t.dy", r->m, r->n));
    const vkd_tensor of[] = {n.x, n.gamma, n.beta};
    vkd_tensor gradients[VKD_COUNT(of)];
    vkd_backward(g, vkd_sum(g, vkd_mul(g, n.y, dy), VKD_ALL_AXES, false), of, VKD_COUNT(of),
                 gradients);
    bench_keep(g, "y", n.y);
    bench_keep(g, "dx", gradients[0]);
    bench_keep(g, "dgamma", gradients[1]);
    bench_keep(g, "dbeta", gradients[2]);
}

static void build_kd(vkd_graph *g, const bench_row *r) {
    const vkd_tensor student = bench_data(g, "b.student", r->m, r->n);
    const vkd_tensor teacher = vkd_stop_gradient(g, bench_data(g, "t.teacher", r->m, r->n));
    const vkd_tensor loss = vkd_kd_kl(g, student, teacher, vkd_constant(g, 4.0f), true);
    vkd_tensor gradient;
    vkd_backward(g, loss, &student, 1, &gradient);
    vkd_output(g, "loss", loss);
    bench_keep(g, "y", gradient);
}

static void build_batch(vkd_graph *g, const bench_row *r) {
    const vkd_tensor data = vkd_state(g, "data", VKD_U8, VKD_SHAPE(r->m, r->size, r->size, r->k));
    const vkd_tensor indices = vkd_state(g, "indices", VKD_I32, VKD_SHAPE(r->m));
    const vkd_batch_desc d = {
        .channels = r->k, .mean = {0.5f, 0.4f, 0.3f}, .std = {0.25f, 0.2f, 0.3f}};
    bench_keep(g, "y", vkd_batch(g, data, indices, &d));
}

static void build_adamw(vkd_graph *g, const bench_row *r) {
    (void)bench_data(g, "b.w", r->m, r->n); /* the group "b", which the optimiser updates */
    const vkd_tensor gradient = vkd_state(g, "gradient", VKD_F32, VKD_SHAPE(r->m * r->n));
    vkd_adamw(g, "b", gradient, vkd_guard(g, "b", gradient, vkd_constant(g, 0.0f), 0.0f),
              vkd_constant(g, 1e-3f), NULL);
}

/* ---- The table ---- */

#define MATMUL(build_, work_, text, batch_, m_, n_, k_)                                            \
    {                                                                                              \
        .name = text, .work = work_, .build = build_, .batch = batch_, .m = m_, .n = n_, .k = k_,  \
        .flops = 2.0 * (batch_) * (m_) * (n_) * (k_),                                              \
        .bytes =                                                                                   \
            4.0 * (batch_) * ((m_) * (double)(n_) + (m_) * (double)(k_) + (k_) * (double)(n_)),    \
    }
#define NN(batch, m, n, k, text) MATMUL(bench_build_nn, "matmul_nn", text, batch, m, n, k)
#define NT(batch, m, n, k, text) MATMUL(bench_build_nt, "matmul_nt", text, batch, m, n, k)
#define TN(batch, m, n, k, text) MATMUL(bench_build_tn, "matmul_tn", text, batch, m, n, k)
#define MATMULS(m, n, k)                                                                           \
    NN(1, m, n, k, "matmul NN " #m "x" #n "x" #k), NT(1, m, n, k, "matmul NT " #m "x" #n "x" #k),  \
        TN(1, m, n, k, "matmul TN " #m "x" #n "x" #k)
#define BATCHED(layout, batch, m, n, k)                                                            \
    layout(batch, m, n, k, "matmul " #layout " " #m "x" #n "x" #k ", batch " #batch)
/* `tensors`: how many of (m, n) are read or written. */
#define ROWS(build_, work_, text, m_, n_, tensors)                                                 \
    {                                                                                              \
        .name = text " " #m_ "x" #n_, .work = work_, .build = build_, .m = m_, .n = n_,            \
        .bytes = 4.0 * (tensors) * (m_) * (n_),                                                    \
    }
#define CONV(build_, work_, text, more, m_, size_, kernel_, stride_, in, out, groups_, dilation_)  \
    {                                                                                              \
        .name = text " " #m_ "x" #size_ "x" #size_ "x" #in " to " #out " by " #kernel_             \
                     "/" #stride_ more,                                                            \
        .work = work_, .build = build_, .m = m_, .n = out, .k = in, .size = size_,                 \
        .kernel = kernel_, .stride = stride_, .groups = groups_, .dilation = dilation_,            \
        .streams = (groups_) > 1 && (groups_) == (in),                                             \
        .flops = 2.0 * WEIGHTS(kernel_, in, out, groups_) * PIXELS(m_, size_, stride_),            \
        .bytes =                                                                                   \
            4.0 * ((double)(m_) * (size_) * (size_) * (in) +                                       \
                   (double)(out)*PIXELS(m_, size_, stride_) + WEIGHTS(kernel_, in, out, groups_)), \
    }
#define WEIGHTS(kernel, in, out, groups) ((double)(kernel) * (kernel) * (in) * (out) / (groups))
#define PIXELS(m, size, stride) ((m) * (((size)-1) / (stride) + 1.0) * (((size)-1) / (stride) + 1))
#define CONV_Y(more, m, size, kernel, stride, in, out, groups, dilation)                           \
    CONV(bench_build_conv, "conv2d", "conv2d", more, m, size, kernel, stride, in, out, groups,     \
         dilation)
#define CONV_DX(more, m, size, kernel, stride, in, out, groups, dilation)                          \
    CONV(bench_build_conv_image, "conv2d_image", "conv2d dx", more, m, size, kernel, stride, in,   \
         out, groups, dilation)
#define CONV_DW(more, m, size, kernel, stride, in, out, groups, dilation)                          \
    CONV(bench_build_conv_weight, "conv2d_weight", "conv2d dw", more, m, size, kernel, stride, in, \
         out, groups, dilation)
/* A convolution, its gradients for image and weight, and beside each the product of equal
 * arithmetic: what it would be with its image's pixels gathered before. */
#define CONVS(m, size, kernel, stride, in, out, to)                                                \
    CONV_Y("", m, size, kernel, stride, in, out, 1, 1),                                            \
        NT(1, (m) * (to) * (to), out, (kernel) * (kernel) * (in),                                  \
           AS(NT, m, size, kernel, stride, in, out)),                                              \
        CONV_DX("", m, size, kernel, stride, in, out, 1, 1),                                       \
        NN(1, (m) * (to) * (to), in, (kernel) * (kernel) * (out),                                  \
           AS(NN, m, size, kernel, stride, in, out)),                                              \
        CONV_DW("", m, size, kernel, stride, in, out, 1, 1),                                       \
        TN(1, out, (kernel) * (kernel) * (in), (m) * (to) * (to),                                  \
           AS(TN, m, size, kernel, stride, in, out))
#define AS(layout, m, size, kernel, stride, in, out)                                               \
    "matmul " #layout ", as conv2d " #m "x" #size "x" #size "x" #in " to " #out " by " #kernel     \
    "/" #stride
/* The three alone, with `more` for what the shapes do not say. */
#define BARE_CONVS(more, m, size, kernel, stride, in, out, groups, dilation)                       \
    CONV_Y(more, m, size, kernel, stride, in, out, groups, dilation),                              \
        CONV_DX(more, m, size, kernel, stride, in, out, groups, dilation),                         \
        CONV_DW(more, m, size, kernel, stride, in, out, groups, dilation)
#define DEPTHWISE(m, size, kernel, stride, channels)                                               \
    BARE_CONVS(", depthwise", m, size, kernel, stride, channels, channels, channels, 1)
#define GROUPED(m, size, kernel, in, out, groups)                                                  \
    BARE_CONVS(", groups " #groups, m, size, kernel, 1, in, out, groups, 1)
#define DILATED(m, size, kernel, in, out, dilation)                                                \
    BARE_CONVS(", dilation " #dilation, m, size, kernel, 1, in, out, 1, dilation)
/* m samples of size x size pixels: one byte in and four out for each channel. */
#define BATCH(m_, size_, channels)                                                                 \
    {                                                                                              \
        .name = "batch " #m_ "x" #size_ "x" #size_ "x" #channels, .work = "batch",                 \
        .build = build_batch, .m = m_, .size = size_, .k = channels,                               \
        .bytes = 5.0 * (m_) * (size_) * (size_) * (channels),                                      \
    }
/* n x n windows, `to` x `to` pixels of them: x and y; with the gradient the places, written and
 * read, dy and dx too. */
#define POOL(build_, work_, text, m_, size_, k_, n_, stride_, to, xs, ys)                          \
    {                                                                                              \
        .name = text " " #m_ "x" #size_ "x" #size_ "x" #k_ " by " #n_ "/" #stride_, .work = work_, \
        .build = build_, .m = m_, .n = n_, .k = k_, .size = size_, .stride = stride_,              \
        .bytes = 4.0 * (m_) * (k_) * ((xs) * (size_) * (size_) + (double)(ys) * (to) * (to)),      \
    }
#define POOLS(m, size, k, n, stride, to)                                                           \
    POOL(bench_build_max_pool, "max_pool2d", "max_pool2d", m, size, k, n, stride, to, 1, 1),       \
        POOL(bench_build_max_pool_backward, "max_pool2d_backward", "max_pool2d fwd+bwd", m, size,  \
             k, n, stride, to, 2, 4)
#define AVERAGES(m, size, k)                                                                       \
    POOL(bench_build_global_average, "global_average", "global average", m, size, k, size, 1, 1,   \
         1, 1),                                                                                    \
        POOL(bench_build_global_average_backward, "global_average_backward",                       \
             "global average fwd+bwd", m, size, k, size, 1, 1, 2, 2)
#define AUGMENT(build_, work_, text, m_, size_, k_)                                                \
    {                                                                                              \
        .name = text " " #m_ "x" #size_ "x" #size_ "x" #k_, .work = work_, .build = build_,        \
        .m = m_, .k = k_, .size = size_, .bytes = 8.0 * (m_) * (size_) * (size_) * (k_),           \
    }
#define AUGMENTS(m, size, k)                                                                       \
    AUGMENT(bench_build_crop, "augment_crop", "augment, crop and flip", m, size, k),               \
        AUGMENT(bench_build_affine, "augment_affine", "augment, affine and cutout", m, size, k)
/* The student's maps twice and the teacher's once; the gradient. */
#define FEATURES(build_, work_, text, m_, size_, k_, n_)                                           \
    {                                                                                              \
        .name = text " " #m_ "x" #size_ "x" #size_ "x" #k_ " by " #n_, .work = work_,              \
        .build = build_, .m = m_, .n = n_, .k = k_, .size = size_,                                 \
        .bytes = 4.0 * (m_) * (size_) * (size_) * (3.0 * (k_) + (n_)),                             \
    }
#define LOSS(m, n) ROWS(build_kd, "kd_loss", "kd_kl forward+backward", m, n, 3)

/* A loss over the pairs of m rows of n: distances of student and teacher, a gradient, and so much
 * for each triple. */
#define PAIRS(build_, text, m_, n_, triple)                                                        \
    {                                                                                              \
        .name = text " forward+backward " #m_ "x" #n_, .work = text, .build = build_, .m = m_,     \
        .n = n_, .flops = 6.0 * (m_) * (m_) * (n_) + (triple) * (double)(m_) * (m_) * (m_),        \
        .bytes = 12.0 * (m_) * (n_),                                                               \
    }

/* m rows of n against k + 1 rows each of a bank of `bank`. */
#define BANK(m_, k_, n_, bank)                                                                     \
    {                                                                                              \
        .name = "bank_nce " #m_ "x" #k_ "x" #n_ " of " #bank, .work = "bank_nce",                  \
        .build = bench_build_bank_nce, .fill = bench_fill_samples, .m = m_, .n = n_, .k = k_,      \
        .size = bank, .flops = 4.0 * (m_) * ((k_) + 1) * (n_),                                     \
        .bytes = 4.0 * (m_) * ((k_) + 1) * (n_),                                                   \
    }

/* Multiply-adds of a dense layer of a step count twice; the student's three times that, for the
 * gradients of input and weight. The first layer's input needs none. */
#define LAYER(in, out) (2.0 * (in) * (out))

/* Multiply-adds of a resnet on size x size images of one channel, with n blocks a stage: the
 * convolutions of a pixel's 3 x 3 x in x out, and the 1 x 1 of two shortcuts. */
#define RESNET_STEM(size) (2.0 * 9 * 16 * (size) * (size))
#define RESNET_STAGE(n, pixels, in, out)                                                           \
    (2.0 * (pixels) *                                                                              \
     (9.0 * ((in) + (2 * (n)-1) * (out)) * (out) + ((in) < (out) ? (in) * (out) : 0)))
#define RESNET(n, size)                                                                            \
    (RESNET_STAGE(n, (size) * (size), 16, 16) + RESNET_STAGE(n, (size) * (size) / 4, 16, 32) +     \
     RESNET_STAGE(n, (size) * (size) / 16, 32, 64) + LAYER(64, 10))

static const uint32_t resnet_20[] = {20, 0}, resnet_8[] = {8, 0};

static const uint32_t teacher_large[] = {784, 1200, 1200, 10, 0};
static const uint32_t student_large[] = {784, 800, 800, 10, 0};
static const uint32_t teacher_small[] = {784, 400, 400, 10, 0};
static const uint32_t student_small[] = {784, 100, 10, 0};

const bench_row bench_rows[] = {
    MATMULS(256, 256, 256),
    MATMULS(512, 512, 512),
    MATMULS(1024, 1024, 1024),
    MATMULS(2048, 2048, 2048),
    MATMULS(128, 1200, 784),
    MATMULS(128, 1200, 1200),
    MATMULS(128, 10, 1200),
    MATMULS(128, 30, 784),
    MATMULS(30, 784, 128),
    MATMULS(1200, 784, 128),
    MATMULS(2048, 128, 128),
    MATMULS(2048, 512, 128),
    MATMULS(2048, 4096, 128),
    MATMULS(4096, 64, 576),
    MATMULS(500, 501, 503),
    MATMULS(127, 1199, 783),
    MATMULS(4095, 63, 575),
    /* 128 tokens, 64 heads of all samples together: NT is what attention begins with. */
    BATCHED(NN, 64, 128, 128, 64),
    BATCHED(NT, 64, 128, 128, 64),
    BATCHED(TN, 64, 128, 128, 64),
    CONVS(128, 32, 3, 1, 3, 16, 32),
    CONVS(128, 32, 3, 1, 16, 16, 32),
    CONVS(128, 32, 3, 2, 16, 32, 16),
    CONVS(128, 32, 1, 2, 16, 32, 16),
    CONVS(128, 16, 3, 1, 32, 32, 16),
    CONVS(128, 16, 3, 2, 32, 64, 8),
    CONVS(128, 16, 1, 2, 32, 64, 8),
    CONVS(128, 8, 3, 1, 64, 64, 8),
    CONVS(64, 28, 3, 1, 1, 16, 28),
    CONVS(64, 28, 3, 1, 16, 16, 28),
    CONVS(64, 14, 3, 1, 32, 32, 14),
    CONVS(64, 7, 3, 1, 64, 64, 7),
    /* recipes/vision_kd.yaml's teacher and student */
    CONVS(128, 14, 3, 1, 18, 18, 14),
    CONVS(128, 14, 3, 2, 18, 36, 7),
    CONVS(128, 7, 3, 1, 36, 36, 7),
    CONVS(128, 4, 3, 1, 72, 72, 4),
    CONVS(64, 14, 3, 1, 6, 6, 14),
    CONVS(64, 14, 3, 2, 6, 11, 7),
    CONVS(64, 7, 3, 1, 11, 11, 7),
    CONVS(64, 4, 3, 1, 22, 22, 4),
    /* as in a MobileNetV2 */
    DEPTHWISE(64, 28, 3, 1, 96),
    DEPTHWISE(64, 28, 3, 2, 96),
    DEPTHWISE(64, 14, 3, 1, 192),
    DEPTHWISE(64, 14, 3, 2, 192),
    GROUPED(64, 14, 3, 64, 64, 4),
    /* The products of equal arithmetic. */
    BATCHED(NT, 4, 12544, 16, 144),
    BATCHED(NN, 4, 12544, 16, 144),
    BATCHED(TN, 4, 16, 144, 12544),
    /* The arithmetic of the one without dilation above. */
    DILATED(64, 14, 3, 32, 32, 2),
    POOLS(128, 28, 16, 2, 2, 14),
    POOLS(128, 28, 16, 3, 2, 14),
    AVERAGES(128, 7, 64),
    AUGMENTS(128, 28, 1),
    AUGMENTS(128, 32, 3),
    ROWS(build_add, "add", "add", 1024, 1024, 3),
    ROWS(build_gelu, "gelu", "gelu", 1024, 1024, 2),
    ROWS(build_columns, "column_sum", "column sum", 4096, 512, 1),
    ROWS(build_softmax, "softmax", "softmax", 4096, 10, 2),
    ROWS(build_softmax, "softmax", "softmax", 512, 4096, 2),
    ROWS(build_softmax, "softmax", "softmax", 4096, 1024, 2),
    ROWS(build_layernorm, "layernorm", "layernorm", 2048, 128, 2),
    /* x, dy and both results */
    ROWS(build_layernorm_backward, "layernorm_backward", "layernorm forward+backward", 2048, 128,
         4),
    BATCH(1024, 28, 1),
    BATCH(512, 32, 3),
    FEATURES(bench_build_at, "attention", "at fwd+bwd", 64, 14, 16, 32),
    FEATURES(bench_build_similarity, "similarity", "similarity fwd+bwd", 64, 7, 32, 64),
    LOSS(128, 10),
    LOSS(2048, 4096),
    LOSS(512, 50257),
    PAIRS(bench_build_rkd_distance, "rkd_distance", 128, 64, 0),
    PAIRS(bench_build_rkd_distance, "rkd_distance", 256, 512, 0),
    PAIRS(bench_build_rkd_angle, "rkd_angle", 64, 64, 40),
    PAIRS(bench_build_rkd_angle, "rkd_angle", 128, 64, 40),
    PAIRS(bench_build_rkd_angle, "rkd_angle", 256, 512, 40),
    BANK(64, 1024, 128, 60000),
    BANK(64, 4096, 64, 60000),
    {
        .name = "negatives 64x4096 of 60000",
        .work = "negatives",
        .build = bench_build_negatives,
        .fill = bench_fill_samples,
        .m = 64,
        .k = 4096,
        .size = 60000,
        .bytes = 8.0 * 64 * 4096,
    },
    /* The weights, both moments, the gradient twice: for its norm, and for the update. */
    ROWS(build_adamw, "adamw", "adamw, with norm,", 1024, 1024, 8),
    {
        .name = "KD step, MLP 1200-1200 to 800-800, batch 128",
        .work = "mlp_step",
        .build = bench_build_mlp_step,
        .m = 128,
        .teacher = teacher_large,
        .student = student_large,
        .flops = 128 * (LAYER(784, 1200) + LAYER(1200, 1200) + LAYER(1200, 10) +
                        2 * LAYER(784, 800) + 3 * (LAYER(800, 800) + LAYER(800, 10))),
        /* weights of the teacher once, of the student and its momentum read and written */
        .bytes =
            4.0 * (784 * 1200 + 1200 * 1200 + 1200 * 10 + 6 * (784 * 800 + 800 * 800 + 800 * 10)),
    },
    {
        .name = "KD step, MLP 400-400 to 100, batch 128",
        .work = "mlp_step",
        .build = bench_build_mlp_step,
        .m = 128,
        .teacher = teacher_small,
        .student = student_small,
        .flops = 128 * (LAYER(784, 400) + LAYER(400, 400) + LAYER(400, 10) + 2 * LAYER(784, 100) +
                        3 * LAYER(100, 10)),
        .bytes = 4.0 * (784 * 400 + 400 * 400 + 400 * 10 + 6 * (784 * 100 + 100 * 10)),
    },
    {
        .name = "KD step, ResNet-20 to ResNet-8, batch 64, 28x28",
        .work = "resnet_step",
        .build = bench_build_resnet_step,
        .m = 64,
        .k = 1,
        .size = 28,
        .teacher = resnet_20,
        .student = resnet_8,
        .flops = 64 * (RESNET_STEM(28) + RESNET(3, 28) + 2 * RESNET_STEM(28) + 3 * RESNET(1, 28)),
        /* weights of the teacher once, of the student and its momentum read and written */
        .bytes = 4.0 * (272186 + 6 * 77754),
    },
};
const size_t bench_row_count = VKD_COUNT(bench_rows);

bool bench_wants(const bench_row *row, const char *only) {
    return !only || strstr(row->name, only);
}

vkd_result bench_graph(vkd_ctx *ctx, const bench_row *row, vkd_store **store, vkd_graph **graph) {
    *store = NULL;
    *graph = NULL;
    vkd_result r = vkd_store_create(ctx, store);
    if (!r) r = vkd_graph_create(ctx, *store, &(vkd_graph_desc){.name = row->name}, graph);
    if (!r) row->build(*graph, row);
    if (!r && row->fill) r = row->fill(*store, row);
    if (r) {
        vkd_store_destroy(*store);
        *store = NULL;
    }
    return r;
}
