// SPDX-License-Identifier: Apache-2.0
/* augment_draw: for each image of a batch what augment.c does to it, in integers alone, so that it
 * is the same on every device. Words come from Philox at counter (8 image + block, step), key
 * (seed, stream of name); each has a place of its own, so that an option turned on leaves the
 * numbers of the others as they are. A word w gives a number from -most to most as floor(w (2 most
 * + 1) / 2^32) - most.
 *
 * Parts of 2^16 are meant by "fixed". The map from the result's pixels p, from the middle, to the
 * image's is m p + t. An operation that is done later is undone first: p there is what its inverse
 * makes of p here, so m and t become m a and t + m b for an inverse a p + b. In (y, x):
 *
 *   move by d       a = 1, b = -d
 *   flip            a = diag(1, -1)
 *   magnify by s    a = 1 / s
 *   shear by k      a = (1, 0; -k, 1) along x, (1, -k; 0, 1) along y
 *   turn by angle   a = (cos, sin; -sin, cos)
 *
 * cos and sin come from CORDIC rotations (Volder 1959), whose steps are shifts and additions. */
#include <math.h>

#include "base/philox.h"
#include "ops/augment.h"

#define ONE 65536           /* fixed */
#define HALF_TURN 843314857 /* pi in parts of 2^28 */

/* ---- The description in integers ---- */

/* RandAugment's operations at magnitude 30. */
static const struct {
    double degrees, shear, move, brightness, contrast; /* move: of the image's side */
} randaugment = {30, 0.3, 0.45, 0.9, 0.9};

static vkd_u32 fixed(double v) {
    return (vkd_u32)llround(v * ONE);
}

static vkd_u32 angle(double degrees) {
    return (vkd_u32)llround(degrees / 180 * HALF_TURN);
}

struct vkd_augment_draw_params vkd__augment_most(const vkd_augment_desc *d, vkd_shape image) {
    const double m = d->randaugment_magnitude / 30.0;
    const uint32_t height = image.dim[1], width = image.dim[2];
    return (struct vkd_augment_draw_params){
        .count = image.dim[0],
        .height = height,
        .width = width,
        .crop = d->crop,
        .flip = (vkd_u32)llround((double)d->flip * 0x1p24),
        .shift = fixed((double)d->shift),
        .angle = angle((double)d->rotate),
        .scale = fixed((double)d->scale),
        .shear = fixed((double)d->shear),
        .cutout = d->cutout,
        .brightness = fixed((double)d->brightness),
        .contrast = fixed((double)d->contrast),
        .ra_ops = d->randaugment_ops,
        .ra_angle = angle(m * randaugment.degrees),
        .ra_shear = fixed(m * randaugment.shear),
        .ra_move_y = fixed(m * randaugment.move * height),
        .ra_move_x = fixed(m * randaugment.move * width),
        .ra_brightness = fixed(m * randaugment.brightness),
        .ra_contrast = fixed(m * randaugment.contrast),
    };
}

/* ---- Arithmetic, as in the kernel ---- */

static uint32_t below(uint32_t word, uint32_t count) {
    return (uint32_t)((uint64_t)word * count >> 32);
}

static int32_t between(uint32_t word, uint32_t most) {
    return (int32_t)below(word, 2 * most + 1) - (int32_t)most;
}

/* A right shift of a negative number is one of its complement, whatever the compiler makes of it.
 */
static int64_t shifted(int64_t v, int by) {
    return v < 0 ? ~(~v >> by) : v >> by;
}

static int32_t clamped(int64_t v, int32_t most) {
    return (int32_t)(v < -most ? -most : v > most ? most : v);
}

/* a b of two fixed numbers, rounded. */
static int32_t times(int32_t a, int32_t b) {
    return (int32_t)shifted((int64_t)a * b + ONE / 2, 16);
}

static void turn(int32_t by, int32_t *cosine, int32_t *sine) {
    static const int32_t atans[] = {/* of 2^-i, in parts of 2^28 */
                                    210828714, 124459457, 65760959, 33381290, 16755422, 8385879,
                                    4193963,   2097109,   1048571,  524287,   262144,   131072,
                                    65536,     32768,     16384,    8192,     4096,     2048,
                                    1024,      512,       256,      128,      64,       32};
    const bool back = by > HALF_TURN / 2 || by < -(HALF_TURN / 2);
    int32_t z = !back ? by : by > 0 ? by - HALF_TURN : by + HALF_TURN;
    int32_t x = 652032874, y = 0; /* what the steps stretch, undone; parts of 2^30 */
    for (int i = 0; i < (int)VKD_COUNT(atans); i++) {
        const int32_t dx = (int32_t)shifted(y, i), dy = (int32_t)shifted(x, i);
        x = z >= 0 ? x - dx : x + dx;
        y = z >= 0 ? y + dy : y - dy;
        z = z >= 0 ? z - atans[i] : z + atans[i];
    }
    x = (int32_t)shifted((int64_t)x + 8192, 14);
    y = (int32_t)shifted((int64_t)y + 8192, 14);
    *cosine = back ? -x : x;
    *sine = back ? -y : y;
}

