// SPDX-License-Identifier: Apache-2.0
/* vkdistill: distil neural networks on any Vulkan GPU. This header is the runtime: a static graph
 * with automatic differentiation, planned without a GPU, recorded once and replayed every step.
 * Recipes, stages and checkpoints are in "vkdistill/train.h".
 *
 * A complete program, three steps of gradient descent on one linear layer (errors left out):
 *
 *     vkd_ctx *ctx;       vkd_ctx_create(NULL, &ctx);
 *     vkd_device *device; vkd_device_open(ctx, NULL, &device);
 *     vkd_store *store;   vkd_store_create(ctx, &store);
 *     vkd_graph *g;       vkd_graph_create(ctx, store, NULL, &g);
 *
 *     vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(8, 4));
 *     vkd_tensor labels = vkd_input(g, "labels", VKD_I32, VKD_SHAPE(8));
 *     const vkd_init xavier = {.kind = VKD_INIT_XAVIER_UNIFORM};
 *     vkd_tensor w = vkd_param(g, "net.weight", VKD_SHAPE(3, 4), &xavier);
 *     const vkd_matmul_desc linear = {.transpose_b = true};
 *     vkd_tensor logits = vkd_matmul(g, x, w, &linear);
 *     vkd_tensor loss = vkd_ce(g, logits, labels, 0.0f);
 *     vkd_tensor grad = vkd_gradient(g, loss, "net");
 *     vkd_sgd(g, "net", grad, vkd_guard(g, "net", grad, loss, 0.0f), vkd_constant(g, 0.1f), NULL);
 *     vkd_output(g, "loss", loss);
 *
 *     vkd_plan *plan;     vkd_plan_create(g, vkd_device_profile(device), &plan);
 *     vkd_program *step;  vkd_program_create(device, plan, &step);
 *     for (int i = 0; i < 3; i++) {
 *         memcpy(vkd_program_input(step, "x"), pixels, 8 * 4 * sizeof(float));
 *         memcpy(vkd_program_input(step, "labels"), classes, 8 * sizeof(int32_t));
 *         uint64_t ticket;
 *         vkd_program_submit(step, &ticket);
 *         vkd_program_wait(step, ticket);
 *         printf("%g\n", *(const float *)vkd_program_output(step, ticket, "loss", NULL));
 *     }
 *
 * What it does not do: graphs whose shapes change from step to step, user-written kernels at run
 * time, several devices in one program, anything but f32 arithmetic.
 *
 * Ownership: whoever calls `create` or `open` calls `destroy` or `close`; after a failed create
 * there is nothing to destroy and the pointer is NULL; destroying NULL is allowed. A graph owns its
 * tensors. A program keeps no pointer into its graph or plan: both may be destroyed before it. The
 * store and the device outlive the programs made with them.
 * Threads: one context, and all that was made from it, belongs to one thread at a time. Devices are
 * opened and closed by one thread at a time in the whole process: the loader's functions are
 * shared.
 *
 * Shape letters: B batch, T positions, V classes, D width, N rows (B or B*T); tau a temperature. */
#ifndef VKDISTILL_H
#define VKDISTILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define VKD_API
#else
#define VKD_API __attribute__((visibility("default")))
#endif

#define VKD_VERSION "0.1.0"

/* ---- Results and the context ---------------------------------------------------------------- */

/* X(name, value, exit code of the command line, text). */
#define VKD_RESULTS(X)                                                                             \
    X(VKD_OK, 0, 0, "success")                                                                     \
    X(VKD_E_ARGUMENT, -1, 2, "invalid argument")                                                   \
    X(VKD_E_SHAPE, -2, 3, "tensor shapes do not fit")                                              \
    X(VKD_E_RECIPE, -3, 3, "invalid recipe")                                                       \
    X(VKD_E_DATA, -4, 4, "invalid data")                                                           \
    X(VKD_E_FILE, -5, 5, "file error")                                                             \
    X(VKD_E_FORMAT, -6, 4, "damaged or unsupported file")                                          \
    X(VKD_E_NO_DEVICE, -7, 6, "no usable Vulkan device")                                           \
    X(VKD_E_DEVICE_MEMORY, -8, 7, "not enough device memory")                                      \
    X(VKD_E_DEVICE_LOST, -9, 8, "the device was lost")                                             \
    X(VKD_E_DEVICE, -10, 8, "the driver reported an error")                                        \
    X(VKD_E_MEMORY, -11, 9, "out of host memory")                                                  \
    X(VKD_E_NONFINITE, -12, 10, "training diverged")                                               \
    X(VKD_E_MISMATCH, -13, 11, "results differ")                                                   \
    X(VKD_E_INTERRUPTED, -14, 130, "interrupted")

typedef enum vkd_result {
#define X(name, value, exit_code, text) name = value,
    VKD_RESULTS(X)
#undef X
} vkd_result;

/* The text of the table above; "unknown result" for any other value. */
VKD_API const char *vkd_result_text(vkd_result r);
/* The command line's exit code for a result; 1 for any other value. */
VKD_API int vkd_result_exit_code(vkd_result r);

typedef enum vkd_log_level { VKD_LOG_ERROR, VKD_LOG_WARNING, VKD_LOG_INFO } vkd_log_level;

typedef struct vkd_ctx vkd_ctx;
typedef struct vkd_device vkd_device;
typedef struct vkd_store vkd_store;
typedef struct vkd_graph vkd_graph;
typedef struct vkd_plan vkd_plan;
typedef struct vkd_program vkd_program;

typedef struct vkd_ctx_desc {
    /* Receives every message, without a newline. NULL: nothing is printed anywhere. */
    void (*log)(void *user, vkd_log_level level, const char *message);
    /* Both or neither; default malloc and free. alloc may return NULL. */
    void *(*alloc)(void *user, size_t size);
    void (*free)(void *user, void *memory);
    void *user; /* handed to the three above */
} vkd_ctx_desc;

/* desc may be NULL. Errors: VKD_E_MEMORY. */
VKD_API vkd_result vkd_ctx_create(const vkd_ctx_desc *desc, vkd_ctx **out);
VKD_API void vkd_ctx_destroy(vkd_ctx *ctx);
/* The message of the last failure, "" when there was none; valid until the next call that fails. */
VKD_API const char *vkd_ctx_error(const vkd_ctx *ctx);

