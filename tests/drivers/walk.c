// SPDX-License-Identifier: Apache-2.0
#include "walk.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "autodiff/autodiff.h"
#include "check/ceiling.h"
#include "losses/loss.h"
#include "ops/op.h"
#include "train/session.h"

/* ---- One graph ---- */

typedef vkd_result (*build_graph)(vkd_graph *g, const void *what);

static vkd_result visit_plan(walk *w, const vkd_plan *p) {
    vkd_result r = VKD_OK;
    for (size_t i = 0; !r && i < p->launch_count; i++)
        r = w->visit(w->user, &p->launches[i]);
    w->plans++;
    return r;
}

static vkd_result plan_graph(walk *w, const vkd_graph *g) {
    vkd_plan *plan = NULL;
    vkd_result r = vkd_plan_create((vkd_graph *)g, &w->profile, &plan);
    if (!r) r = visit_plan(w, plan);
    vkd_plan_destroy(plan);
    return r;
}

static vkd_result walk_graph(walk *w, build_graph build, const void *what) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_result r = vkd_store_create(w->ctx, &store);
    if (!r) r = vkd_graph_create(w->ctx, store, NULL, &g);
    if (!r) r = build(g, what);
    if (!r) r = vkd_graph_status(g);
    if (!r) r = plan_graph(w, g);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return r;
}

/* Outputs and gradients; what neither is nor leads to one would not be planned. */
static void watch(vkd_graph *g, const char *prefix, uint32_t i, vkd_tensor t) {
    char name[32];
    snprintf(name, sizeof name, "walk.%s%u", prefix, (unsigned)i);
    if (t.id) vkd_output(g, name, t);
}

/* ---- Every case of every op, forward and backward ---- */

typedef struct op_case {
    const vkd_op_def *op;
    uint32_t index;
} op_case;

static vkd_result build_op(vkd_graph *g, const void *what) {
    const op_case *o = what;
    vkd__case c = {.g = g, .index = o->index};
    o->op->build_case(&c);
    vkd_tensor of[VKD__CASE_INPUTS], gradients[VKD__CASE_INPUTS] = {{0}},
                                     seeds[VKD__MAX_OUT] = {{0}};
    uint32_t count = 0;
    bool any = false;
    for (uint32_t i = 0; i < c.input_count; i++)
        if (c.inputs[i].differentiate) of[count++] = c.inputs[i].tensor;
    for (uint32_t i = 0; i < c.output_count && !vkd_graph_status(g); i++) {
        const vkd__tensor *t = vkd__tensor_get(g, c.outputs[i]);
        char name[32];
        snprintf(name, sizeof name, "walk.seed%u", (unsigned)i);
        if (!count || !t->needs_grad) continue;
        seeds[i] = vkd_input(g, name, VKD_F32, t->shape);
        any = true;
    }
    if (any) vkd__backward_from(g, c.outputs, seeds, c.output_count, of, count, gradients);
    for (uint32_t i = 0; i < c.output_count; i++)
        watch(g, "out", i, c.outputs[i]);
    for (uint32_t i = 0; any && i < count; i++)
        watch(g, "gradient", i, gradients[i]);
    return vkd_graph_status(g);
}

static vkd_result walk_ops(walk *w) {
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < vkd__op_count; i++)
        for (uint32_t k = 0; !r && k < vkd__ops[i]->case_count; k++)
            r = walk_graph(w, build_op, &(op_case){vkd__ops[i], k});
    return r;
}

/* Windows: what a device that binds little is given. Rows that do not fit are refused. */
static vkd_result walk_windows(walk *w) {
    const vkd_profile whole = w->profile;
    vkd_result r = VKD_OK;
    w->profile.max_binding = 2048;
    for (size_t i = 0; i < vkd__op_count; i++)
        for (uint32_t k = 0; !r && k < vkd__ops[i]->case_count; k++) {
            r = walk_graph(w, build_op, &(op_case){vkd__ops[i], k});
            if (r == VKD_E_SHAPE) r = VKD_OK;
        }
    w->profile = whole;
    return r;
}

/* ---- Products of each class, aligned and ragged, with each epilogue and their gradients ---- */

typedef struct product {
    uint32_t M, N, K;
    bool transpose_a, transpose_b, bias;
    vkd_activation activation;
    vkd_dtype compute;
} product;