/* ---- One image ---- */

typedef struct drawing {
    int32_t yy, yx, xy, xx; /* m, fixed */
    int32_t ty, tx;         /* t, fixed */
    int32_t gain, offset;   /* fixed */
} drawing;

enum { MOST_SCALE = 4 * ONE, MOST_MOVE = 4096 * ONE, MOST_COLOUR = 128 * ONE };

static void follow(drawing *d, int32_t yy, int32_t yx, int32_t xy, int32_t xx) {
    const drawing m = *d;
    d->yy = clamped((int64_t)times(m.yy, yy) + times(m.yx, xy), MOST_SCALE);
    d->yx = clamped((int64_t)times(m.yy, yx) + times(m.yx, xx), MOST_SCALE);
    d->xy = clamped((int64_t)times(m.xy, yy) + times(m.xx, xy), MOST_SCALE);
    d->xx = clamped((int64_t)times(m.xy, yx) + times(m.xx, xx), MOST_SCALE);
}

static void move(drawing *d, int32_t y, int32_t x) {
    d->ty = clamped((int64_t)d->ty - times(d->yy, y) - times(d->yx, x), MOST_MOVE);
    d->tx = clamped((int64_t)d->tx - times(d->xy, y) - times(d->xx, x), MOST_MOVE);
}

static void rotate(drawing *d, int32_t by) {
    int32_t c, s;
    turn(by, &c, &s);
    follow(d, c, s, -s, c);
}

static void multiply(drawing *d, int32_t factor) {
    d->gain = clamped(times(d->gain, factor), MOST_COLOUR);
    d->offset = clamped(times(d->offset, factor), MOST_COLOUR);
}

static void add(drawing *d, int32_t amount) {
    d->offset = clamped((int64_t)d->offset + amount, MOST_COLOUR);
}

static void random_operation(const struct vkd_augment_draw_params *p, drawing *d, uint32_t choice,
                             uint32_t sign) {
    const int32_t s = sign & 0x80000000u ? -1 : 1;
    switch (below(choice, 8)) {
    case 0:
        break;
    case 1:
        rotate(d, s * (int32_t)p->ra_angle);
        break;
    case 2:
        follow(d, ONE, 0, -s * (int32_t)p->ra_shear, ONE);
        break;
    case 3:
        follow(d, ONE, -s * (int32_t)p->ra_shear, 0, ONE);
        break;
    case 4:
        move(d, 0, s * (int32_t)p->ra_move_x);
        break;
    case 5:
        move(d, s * (int32_t)p->ra_move_y, 0);
        break;
    case 6:
        add(d, s * (int32_t)p->ra_brightness);
        break;
    default:
        multiply(d, ONE + s * (int32_t)p->ra_contrast);
    }
}

/* The range [middle - size / 2, + size) of a side, as far as it is there. */
static void cut(uint32_t word, uint32_t size, uint32_t side, int32_t *first, int32_t *end) {
    const int32_t at = (int32_t)below(word, side) - (int32_t)(size / 2);
    const int32_t behind = at + (int32_t)size;
    *first = at < 0 ? 0 : at;
    *end = behind > (int32_t)side ? (int32_t)side : behind;
}

/* From the middle to the first pixel. */
static int32_t from_corner(const struct vkd_augment_draw_params *p, int32_t t, uint32_t side,
                           int32_t y, int32_t x) {
    const int64_t middle =
        shifted((int64_t)y * ((int32_t)p->height - 1) + (int64_t)x * ((int32_t)p->width - 1), 1);
    return (int32_t)(t + (int64_t)(side - 1) * (ONE / 2) - middle);
}