/* ---- Tensors --------------------------------------------------------------------------------- */

/* The 16-bit types are made on the device alone, by vkd_cast and by the ops of a mixed graph;
 * inputs, parameters, states and outputs have none of them. */
typedef enum vkd_dtype {
    VKD_F32,
    VKD_I32,
    VKD_U8,
    VKD_F16, /* IEEE 754 binary16 */
    VKD_BF16 /* the upper half of an f32 */
} vkd_dtype;

#define VKD_MAX_AXES 5

/* Row-major: the last axis is contiguous. No axes: one value, written (). A tensor has at least one
 * element and at most 2^32 - 1, one of VKD_U8 at most 2^40; others fail the graph with
 * VKD_E_SHAPE. */
typedef struct vkd_shape {
    uint32_t axes;
    uint32_t dim[VKD_MAX_AXES];
} vkd_shape;

/* VKD_SHAPE(2, 3) is a (2, 3) shape; VKD_SCALAR is (). */
#define VKD_SHAPE(...)                                                                             \
    (vkd_shape_make((uint32_t)(sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)),              \
                    (const uint32_t[]){__VA_ARGS__}))
#define VKD_SCALAR (vkd_shape_make(0, NULL))
VKD_API vkd_shape vkd_shape_make(uint32_t axes, const uint32_t *dims);
VKD_API uint64_t vkd_shape_count(vkd_shape shape); /* elements; 1 for () */
VKD_API size_t vkd_dtype_size(vkd_dtype dtype);    /* bytes of one element */

/* A tensor of one graph; {0} is none. Builders given {0}, or a failed graph, return {0}. */
typedef struct vkd_tensor {
    uint32_t id;
} vkd_tensor;

/* ---- Store: tensors that outlive a step ------------------------------------------------------ */

/* Named persistent tensors: parameters, optimiser state, averages, data sets. Graphs that share a
 * store share them. Host values may be written before a device is there. */
VKD_API vkd_result vkd_store_create(vkd_ctx *ctx, vkd_store **out);
VKD_API void vkd_store_destroy(vkd_store *store);
VKD_API uint32_t vkd_store_count(const vkd_store *store);

typedef struct vkd_store_info {
    const char *name; /* valid until the store is destroyed */
    vkd_dtype dtype;
    vkd_shape shape;
    bool parameter; /* made by vkd_param */
    bool buffer;    /* made by vkd_buffer; a state is neither */
} vkd_store_info;

/* index < vkd_store_count. Order of creation. */
VKD_API vkd_store_info vkd_store_at(const vkd_store *store, uint32_t index);
/* false when there is no such tensor; out may be NULL. */
VKD_API bool vkd_store_find(const vkd_store *store, const char *name, vkd_store_info *out);
/* Copies a whole tensor; bytes must be its size. Waits for the steps under way.
 * Errors: VKD_E_ARGUMENT (no such tensor, other size), VKD_E_DEVICE..., VKD_E_MEMORY. */
VKD_API vkd_result vkd_store_write(vkd_store *store, const char *name, const void *data,
                                   size_t bytes);
VKD_API vkd_result vkd_store_read(vkd_store *store, const char *name, void *data, size_t bytes);

/* ---- Graph ----------------------------------------------------------------------------------- */

typedef struct vkd_graph_desc {
    const char *name; /* for messages and plans; default "graph" */
    uint32_t seed;    /* of initial values and dropout */
    /* VKD_F16 or VKD_BF16: mixed precision. Products take both operands in that type, sum in f32,
     * and give results in it where the next op may take them; activations follow. Everything else
     * (losses, softmax, norms, reductions, parameters, their gradients, optimisers) is f32, and
     * what is 16 bits wide is widened in front of it. Micikevicius et al., arXiv:1710.03740.
     * Default VKD_F32: no value is ever rounded to 16 bits. Other types: VKD_E_ARGUMENT. */
    vkd_dtype compute;
} vkd_graph_desc;

/* Mistakes in building are sticky: the first one is kept, later builders return {0}, and
 * vkd_plan_create reports it with the names of op and tensors. So model code needs no checks.
 * The store must outlive the graph. desc may be NULL. */
VKD_API vkd_result vkd_graph_create(vkd_ctx *ctx, vkd_store *store, const vkd_graph_desc *desc,
                                    vkd_graph **out);
VKD_API void vkd_graph_destroy(vkd_graph *graph);
/* VKD_OK, or the first mistake; its text is the context's error. */
VKD_API vkd_result vkd_graph_status(const vkd_graph *graph);
/* Whether the graph names that tensor of its store. */
VKD_API bool vkd_graph_uses(const vkd_graph *graph, const char *name);
VKD_API vkd_shape vkd_tensor_shape(const vkd_graph *graph, vkd_tensor t);
VKD_API vkd_dtype vkd_tensor_dtype(const vkd_graph *graph, vkd_tensor t);
/* Names a tensor in messages, plans and profiles; the text is copied. Returns t. */
VKD_API vkd_tensor vkd_name(vkd_graph *g, vkd_tensor t, const char *format, ...);

/* Leaves. */
/* Written by the host before each step, through vkd_program_input; starts as zeros. */
VKD_API vkd_tensor vkd_input(vkd_graph *g, const char *name, vkd_dtype dtype, vkd_shape shape);
/* A () input with a value that stays until the host writes another: learning rate, loss weight. */
VKD_API vkd_tensor vkd_setting(vkd_graph *g, const char *name, float value);
/* () i32, the number of steps submitted by the program before this one. Counters of random
 * numbers use it; a resumed run sets it with vkd_program_set_step. */
VKD_API vkd_tensor vkd_step(vkd_graph *g);
/* A () f32 that never changes. */
VKD_API vkd_tensor vkd_constant(vkd_graph *g, float value);