static vkd_result build_product(vkd_graph *g, const void *what) {
    const product *p = what;
    g->compute = p->compute;
    vkd_tensor of[3] = {
        vkd_param(g, "net.a", p->transpose_a ? VKD_SHAPE(p->K, p->M) : VKD_SHAPE(p->M, p->K), NULL),
        vkd_param(g, "net.b", p->transpose_b ? VKD_SHAPE(p->N, p->K) : VKD_SHAPE(p->K, p->N),
                  NULL)};
    if (p->bias) of[2] = vkd_param(g, "net.bias", VKD_SHAPE(p->N), NULL);
    const vkd_tensor y = vkd_matmul(g, of[0], of[1],
                                    &(vkd_matmul_desc){.transpose_a = p->transpose_a,
                                                       .transpose_b = p->transpose_b,
                                                       .bias = of[2],
                                                       .activation = p->activation});
    const vkd_tensor seed = vkd_input(g, "seed", VKD_F32, VKD_SHAPE(p->M, p->N));
    vkd_tensor gradients[3] = {{0}};
    vkd__backward_from(g, &y, &seed, 1, of, p->bias ? 3 : 2, gradients);
    watch(g, "out", 0, y);
    for (uint32_t i = 0; i < 3; i++)
        watch(g, "gradient", i, gradients[i]);
    return vkd_graph_status(g);
}

/* Of a mixed graph the least and the most: its epilogue is the other's, and there are as many tiles
 * again. */
static vkd_result walk_half(walk *w, product p) {
    p.compute = VKD_F16;
    vkd_result r = walk_graph(w, build_product, &p);
    p.bias = true;
    p.activation = VKD_ACT_TANH;
    return r ? r : walk_graph(w, build_product, &p);
}

static vkd_result walk_epilogues(walk *w, product p) {
    vkd_result r = w->profile.coop.m ? walk_half(w, p) : VKD_OK;
    for (uint32_t bias = 0; bias < 2; bias++)
        for (uint32_t a = VKD_ACT_NONE; !r && a <= VKD_ACT_RELU6; a++) {
            p.bias = bias;
            p.activation = (vkd_activation)a;
            r = walk_graph(w, build_product, &p);
        }
    return r;
}

/* Large, small, narrow; 7 more make each length odd in turn. */
static vkd_result walk_products(walk *w) {
    static const uint32_t sizes[][3] = {
        {2048, 2048, 256}, {256, 512, 784}, {128, 12, 512}, {12, 512, 128}};
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < VKD_COUNT(sizes); i++)
        for (uint32_t odd = 0; odd < 8; odd++)
            for (uint32_t layout = 0; !r && layout < 3; layout++)
                r = walk_epilogues(w, (product){.M = sizes[i][0] + (odd & 1),
                                                .N = sizes[i][1] + (odd >> 1 & 1),
                                                .K = sizes[i][2] + (odd >> 2),
                                                .transpose_a = layout == 2,
                                                .transpose_b = layout == 1});
    return r;
}

/* ---- Every loss, fused and composed, narrow and as wide as a vocabulary ---- */

typedef struct loss_form {
    const vkd__loss_def *def;
    vkd__loss_shapes shapes;
    const vkd__loss_case *example; /* NULL: of a loss on logits */
    bool fused;
} loss_form;

static vkd_result configure(vkd_ctx *ctx, const loss_form *l, void *config) {
    const vkd__loss_def *d = l->def;
    vkd_result r = VKD_OK;
    vkd__fields_init(d->fields, d->field_count, config);
    for (size_t i = 0; l->example && i < VKD_COUNT(l->example->set) && !r; i++)
        if (l->example->set[i][0])
            r = vkd__fields_set(ctx, d->fields, d->field_count, config, d->name,
                                l->example->set[i][0], l->example->set[i][1]);
    return r;
}

static vkd_result build_loss(vkd_graph *g, const void *what) {
    const loss_form *l = what;
    max_align_t config[8];
    if (l->def->config_size > sizeof config)
        return vkd__fail(g->ctx, VKD_E_ARGUMENT, "the options of '%s' are too long", l->def->name);
    const vkd_result r = configure(g->ctx, l, config);
    if (r) return r;
    const vkd_tensor loss = vkd__loss_alone(g, l->def, config, &l->shapes, 2, l->fused);
    const uint32_t count = vkd_store_count(g->store);
    watch(g, "out", 0, loss);
    for (uint32_t i = 0; i < count; i++) {
        const vkd_store_info info = vkd_store_at(g->store, i);
        if (!info.parameter) continue;
        const vkd_tensor of = vkd_param(g, info.name, info.shape, NULL);
        vkd_tensor gradient = {0};
        vkd_backward(g, loss, &of, 1, &gradient);
        watch(g, "gradient", i, gradient);
    }
    return vkd_graph_status(g);
}

static vkd_result walk_form(walk *w, loss_form l) {
    vkd_result r = VKD_OK;
    for (uint32_t fused = 0; !r && fused <= (l.def->fused != NULL); fused++) {
        l.fused = fused;
        r = walk_graph(w, build_loss, &l);
    }
    return r;
}