void vkd__augment_drawn(const struct vkd_augment_draw_params *p, uint32_t step, uint32_t image,
                        int32_t out[VKD_AUGMENT_NUMBERS]) {
    uint32_t w[32];
    for (uint32_t i = 0; i < VKD_COUNT(w); i++)
        w[i] = vkd__philox_at(p->seed, p->stream, step, 8 * image + i / 4).v[i % 4];
    drawing d = {.yy = ONE, .xx = ONE, .gain = ONE};
    move(&d, between(w[0], p->crop) * ONE, between(w[1], p->crop) * ONE);
    if (w[2] >> 8 < p->flip) follow(&d, ONE, 0, 0, -ONE);
    /* 2^32 / s: 2^16 over a fixed number, fixed. */
    const int32_t inverse =
        (int32_t)(((uint64_t)1 << 32) / (uint32_t)(ONE + between(w[4], p->scale)));
    follow(&d, inverse, 0, 0, inverse);
    follow(&d, ONE, 0, -between(w[5], p->shear), ONE);
    rotate(&d, between(w[6], p->angle));
    move(&d, between(w[8], p->shift), between(w[9], p->shift));
    for (uint32_t i = 0; i < p->ra_ops; i++)
        random_operation(p, &d, w[16 + 2 * i], w[17 + 2 * i]);
    multiply(&d, ONE + between(w[10], p->contrast));
    add(&d, between(w[11], p->brightness));
    const int32_t numbers[] = {from_corner(p, d.ty, p->height, d.yy, d.yx), d.yy, d.yx, d.gain,
                               from_corner(p, d.tx, p->width, d.xy, d.xx),  d.xy, d.xx, d.offset};
    for (uint32_t i = 0; i < VKD_COUNT(numbers); i++)
        out[i] = numbers[i];
    cut(w[12], p->cutout, p->height, &out[VKD__AUGMENT_CUT_TOP], &out[VKD__AUGMENT_CUT_BOTTOM]);
    cut(w[13], p->cutout, p->width, &out[VKD__AUGMENT_CUT_LEFT], &out[VKD__AUGMENT_CUT_RIGHT]);
}

/* ---- The op ---- */

vkd_tensor vkd__augment_draw(vkd_graph *g, const struct vkd_augment_draw_params *p) {
    return vkd__emit1(g, &vkd_op_augment_draw, vkd_step(g), p, sizeof *p);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const struct vkd_augment_draw_params *p = n->params;
    vkd__node_out(g, n, 0, VKD_I32, VKD_SHAPE(p->count, VKD_AUGMENT_NUMBERS));
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const struct vkd_augment_draw_params *p = n->params;
    const uint64_t bytes = 4ull * VKD_AUGMENT_NUMBERS * p->count;
    if (bytes > l->profile->max_binding)
        return vkd__lower_fail(l, VKD_E_SHAPE,
                               "the numbers of %u images do not fit into a binding of %llu bytes "
                               "on this device; use smaller batches",
                               p->count, (unsigned long long)l->profile->max_binding);
    vkd__launch *launch = vkd__launch_add(l, "augment_draw");
    if (!launch) return false;
    vkd__bind(launch, n->in[0], VKD__READ);
    vkd__bind(launch, n->out[0], VKD__WRITE);
    vkd__push(launch, p, sizeof *p);
    vkd__grid(l, launch, vkd__div_up(p->count, l->profile->flat_workgroup));
    vkd__cost(launch, 2000.0 * p->count, (double)bytes);
    return true;
}

static void reference(const vkd__ref *r) {
    const struct vkd_augment_draw_params *p = r->node->params;
    for (uint32_t i = 0; i < p->count; i++) {
        int32_t numbers[VKD_AUGMENT_NUMBERS];
        vkd__augment_drawn(p, (uint32_t)(int32_t)r->in[0].v[0], i, numbers);
        for (uint32_t k = 0; k < VKD_AUGMENT_NUMBERS; k++)
            r->out[0].v[(uint64_t)i * VKD_AUGMENT_NUMBERS + k] = numbers[k];
    }
}

static void build_case(vkd__case *c) {
    static const struct {
        const char *what;
        vkd_augment_desc d;
        uint32_t image[3];
    } cases[] = {
        {"crop and flip", {.crop = 4, .flip = 0.5f}, {130, 32, 32}},
        {"all affine", {.shift = 1.5f, .rotate = 15, .scale = 0.2f, .shear = 0.1f}, {67, 28, 21}},
        {"half turns", {.rotate = 180, .scale = 0.5f, .shear = 1}, {100, 2048, 1}},
        {"colour and cutout", {.cutout = 8, .brightness = 16, .contrast = 1}, {33, 28, 28}},
        {"randaugment", {.randaugment_ops = 8, .randaugment_magnitude = 30}, {257, 32, 224}},
        {"nothing", {0}, {1, 1, 1}},
    };
    c->what = cases[c->index].what;
    const uint32_t *size = cases[c->index].image;
    struct vkd_augment_draw_params p =
        vkd__augment_most(&cases[c->index].d, VKD_SHAPE(size[0], size[1], size[2], 1));
    p.seed = 0x80000001u + c->index;
    p.stream = vkd__philox_stream("case");
    vkd__case_output(c, vkd__augment_draw(c->g, &p));
}

const vkd_op_def vkd_op_augment_draw = {
    .name = "augment_draw",
    .summary = "what augment does to each image, drawn",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 6,
    .build_case = build_case,
    .no_difference_test = "integers have no gradient",
};