typedef enum vkd_init_kind {
    VKD_INIT_ZEROS,
    VKD_INIT_ONES,
    VKD_INIT_CONSTANT,       /* value */
    VKD_INIT_UNIFORM,        /* between -value and value */
    VKD_INIT_NORMAL,         /* mean 0, standard deviation value */
    VKD_INIT_XAVIER_UNIFORM, /* Glorot & Bengio 2010: +-gain*sqrt(6/(fan_in+fan_out)) */
    VKD_INIT_XAVIER_NORMAL,
    VKD_INIT_KAIMING_UNIFORM, /* He et al. 2015, fan_in: +-gain*sqrt(3/fan_in) */
    VKD_INIT_KAIMING_NORMAL,
    VKD_INIT_FAN_IN_UNIFORM, /* +-1/sqrt(fan_in): what PyTorch's Linear uses for weight and bias */
    VKD_INIT_KAIMING_NORMAL_FAN_OUT /* He et al. 2015 backwards: deviation gain/sqrt(fan_out); what
                                       torchvision gives convolutions, with gain sqrt(2) */
} vkd_init_kind;

/* fan_in is the product of all axes but the first, fan_out that of all but the last: weights are
 * (out, ..., in). `fan_in` overrides it where it is not 0 (for a bias).
 * The numbers depend on the graph's seed and the name after its first dot alone, so that two
 * models of one architecture start equal, on every device. */
typedef struct vkd_init {
    vkd_init_kind kind;
    float value;
    float gain; /* default 1 */
    uint32_t fan_in;
    bool no_decay; /* weight decay leaves it alone: biases, norms */
} vkd_init;

/* A trainable f32 tensor of the store, made at first use; a second graph that names it gets the
 * same one and must give the same shape. The name's part before the first dot is its group, the
 * unit of optimisation; a group takes no new members once vkd_gradient or a plan has used it. */
VKD_API vkd_tensor vkd_param(vkd_graph *g, const char *name, vkd_shape shape, const vkd_init *init);
/* An f32 tensor of the store that belongs to the group of its name as a parameter does, and is
 * saved with the model, but is not trained: no gradient, optimiser or average knows it, and the
 * group's layout leaves it out. The running statistics of batch normalisation. init may be NULL:
 * zeros. */
VKD_API vkd_tensor vkd_buffer(vkd_graph *g, const char *name, vkd_shape shape,
                              const vkd_init *init);
/* A persistent tensor that is no part of a model; zeros at first. */
VKD_API vkd_tensor vkd_state(vkd_graph *g, const char *name, vkd_dtype dtype, vkd_shape shape);

/* Asks for a copy of t after every step, under that name; of a 16-bit tensor, in f32. */
VKD_API void vkd_output(vkd_graph *g, const char *name, vkd_tensor t);

/* Gradients of a () loss with respect to `of`, emitted as nodes; a tensor that the loss does not
 * depend on gets zeros. Errors are the graph's (sticky). */
VKD_API void vkd_backward(vkd_graph *g, vkd_tensor loss, const vkd_tensor *of, uint32_t count,
                          vkd_tensor *gradients);
/* The gradient of a whole group as one flat tensor (P), in the group's layout: what optimisers
 * take. Elements between parameters are padding and stay zero. Parameters that the loss does not
 * depend on have gradient zero, and optimisers that get this tensor do not touch them at all. */
VKD_API vkd_tensor vkd_gradient(vkd_graph *g, vkd_tensor loss, const char *group);

/* ---- Ops. Shapes are checked; broadcasting is NumPy's where the comment says so -------------- */

typedef enum vkd_activation {
    VKD_ACT_NONE,
    VKD_ACT_RELU,
    VKD_ACT_GELU, /* x * Phi(x), with erf, not the tanh approximation */
    VKD_ACT_SILU, /* x * sigmoid(x) */
    VKD_ACT_TANH,
    VKD_ACT_SIGMOID,
    VKD_ACT_RELU6 /* min(max(x, 0), 6) */
} vkd_activation;

typedef struct vkd_matmul_desc {
    bool transpose_a; /* a is (..., K, M) */
    bool transpose_b; /* b is (..., N, K): a PyTorch Linear weight */
    vkd_tensor bias;  /* (N), added to each row; {0} for none */
    vkd_activation activation;
    vkd_tensor residual; /* of the result's shape, added before the activation; {0} for none */
    bool f32_result;     /* also in a mixed graph: for logits */
    bool f32_operands;   /* also in a mixed graph, and so the gradients: for losses */
} vkd_matmul_desc;

/* a (..., M, K) times b (..., K, N) gives activation(a b + bias + residual), (..., M, N). Leading
 * axes broadcast. desc may be NULL. transpose_a and transpose_b together are not supported. */
VKD_API vkd_tensor vkd_matmul(vkd_graph *g, vkd_tensor a, vkd_tensor b,
                              const vkd_matmul_desc *desc);

typedef struct vkd_conv2d_desc {
    uint32_t stride[2], padding[2], dilation[2]; /* height, width; a stride or dilation of 0 is 1 */
    uint32_t groups;                             /* 0 is 1 */
    vkd_tensor bias;                             /* (O), {0} for none */
    vkd_activation activation;
    vkd_tensor residual; /* of the result's shape, added before the activation; {0} for none */
} vkd_conv2d_desc;

/* Images are channels last. x (N, H, W, C) and weight (O, R, S, C / groups) give
 * activation(x * weight + bias + residual), (N, Y, X, O), with Y = (H + 2 padding - dilation (R -
 * 1) - 1) / stride + 1, rounded down: the cross-correlation that the field calls convolution, zeros
 * outside the image. groups divides C and O; groups == C is a depthwise convolution. desc may be
 * NULL. */
VKD_API vkd_tensor vkd_conv2d(vkd_graph *g, vkd_tensor x, vkd_tensor weight,
                              const vkd_conv2d_desc *desc);
/* The transpose, as a layer: x (N, Y, X, O) and weight (O, R, S, C / groups) give (N, H, W, C),
 * with H = (Y - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1. The bias has C
 * elements. output_padding (height, width; NULL: 0) is less than the stride. */
VKD_API vkd_tensor vkd_conv2d_transpose(vkd_graph *g, vkd_tensor x, vkd_tensor weight,
                                        const vkd_conv2d_desc *desc,
                                        const uint32_t output_padding[2]);

/* By what an average over a window that reaches into the padding is divided. */
typedef enum vkd_pool_divisor {
    VKD_POOL_COUNT_INCLUDE_PAD, /* all pixels of the kernel: PyTorch's default */
    VKD_POOL_COUNT_EXCLUDE_PAD  /* those of them that lie in the image */
} vkd_pool_divisor;