static vkd_result walk_losses(walk *w) {
    static const uint32_t sizes[][2] = {
        {128, 10}, {64, 67}, {64, 1000}, {2048, 4096}, {512, 50257}};
    vkd_result r = VKD_OK;
    for (size_t l = 0; l < vkd__loss_count; l++) {
        const vkd__loss_def *d = vkd__losses[l];
        for (size_t i = 0; !d->case_count && i < VKD_COUNT(sizes) && !r; i++)
            r = walk_form(w, (loss_form){.def = d, .shapes = {.N = sizes[i][0], .V = sizes[i][1]}});
        for (size_t i = 0; i < d->case_count && !r; i++) {
            const vkd__loss_case *c = &d->cases[i];
            loss_form f = {.def = d, .example = c};
            f.shapes.N = c->student[0].dim[0];
            f.shapes.V = c->pair_count ? 10 : c->student[0].dim[1];
            f.shapes.pair_count = c->pair_count;
            memcpy(f.shapes.student, c->student, sizeof c->student);
            memcpy(f.shapes.teacher, c->teacher, sizeof c->teacher);
            r = walk_form(w, f);
        }
    }
    return r;
}

/* ---- Every recipe ---- */

/* Takes the graph over. */
static vkd_result walk_session_graph(walk *w, vkd_result made, vkd_graph *g) {
    const vkd_result r = made ? made : plan_graph(w, g);
    vkd_graph_destroy(g);
    return r;
}

static vkd_result walk_logits(walk *w, vkd__session *s, const vkd__recipe_model *m,
                              const char *group, const char *split, uint32_t count) {
    vkd_graph *g = NULL;
    const uint32_t most = s->recipe->evaluation.batch;
    const vkd_result r =
        vkd__graph_infer(s, m, group, split, count, most < count ? most : count, &g);
    return walk_session_graph(w, r, g);
}

/* A stage that labels trains nothing. */
static vkd_result walk_phase(walk *w, vkd__session *s, const vkd__phase *p) {
    if (p->stage->label) {
        const vkd__recipe_model *teacher = &s->recipe->models[p->stage->teacher];
        return walk_logits(w, s, teacher, teacher->name, "data.train", s->data->train.count);
    }
    vkd_graph *g = NULL;
    vkd_result r = vkd__graph_train(s, p, &g);
    r = walk_session_graph(w, r, g);
    return r ? r : walk_logits(w, s, p->model, p->group, "data.test", s->data->test.count);
}

static vkd_result walk_recipe(walk *w, const char *path) {
    /* Plans ask for a data set's sizes and its labels, not for its images. */
    static int32_t labels[60000];
    const vkd__dataset data = {.sample = VKD_SHAPE(28, 28, 1),
                               .channels = 1,
                               .classes = 10,
                               .train = {.count = VKD_COUNT(labels), .labels = labels},
                               .test = {.count = 10000, .labels = labels}};
    vkd_recipe *recipe = NULL;
    vkd__session *s = NULL;
    for (uint32_t i = 0; i < VKD_COUNT(labels); i++)
        labels[i] = (int32_t)(i % 10);
    vkd_result r = vkd_recipe_load(w->ctx, path, NULL, 0, &recipe);
    if (!r) r = vkd__session_sketch(w->ctx, recipe, &data, &s);
    for (uint32_t i = 0; !r && i < s->phase_count; i++)
        r = walk_phase(w, s, &s->phases[i]);
    vkd__session_destroy(s);
    vkd_recipe_destroy(recipe);
    return r;
}

static vkd_result walk_recipes(walk *w) {
    DIR *dir = opendir("recipes");
    if (!dir) return vkd__fail(w->ctx, VKD_E_FILE, "cannot open the folder 'recipes'");
    vkd_result r = VKD_OK;
    for (struct dirent *e = readdir(dir); e && !r; e = readdir(dir)) {
        char path[512];
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".yaml")) continue;
        snprintf(path, sizeof path, "recipes/%s", e->d_name);
        r = walk_recipe(w, path);
    }
    closedir(dir);
    return r;
}

/* ---- What `bench` measures a device by ---- */

static vkd_result build_flops(vkd_graph *g, const void *cpu) {
    (void)vkd__ceiling_flops_graph(g, *(const bool *)cpu);
    return vkd_graph_status(g);
}

static vkd_result build_copy(vkd_graph *g, const void *bytes) {
    (void)vkd__ceiling_copy_graph(g, *(const uint64_t *)bytes);
    return vkd_graph_status(g);
}

/* ---- Every profile ---- */

static vkd_result walk_profile(walk *w) {
    vkd_result r = walk_ops(w);
    if (!r) r = walk_windows(w);
    if (!r) r = walk_products(w);
    if (!r) r = walk_losses(w);
    if (!r) r = walk_recipes(w);
    if (!r) r = walk_graph(w, build_flops, &w->profile.direct);
    if (!r) r = walk_graph(w, build_copy, &(uint64_t){1 << 20});
    return r;
}

/* A kernel's sizes come from one knob, so each is turned by itself. */
vkd_result walk_all(walk *w) {
    const vkd_profile base = w->profile;
    vkd_result r = walk_profile(w);
    for (size_t k = 0; k < vkd__knob_count; k++)
        for (uint32_t c = 0; !r && c < vkd__knobs[k].count; c++) {
            w->profile = base;
            if (vkd__knobs[k].set(&w->profile, c)) r = walk_profile(w);
        }
    w->profile = base;
    return r;
}