typedef struct vkd_pool2d_desc {
    uint32_t kernel[2];       /* height, width */
    uint32_t stride[2];       /* 0 is the kernel's */
    uint32_t padding[2];      /* at most half the kernel */
    vkd_pool_divisor divisor; /* of averages; default VKD_POOL_COUNT_INCLUDE_PAD */
} vkd_pool2d_desc;

/* Windows of images (N, H, W, C) to pixels (N, Y, X, C), with Y = (H + 2 padding - kernel) / stride
 * + 1, rounded down; f32. Outside the image there are zeros for averages and nothing for the
 * largest. The gradient of a largest pixel goes to the first of its window, row by row; a NaN is
 * larger than any number. */
VKD_API vkd_tensor vkd_max_pool2d(vkd_graph *g, vkd_tensor x, const vkd_pool2d_desc *desc);
VKD_API vkd_tensor vkd_avg_pool2d(vkd_graph *g, vkd_tensor x, const vkd_pool2d_desc *desc);
/* Averages of height x width bins, (N, height, width, C): bin y has rows floor(y H / height) to
 * ceil((y + 1) H / height) - 1, columns alike, as PyTorch's AdaptiveAvgPool2d. The average of a
 * whole image without its axes is vkd_mean over axes 1 and 2. */
VKD_API vkd_tensor vkd_adaptive_avg_pool2d(vkd_graph *g, vkd_tensor x, uint32_t height,
                                           uint32_t width);

/* What lies outside an image. */
typedef enum vkd_pad_mode {
    VKD_PAD_ZERO,
    VKD_PAD_REFLECT /* the image about the centres of its edge pixels: c b a b c d, as PyTorch */
} vkd_pad_mode;
/* Images (N, H, W, C) with before[0] rows above and after[0] below, before[1] columns to the left
 * and after[1] to the right; f32. Each is less than the side that it reflects. */
VKD_API vkd_tensor vkd_pad2d(vkd_graph *g, vkd_tensor x, const uint32_t before[2],
                             const uint32_t after[2], vkd_pad_mode mode);

/* x in another of f32, f16 and bf16: to the nearest, ties to even. Casting a tensor again to the
 * same type gives the same tensor. The gradient passes through, in f32. */
VKD_API vkd_tensor vkd_cast(vkd_graph *g, vkd_tensor x, vkd_dtype dtype);

/* Element by element, any shape; f32, or the type of x where that has 16 bits. */
VKD_API vkd_tensor vkd_relu(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_gelu(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_silu(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_tanh(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_sigmoid(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_relu6(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_exp(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_log(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_sqrt(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_square(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_neg(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_scale(vkd_graph *g, vkd_tensor x, float factor);
/* Element by element with broadcasting, f32. */
VKD_API vkd_tensor vkd_add(vkd_graph *g, vkd_tensor a, vkd_tensor b);
VKD_API vkd_tensor vkd_sub(vkd_graph *g, vkd_tensor a, vkd_tensor b);
VKD_API vkd_tensor vkd_mul(vkd_graph *g, vkd_tensor a, vkd_tensor b);
VKD_API vkd_tensor vkd_div(vkd_graph *g, vkd_tensor a, vkd_tensor b);

/* Reductions over the axes whose bits are set (bit 0 is axis 0); VKD_ALL_AXES over all. With keep
 * the reduced axes stay, with size 1. The gradient of max goes to the first largest element. */
#define VKD_ALL_AXES 0xffffffffu
VKD_API vkd_tensor vkd_sum(vkd_graph *g, vkd_tensor x, uint32_t axes, bool keep);
VKD_API vkd_tensor vkd_mean(vkd_graph *g, vkd_tensor x, uint32_t axes, bool keep);
VKD_API vkd_tensor vkd_max(vkd_graph *g, vkd_tensor x, uint32_t axes, bool keep);
/* The sum of the squares of the last axis, which goes: (..., D) to (...). */
VKD_API vkd_tensor vkd_sum_squares(vkd_graph *g, vkd_tensor x);

/* Over the last axis; -inf gives probability 0. */
VKD_API vkd_tensor vkd_softmax(vkd_graph *g, vkd_tensor x);
VKD_API vkd_tensor vkd_log_softmax(vkd_graph *g, vkd_tensor x);

/* Over the last axis: gamma * (x - mean) / sqrt(variance + eps) + beta, the variance without
 * Bessel's correction. gamma and beta are (D). Ba, Kiros, Hinton, arXiv:1607.06450. */
VKD_API vkd_tensor vkd_layernorm(vkd_graph *g, vkd_tensor x, vkd_tensor gamma, vkd_tensor beta,
                                 float eps);

typedef struct vkd_batchnorm_desc {
    vkd_tensor gamma, beta; /* (C) */
    /* (C). In training they are buffers or states of the store, changed in place:
     * running = (1 - momentum) running + momentum batch, the variance with Bessel's correction, as
     * PyTorch does. A channel of a batch that is not finite leaves its own alone. */
    vkd_tensor running_mean, running_var;
    float momentum, eps; /* defaults 0.1, 1e-5 */
    bool training;       /* statistics of the batch, of two values a channel at least; else the
                            running ones, which then change neither themselves nor by a gradient */
    vkd_activation activation;
    vkd_tensor residual; /* of x's shape, added before the activation; {0} for none */
} vkd_batchnorm_desc;

/* x (..., C) over all axes but the last: activation(gamma (x - mean) / sqrt(variance + eps) + beta
 * + residual), the variance without Bessel's correction. The running statistics are changed only
 * where the result is needed for something else: a plan drops a normalisation that nothing reads.
 * Ioffe & Szegedy, arXiv:1502.03167. */
VKD_API vkd_tensor vkd_batchnorm(vkd_graph *g, vkd_tensor x, const vkd_batchnorm_desc *desc);
/* What a normalisation by running statistics, without activation and residual, makes of the linear
 * layer in front of it, which has no bias: weight (C, ...), of a convolution (C, R, S, ...),
 * becomes weight * f with f = gamma / sqrt(running_var + eps), and *bias (C) beta - running_mean *
 * f. For evaluation: two operations become one; gradients flow all the same. Only gamma, beta, the
 * running statistics and eps of the description are read. */
VKD_API vkd_tensor vkd_batchnorm_fold(vkd_graph *g, vkd_tensor weight,
                                      const vkd_batchnorm_desc *desc, vkd_tensor *bias);

/* Each element is kept with probability 1-p and divided by it, or becomes 0. The mask is a function
 * of the graph's seed, `name`, vkd_step and the element's index; backward draws it again. */
VKD_API vkd_tensor vkd_dropout(vkd_graph *g, vkd_tensor x, float p, const char *name);

/* Rows of x with their largest element where it is and the others in another order, which follows
 * from the graph's seed, `name`, vkd_step and the row: for distillation with permuted predictions
 * (Furlanello et al., arXiv:1805.04770). No gradient flows through it. */
VKD_API vkd_tensor vkd_shuffle_rest(vkd_graph *g, vkd_tensor x, const char *name);

/* Rows of table (V, D) chosen by i32 indices (...): (..., D). An index outside the table gives a
 * row of zeros and receives no gradient. Backward sums in a fixed order. */
VKD_API vkd_tensor vkd_gather(vkd_graph *g, vkd_tensor table, vkd_tensor indices);

/* Packed rows (N, 2 k + 1) to logits (N, V): k log probabilities at that temperature, the logarithm
 * of what the other classes have together, and the k classes as whole numbers. The others get equal
 * shares. No gradient. */
VKD_API vkd_tensor vkd_topk_expand(vkd_graph *g, vkd_tensor packed, uint32_t V, float temperature);

/* labels (...) i32 to (..., V): 1 at the label, else 0; a label outside 0..V-1 gives zeros. */
VKD_API vkd_tensor vkd_one_hot(vkd_graph *g, vkd_tensor labels, uint32_t V);

/* Axis i of the result is axis order[i] of x. */
VKD_API vkd_tensor vkd_permute(vkd_graph *g, vkd_tensor x, const uint32_t *order);
/* Same elements, other shape; no copy. */
VKD_API vkd_tensor vkd_reshape(vkd_graph *g, vkd_tensor x, vkd_shape shape);
VKD_API vkd_tensor vkd_slice(vkd_graph *g, vkd_tensor x, uint32_t axis, uint32_t start,
                             uint32_t length);
VKD_API vkd_tensor vkd_concat(vkd_graph *g, const vkd_tensor *parts, uint32_t count, uint32_t axis);
/* The same values; no gradient flows through it. */
VKD_API vkd_tensor vkd_stop_gradient(vkd_graph *g, vkd_tensor x);
/* x / max(||x||_2, eps) over the last axis, as PyTorch's normalize (eps 1e-12 there). */
VKD_API vkd_tensor vkd_l2_normalize(vkd_graph *g, vkd_tensor x, float eps);

/* A batch out of a data set that lies on the device as bytes: data (N, ...) u8, indices (B) i32,
 * out (B, ...) f32 = (byte * scale - mean[c]) / std[c], where c is the number of the element in its
 * sample modulo `channels`: images are channels last, (N, H, W, C). */
typedef struct vkd_batch_desc {
    float scale;       /* default 1/255 */
    uint32_t channels; /* default 1; at most 4 */
    float mean[4];
    float std[4]; /* default 1 */
} vkd_batch_desc;
VKD_API vkd_tensor vkd_batch(vkd_graph *g, vkd_tensor data, vkd_tensor indices,
                             const vkd_batch_desc *desc);

/* What vkd_augment may do to each image; all zeros leave it as it is. Each number is drawn anew for
 * each image and step, uniformly, and the operations come in this order. */
typedef struct vkd_augment_desc {
    uint32_t crop; /* moved by +-crop whole pixels along each axis: as if crop pixels were padded on
                      all sides and the image's size cut out of that */
    vkd_pad_mode pad_mode; /* what is seen of the outside, by all that moves pixels */
    float flip;            /* left and right exchanged, with this probability */
    float scale;           /* magnified by 1 - scale to 1 + scale; at most 0.5 */
    float shear;  /* rows moved by +-shear times their distance from the middle; at most 1 */
    float rotate; /* turned about the middle by +-rotate degrees; at most 180 */
    float shift;  /* moved by +-shift pixels, fractions of them, along each axis */
    uint32_t randaugment_ops;       /* so many operations of RandAugment's; at most 8 */
    uint32_t randaugment_magnitude; /* all of this magnitude, 0 to 30 */
    float contrast;                 /* multiplied by 1 - contrast to 1 + contrast; at most 1 */
    float brightness;               /* +-brightness added; at most 16 */
    uint32_t cutout; /* a square with sides of so many pixels becomes 0: its middle is anywhere in
                        the image. DeVries & Taylor, arXiv:1708.04552 */
} vkd_augment_desc;

/* Images (N, H, W, C) f32 of at most 2048 x 2048 pixels, augmented: two launches. Zero should be
 * the data set's mean, as vkd_batch makes it: contrast turns about it, brightness counts in
 * standard deviations, and padding and cutout fill with it.
 *
 * What is drawn is a function of the graph's seed, `name`, vkd_step and the image's place in the
 * batch, and equal on every device to the last bit: it is integers, and so are the places that each
 * pixel is read from, in parts of 2^-16 of a pixel. All moves become one map, so that a pixel is
 * interpolated once, linearly, from four; moves of whole pixels and flips keep the bits of what
 * they move. There is no gradient.
 *
 * RandAugment (Cubuk et al., arXiv:1909.13719) draws each operation among eight of the paper's:
 * nothing, rotation, shear along x and along y, translation along x and along y, brightness,
 * contrast. At magnitude 30 these turn by 30 degrees, shear by 0.3, translate by 0.45 of the side,
 * add 0.9 and multiply by 1 - 0.9 or 1 + 0.9; smaller ones are in proportion, signs are drawn. */
VKD_API vkd_tensor vkd_augment(vkd_graph *g, vkd_tensor x, const vkd_augment_desc *desc,
                               const char *name);

/* Index of the first largest element of each row of the last axis, i32. */
VKD_API vkd_tensor vkd_argmax(vkd_graph *g, vkd_tensor x);
/* () i32: rows whose argmax equals the label; labels (N) i32; negative labels never match. */
VKD_API vkd_tensor vkd_correct(vkd_graph *g, vkd_tensor logits, vkd_tensor labels);

/* ---- Fused row losses: value and gradient in one launch over (N, V) logits ------------------- */
/* Each returns the () mean over the N rows of a loss summed over the V classes, f32. The teacher
 * gets no gradient. V is 2 to 200,000. A logit of -inf (or below -1e38) masks its class: its
 * probability is 0. A row in which either side has no class left is 0 and gets gradient 0; it still
 * counts in N. A NaN stays a NaN. tau is a () tensor, so that a schedule or a viewer may turn it
 * while a program runs. The formulas are derived in runtime/ops/<name>.c. */

/* Cross-entropy with labels (N) i32; a label outside 0..V-1, or on a masked class, makes its row 0.
 * smoothing e: target (1-e) on the label plus e/V everywhere (Szegedy et al., arXiv:1512.00567); e
 * is spread over the classes that are not masked. */
VKD_API vkd_tensor vkd_ce(vkd_graph *g, vkd_tensor logits, vkd_tensor labels, float smoothing);

/* KL(p || q), p = softmax(teacher/tau), q = softmax(student/tau); times tau^2 if t_squared. Where q
 * is 0 and p is not it is +inf; a class masked by the student is therefore taken out of p too (p is
 * renormalised over the classes that the student leaves).
 * Hinton, Vinyals, Dean, arXiv:1503.02531, section 2. */
VKD_API vkd_tensor vkd_kd_kl(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, vkd_tensor tau,
                             bool t_squared);
/* KL(q || p): mode-seeking. Where p is 0 and q is not it is +inf; a class masked by the teacher is
 * therefore taken out of q too (q is renormalised over the classes that the teacher leaves). */
VKD_API vkd_tensor vkd_kd_reverse_kl(vkd_graph *g, vkd_tensor student, vkd_tensor teacher,
                                     vkd_tensor tau, bool t_squared);

/* J = beta*KL(p || m) + (1-beta)*KL(q || m), m = beta*p + (1-beta)*q, p the teacher. */
typedef enum vkd_jsd_form {
    VKD_JSD_CONTINUOUS, /* J / (beta*(1-beta)): tends to KL(p || q) for beta->0 and to KL(q || p)
                           for beta->1; 4 J at beta = 0.5 */
    VKD_JSD_LITERATURE  /* J, which tends to 0 at both ends: a jump from the plain KLs there */
} vkd_jsd_form;
/* Generalised Jensen-Shannon divergence; in either form exactly KL(p || q) at beta = 0 and KL(q ||
 * p) at beta = 1. Agarwal et al., arXiv:2306.13649, section 2 (GKD). */
VKD_API vkd_tensor vkd_kd_jsd(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, vkd_tensor tau,
                              float beta, vkd_jsd_form form, bool t_squared);

/* Mean over rows and classes of (student - teacher)^2 on logits; a class masked by either counts as
 * 0. Ba & Caruana, arXiv:1312.6184, up to the constant. */
VKD_API vkd_tensor vkd_kd_mse(vkd_graph *g, vkd_tensor student, vkd_tensor teacher);

/* KL over k + 1 events: the teacher's k most likely classes (1 to 64; the smaller index first among
 * equals) and one bucket for all others; times tau^2 if t_squared. At most vkd_kd_kl, and equal to
 * it for k >= V. Masks as in vkd_kd_kl. */
VKD_API vkd_tensor vkd_kd_topk(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, vkd_tensor tau,
                               uint32_t k, bool t_squared);

/* Decoupled KD: alpha * TCKD + beta * NCKD, times tau^2; masks as in vkd_kd_kl; a label outside
 * 0..V-1 makes its row 0. Zhao et al., arXiv:2203.08679, eq. 7. */
VKD_API vkd_tensor vkd_dkd(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, vkd_tensor labels,
                           vkd_tensor tau, float alpha, float beta);

/* How far apart the directions of rows are. Rows (N, V) of any numbers, u = s / |s|, w = t / |t|;
 * without root the mean over rows and elements of (u - w)^2, with it the mean over rows of
 * sqrt(|u - w|^2 + 1e-12). Lengths under 1e-12 count as that. Attention transfer (Zagoruyko &
 * Komodakis, arXiv:1612.03928, eq. 2) and similarity-preserving distillation (Tung & Mori,
 * arXiv:1907.09682, eq. 4) end in it. */
VKD_API vkd_tensor vkd_unit_gap(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, bool root);

/* ---- Relations between the rows of a batch --------------------------------------------------- */

/* x (N, D) to (N, N): |x_i - x_j|, at least 1e-6 for i != j, where the gradient ends. N >= 2. */
VKD_API vkd_tensor vkd_pairwise_distance(vkd_graph *g, vkd_tensor x);
/* The two fused losses of Park, Kim, Lu, Cho, arXiv:1904.05068, () each: the Huber loss (threshold
 * 1) between what student (N, D) and teacher (N, E) say of their rows, value and gradient by the
 * student in one node. N >= 2; nothing larger than (N, N) is held. */
/* Distances, each side's divided by their mean over i != j, through which the gradient flows; mean
 * over all N^2, the zeros of i = j included. */
VKD_API vkd_tensor vkd_rkd_distance(vkd_graph *g, vkd_tensor student, vkd_tensor teacher);
/* Cosines of the angles at i between j and k; mean over all N^3, equal ones included. Rows that are
 * one point (closer than 1e-12) have the cosine 0 and no gradient. */
VKD_API vkd_tensor vkd_rkd_angle(vkd_graph *g, vkd_tensor student, vkd_tensor teacher);
/* () mean of max(0, |x_i - x_j| - |x_i - x_k| + margin) over those triplets of rows of x (N, D) for
 * which it is above 0: j of i's label, k of another. labels (N) i32, a row with a negative one
 * takes no part; 0 where there is no such triplet. Schroff et al., arXiv:1503.03832; Hermans et
 * al., arXiv:1703.07737. */
VKD_API vkd_tensor vkd_triplet(vkd_graph *g, vkd_tensor x, vkd_tensor labels, float margin);

/* ---- Contrast with samples of other classes -------------------------------------------------- */

/* Negatives for a batch: samples (N) i32, their labels (N) i32, and of the whole data set table (V)
 * i32, its samples sorted by class, and starts (classes + 1) i32: where each class begins in the
 * table, and in the end how much of it is used. Gives (N, 1 + k) i32: the sample itself, then k
 * samples of other classes, drawn anew in each step by seed, step and name. A row's draws are
 * distinct where there are k to draw from; else each comes once before any comes again. A label
 * outside 0..classes-1 draws from all; where nothing is there to draw it is -1. */
VKD_API vkd_tensor vkd_negatives(vkd_graph *g, vkd_tensor table, vkd_tensor starts,
                                 vkd_tensor samples, vkd_tensor labels, uint32_t k,
                                 const char *name);

typedef struct vkd_bank_nce_desc {
    float temperature; /* default 0.07 */
    uint32_t samples;  /* that the negatives are drawn from; default: the bank's rows */
    float decay;       /* of the constant; 0: it stays as the first step sets it */
} vkd_bank_nce_desc;
/* () noise-contrastive loss of v (N, D), D a multiple of 4 up to 512, against rows of a memory
 * bank (V, D): choices (N, 1 + k) i32 has in each row the positive one and k negatives, as
 * vkd_negatives gives them; one outside the bank counts as nothing. Scores are v . bank[i]; the
 * normalising constant is a state (1), 0 until the first step. Summed over choices, mean over rows.
 * The gradient is by v, and of the bank as it was at this node, whatever changes it later. Nothing
 * of the size (N, k, D) is held. desc may be NULL. Tian, Krishnan, Isola, arXiv:1910.10699. */
VKD_API vkd_tensor vkd_bank_nce(vkd_graph *g, vkd_tensor v, vkd_tensor bank, vkd_tensor choices,
                                vkd_tensor constant, const vkd_bank_nce_desc *desc);
/* bank[samples[n]] = the unit vector along keep * bank[samples[n]] + (1 - keep) * v[n], in place;
 * of a sample that comes several times the last row counts. bank (V, D) is a state, v (N, D),
 * samples (N) i32. */
VKD_API void vkd_bank_update(vkd_graph *g, vkd_tensor bank, vkd_tensor v, vkd_tensor samples,
                             float keep);

/* ---- Optimisers. They update a whole group in one launch ------------------------------------- */

/* Looks at the gradient once: out[0] = its global L2 norm, out[1] = the factor that the optimiser
 * applies: 1, or max_norm / (norm + 1e-6) where that is smaller and max_norm > 0 (PyTorch's
 * clip_grad_norm_), or 0 when norm or loss is not finite, which makes the optimiser skip the step.
 * State "<group>.guard" (4) i32: steps applied, skipped, skipped in a row, unused.
 * Returns (2) f32. */
VKD_API vkd_tensor vkd_guard(vkd_graph *g, const char *group, vkd_tensor gradient, vkd_tensor loss,
                             float max_norm);

/* For a mixed graph of f16: a () factor that the loss is multiplied with before vkd_gradient, so
 * that small gradients do not vanish in 16 bits. It starts as `initial` (1 to 2^24) and is moved on
 * the device by vkd_guard_scaled: doubled after growth_interval (0: 2000) steps without overflow,
 * halved by each step that overflows, which is skipped. State "<group>.loss_scale" (4) i32: binary
 * exponent relative to initial, good steps since the last change, halvings, unused. */
VKD_API vkd_tensor vkd_loss_scale(vkd_graph *g, const char *group, float initial);
/* vkd_guard for a gradient of scale times the loss; `loss` itself is not scaled. Norm and clipping
 * are those of the true gradient, and the factor divides by the scale. */
VKD_API vkd_tensor vkd_guard_scaled(vkd_graph *g, const char *group, vkd_tensor gradient,
                                    vkd_tensor loss, float max_norm, vkd_tensor scale,
                                    uint32_t growth_interval);

typedef struct vkd_sgd_desc {
    float momentum;     /* v = momentum*v + g (PyTorch's form, dampening 0; first step v = g) */
    bool nesterov;      /* update with g + momentum*v */
    float weight_decay; /* coupled: g += weight_decay*w */
} vkd_sgd_desc;
/* lr is a () tensor. State "<group>.momentum". desc may be NULL. */
VKD_API void vkd_sgd(vkd_graph *g, const char *group, vkd_tensor gradient, vkd_tensor guard,
                     vkd_tensor lr, const vkd_sgd_desc *desc);

typedef struct vkd_adamw_desc {
    float beta1, beta2, eps; /* defaults 0.9, 0.999, 1e-8 */
    float weight_decay;      /* decoupled: w -= lr*weight_decay*w before the update */
} vkd_adamw_desc;
/* w -= lr * m_hat / (sqrt(v_hat) + eps), PyTorch's placement of eps.
 * States "<group>.adam_m", "<group>.adam_v", "<group>.adam_bias" (2).
 * Loshchilov & Hutter, arXiv:1711.05101. */
VKD_API void vkd_adamw(vkd_graph *g, const char *group, vkd_tensor gradient, vkd_tensor guard,
                       vkd_tensor lr, const vkd_adamw_desc *desc);

/* average = decay*average + (1-decay)*source, over whole groups of equal layout. decay is ().
 * Parameters alone: both groups' buffers are left as they are. Who evaluates the average sees to
 * them: running statistics follow the passes that the averaging model makes in training itself, or
 * are copied with vkd_store_read and vkd_store_write. */
VKD_API void vkd_ema(vkd_graph *g, const char *average, const char *source, vkd_tensor decay);

/* ---- Device ---------------------------------------------------------------------------------- */

typedef struct vkd_device_desc {
    /* Index ("0"), part of the name, or amd, intel, nvidia, gpu, cpu. NULL: the variable
     * VKD_DEVICE, else the best: discrete before integrated before CPU. */
    const char *choice;
    bool validate; /* Khronos validation with synchronization validation; messages are counted */
    const char *cache_dir; /* pipeline cache; NULL: the user's cache folder; "" none */
} vkd_device_desc;

/* Opens a device. desc may be NULL. Blocks while the driver starts.
 * Errors: VKD_E_NO_DEVICE names what is missing: the loader, any device, the device asked for, or
 * the feature below the baseline (Vulkan 1.3, 32 KiB shared memory, 256 invocations). */
VKD_API vkd_result vkd_device_open(vkd_ctx *ctx, const vkd_device_desc *desc, vkd_device **out);
VKD_API void vkd_device_close(vkd_device *device);
VKD_API const char *vkd_device_name(const vkd_device *device);
/* Messages of the validation layers so far; 0 without them. */
VKD_API uint32_t vkd_device_validation_messages(const vkd_device *device);

/* What the planner must know of a device: limits, kernel variant, tile sizes, rough speed. */
typedef struct vkd_profile vkd_profile;
VKD_API const vkd_profile *vkd_device_profile(const vkd_device *device);

typedef enum vkd_tune {
    VKD_TUNE_OFF,   /* the table's sizes */
    VKD_TUNE_QUICK, /* what the cache has; else about 2 seconds of measuring */
    VKD_TUNE_FULL   /* every candidate on more shapes, up to a minute */
} vkd_tune;

/* Chooses the sizes that kernels are launched with (workgroups, matmul tiles) by timing candidates
 * on this device, beginning with the table's, which stay where nothing is 5 % faster. Call it
 * after vkd_device_open and before the first plan: plans made earlier keep theirs. Opening a
 * device alone never measures.
 *
 * What was chosen is kept beside the pipeline cache, by device, driver version and kernels, so
 * that later calls, in any process, choose the same at once; FULL measures again unless the cache
 * is of a FULL. Sizes can change the order of sums and so the last bits of results: two runs of
 * one seed are equal in bits while their sizes are. Without a place for the cache QUICK therefore
 * stays with the table. A device that cannot be timed, or a measurement that fails for want of
 * memory, leaves the table's sizes and says so in the log.
 * Errors: VKD_E_DEVICE_LOST, VKD_E_MEMORY. */
VKD_API vkd_result vkd_device_tune(vkd_device *device, vkd_tune mode);
/* The sizes in use as one line of text, for a log. The caller frees it with vkd_free_text. NULL: no
 * memory. */
VKD_API char *vkd_device_sizes(const vkd_device *device);
/* Plans made from now on have the sizes of such a text; NULL: the table's.
 * Errors: VKD_E_ARGUMENT: a size that this device and version cannot run; nothing is changed. */
VKD_API vkd_result vkd_device_set_sizes(vkd_device *device, const char *sizes);

/* A profile without a device, for planning: "gpu" or "cpu". NULL when there is no such one. */
VKD_API const vkd_profile *vkd_profile_find(const char *name);

/* ---- Plan ------------------------------------------------------------------------------------ */

/* Order, kernels, offsets, barriers, as plain data. Reports the graph's first mistake.
 * Errors: the graph's, VKD_E_MEMORY, VKD_E_SHAPE for a tensor that no kernel can bind. */
VKD_API vkd_result vkd_plan_create(vkd_graph *graph, const vkd_profile *profile, vkd_plan **out);
VKD_API void vkd_plan_destroy(vkd_plan *plan);

typedef struct vkd_plan_info {
    uint32_t launches, barriers, slices;
    uint64_t persistent_bytes;          /* the store's tensors that the graph names */
    uint64_t transient_bytes;           /* peak of the arenas */
    uint64_t input_bytes, output_bytes; /* of one step */
    double flops, bytes; /* of one step: arithmetic, and traffic if nothing were cached */
    double seconds;      /* predicted for one step from the profile */
} vkd_plan_info;
VKD_API vkd_plan_info vkd_plan_get_info(const vkd_plan *plan);
/* The plan as text, one launch a line. The caller frees it with vkd_free_text. NULL: no memory. */
VKD_API char *vkd_plan_print(const vkd_plan *plan);
VKD_API void vkd_free_text(vkd_ctx *ctx, char *text);

/* ---- Program --------------------------------------------------------------------------------- */

/* Records the plan; from now on a step is one call. Places the store on the device if it is not.
 * Errors: VKD_E_DEVICE_MEMORY with the arithmetic, VKD_E_DEVICE. */
VKD_API vkd_result vkd_program_create(vkd_device *device, const vkd_plan *plan, vkd_program **out);
/* Waits for its steps. */
VKD_API void vkd_program_destroy(vkd_program *program);
/* Where the host writes an input (or setting) of the next step; NULL for an unknown name. Inputs
 * keep their value from step to step. Never blocks. The pointer is valid until the next submit. */
VKD_API void *vkd_program_input(vkd_program *program, const char *name);
/* Starts one step and returns without waiting for it, but waits for the step VKD_PROGRAM_RING
 * before it; tickets count from 1. */
VKD_API vkd_result vkd_program_submit(vkd_program *program, uint64_t *ticket);
/* Waits until that step has ended. Errors: VKD_E_DEVICE_LOST with the slice's kernels. */
VKD_API vkd_result vkd_program_wait(vkd_program *program, uint64_t ticket);
/* A copy of an output of a step that was waited for; count may be NULL (elements). NULL for an
 * unknown name, or when VKD_PROGRAM_RING newer steps have been submitted since. The pointer is
 * valid until that many have. */
#define VKD_PROGRAM_RING 4
VKD_API const void *vkd_program_output(vkd_program *program, uint64_t ticket, const char *name,
                                       size_t *count);
/* The next step's number, as vkd_step sees it. */
VKD_API void vkd_program_set_step(vkd_program *program, int32_t step);
/* Runs the step once more, with the inputs as they are, node by node, and names the first tensor
 * that holds a NaN or infinity ("" when none). For diagnosis after a failure: it applies the
 * step's updates too. The text is valid until the program is destroyed. */
VKD_API vkd_result vkd_program_find_nonfinite(vkd_program *program, const char **tensor);

/* Timestamps around every launch, from now on. Off costs nothing. */
VKD_API vkd_result vkd_program_profile(vkd_program *program, bool on);
typedef struct vkd_profile_row {
    const char *kernel, *label;
    uint64_t calls;
    double seconds, flops, bytes; /* sums over the calls */
} vkd_profile_row;
/* Fills up to capacity rows, one a launch in plan order; returns how many there are. */
VKD_API uint32_t vkd_program_profile_rows(const vkd_program *program, vkd_profile_row *rows,
                                          uint32_t capacity);

#ifdef __cplusplus
}
#endif
#endif
