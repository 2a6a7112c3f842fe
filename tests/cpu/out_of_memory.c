// SPDX-License-Identifier: Apache-2.0
/* Lets every allocation of a scenario fail in turn, alone and with all that follow it. Whatever
 * failed, the scenario must return VKD_E_MEMORY, say so in the context, and leave nothing
 * allocated. A scenario is a function and a line in the table; it frees what it made. libyaml and
 * jansson allocate for themselves and are not counted. */
#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/field.h"
#include "base/platform.h"
#include "data/dataset.h"
#include "data/idx.h"
#include "data/safetensors.h"
#include "train/model_file.h"
#include "train/session.h"
#include "train/tree.h"
#include "vkdistill/inspect.h"

/* ---- An allocator that fails when told ---- */

typedef struct memory {
    size_t live, calls;
    size_t fail_from, fail_to; /* calls from 1 that get nothing */
    bool failed;
} memory;

static void *take(void *user, size_t size) {
    memory *m = user;
    m->calls++;
    if (m->calls >= m->fail_from && m->calls <= m->fail_to) {
        m->failed = true;
        return NULL;
    }
    void *block = malloc(size);
    assert_non_null(block);
    m->live++;
    return block;
}

static void give(void *user, void *block) {
    ((memory *)user)->live--;
    free(block);
}

typedef struct scenario {
    const char *name;
    vkd_result (*run)(vkd_ctx *ctx);
} scenario;

/* One run with those calls failing; whether any did. */
static bool run_once(const scenario *s, size_t from, size_t to) {
    memory m = {.fail_from = from, .fail_to = to};
    vkd_ctx *ctx = NULL;
    vkd_result r = vkd_ctx_create(&(vkd_ctx_desc){.alloc = take, .free = give, .user = &m}, &ctx);
    if (!r) r = s->run(ctx);
    if (r != (m.failed ? VKD_E_MEMORY : VKD_OK))
        fail_msg("%s with allocation %zu of %zu failing: %s: %s", s->name, from, m.calls,
                 vkd_result_text(r), ctx ? vkd_ctx_error(ctx) : "no context");
    if (ctx && m.failed && !*vkd_ctx_error(ctx))
        fail_msg("%s with allocation %zu failing: no message", s->name, from);
    vkd_ctx_destroy(ctx);
    if (m.live) fail_msg("%s with allocation %zu failing: %zu blocks left", s->name, from, m.live);
    return m.failed;
}

static void every_failed_allocation_is_reported_and_leaves_nothing(void **state) {
    const scenario *s = *state;
    for (int rest = 0; rest < 2; rest++) {
        size_t n = 1;
        while (run_once(s, n, rest ? SIZE_MAX : n))
            n++;
        assert_true(n > 2); /* more than the context was allocated */
    }
}

/* ---- Scenarios ---- */

static char folder[] = "/tmp/vkd_memory_XXXXXX";
static char paths[5][64]; /* four IDX files and a safetensors file */

/* (4) labels and (4, 3) images, as gzip -9 packs them. */
static const uint8_t labels[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x63,
                                 0x60, 0xe0, 0x60, 0x64, 0x60, 0x60, 0x60, 0x61, 0x60, 0x62, 0x64,
                                 0x02, 0x00, 0x1b, 0xb0, 0x68, 0x7e, 0x0c, 0x00, 0x00, 0x00};
static const uint8_t images[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x63,
                                 0x60, 0xe0, 0x60, 0x62, 0x60, 0x60, 0x60, 0x01, 0x62, 0x66, 0x06,
                                 0x46, 0x26, 0x66, 0x16, 0x56, 0x36, 0x76, 0x0e, 0x4e, 0x2e, 0x6e,
                                 0x00, 0x56, 0xa9, 0x21, 0xd9, 0x18, 0x00, 0x00, 0x00};
static const float values[6] = {1, 2, 3, 4, 5, 6};
static const vkd__st_tensor tensors[] = {{"w", VKD_F32, {2, {2, 3}}, values, sizeof values},
                                         {"b", VKD_U8, {1, {5}}, labels, 5}};
static const vkd__st_pair metadata[] = {{"format", "vkd"}, {"class_names", "a\nb\nc\n"}};

static vkd_result idx_parse(vkd_ctx *ctx) {
    vkd__idx x;
    const vkd_result r = vkd__idx_parse(ctx, "f", images, sizeof images, 2, 4, 2, &x);
    vkd__free(ctx, x.values);
    return r;
}

static vkd_result load(vkd_ctx *ctx, const char *format, const char *const *pairs) {
    vkd__dataset d;
    const vkd_result r = test_load(ctx, format, pairs, &d);
    if (!r) vkd__dataset_term(ctx, &d); /* a failed load leaves nothing to free */
    return r;
}

static vkd_result idx_load(vkd_ctx *ctx) {
    return load(ctx, "idx", (const char *const[]){"dir", folder, NULL});
}

/* Planes that are interleaved, and images that are resized. */
static vkd_result idx_planes_load(vkd_ctx *ctx) {
    char path[96];
    snprintf(path, sizeof path, "%s/planes", folder);
    const char *const pairs[] = {"dir", folder, "train_images", path, "test_images",
                                 path,  "size", "[2, 3]",       NULL};
    return load(ctx, "idx", pairs);
}

static vkd_result cifar_load(vkd_ctx *ctx) {
    return load(ctx, "cifar100", (const char *const[]){"dir", folder, "labels", "coarse", NULL});
}

static vkd_result folder_load(vkd_ctx *ctx) {
    const char *const pairs[] = {"dir", folder, "size", "[2, 2]", "broken", "skip", NULL};
    return load(ctx, "folder", pairs);
}

static vkd_result differing_classes(vkd_ctx *ctx) {
    char path[96];
    snprintf(path, sizeof path, "%s/unlike", folder);
    const vkd_result r = load(ctx, "folder", (const char *const[]){"dir", path, NULL});
    return r == VKD_E_DATA ? VKD_OK : r;
}

static vkd_result safetensors_open(vkd_ctx *ctx) {
    vkd__st_file *f;
    const vkd_result r = vkd__st_open(ctx, paths[4], &f);
    vkd__st_close(f);
    return r;
}

static vkd_result safetensors_write(vkd_ctx *ctx) {
    return vkd__st_write(ctx, paths[4], tensors, VKD_COUNT(tensors), metadata, 2);
}

static vkd_result class_names(vkd_ctx *ctx) {
    vkd__st_file *f;
    char **names = NULL;
    vkd_result r = vkd__st_open(ctx, paths[4], &f);
    if (!r) r = vkd__class_names_read(ctx, f, paths[4], 3, &names);
    assert_true(!r == (names != NULL));
    vkd__class_names_free(ctx, names, 3);
    vkd__st_close(f);
    return r;
}

static vkd_result tree_read_and_set(vkd_ctx *ctx) {
    static const char text[] = "a: 1\nlist: [1, 2, {b: c}]\nm: {x: 'y'}\n";
    vkd__arena arena = {.ctx = ctx};
    vkd__tree *root;
    vkd_result r = vkd__tree_parse(&arena, "f", text, sizeof text - 1, &root);
    if (!r) r = vkd__tree_set(&arena, root, "m.new.z=[3, 4]");
    if (!r && !vkd__tree_text(&arena, vkd__tree_find(root, "m")->first)) r = VKD_E_MEMORY;
    vkd__arena_term(&arena);
    return r;
}

/* An unknown key lists the known ones, which takes memory. */
static vkd_result unknown_field(vkd_ctx *ctx) {
    static const vkd__field fields[] = {{"tau", VKD__FIELD_F32, 0, 0, 0, "4", NULL, "help"}};
    float tau;
    const vkd_result r = vkd__fields_set(ctx, fields, 1, &tau, "f:1", "otherwise", "1");
    return r == VKD_E_RECIPE ? VKD_OK : r;
}

static vkd_result folders(vkd_ctx *ctx) {
    return vkd__make_folder(ctx, folder);
}

static vkd_result list_folder(vkd_ctx *ctx) {
    char **names;
    size_t count;
    const vkd_result r = vkd__list_folder(ctx, folder, "ubyte", &names, &count);
    assert_true(!r || (!names && !count));
    for (size_t i = 0; i < count; i++)
        vkd__free(ctx, names[i]);
    vkd__free(ctx, names);
    return r;
}

/* What `vkdistill plan` does. */
static vkd_result sketch_of_a_run(vkd_ctx *ctx) {
    static const char text[] =
        "name: r\ndata: {format: idx, classes: [a, b, c]}\n"
        "models: {m: {arch: mlp, hidden: [3]}, n: {arch: mlp, hidden: [2]}}\n"
        "stages: [{name: s, train: m, losses: [{loss: ce}], optimiser: {name: sgd}, epochs: 1,"
        " batch: 2}, {train: n, teacher: m, losses: [{loss: hint, taps: [fc0]}],"
        " optimiser: {name: sgd}, epochs: 1, batch: 2, sampler: classes, per_class: 1}]\n";
    char dir[96];
    const char *const sets[] = {dir};
    snprintf(dir, sizeof dir, "data.dir=%s", folder);
    vkd_recipe *recipe = NULL;
    vkd__dataset data = {0};
    vkd__session *s = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_result r = vkd_recipe_parse(ctx, "r.yaml", text, sizeof text - 1, sets, 1, &recipe);
    if (!r) r = vkd__recipe_load_data(ctx, recipe, &data);
    if (!r) r = vkd__session_sketch(ctx, recipe, &data, &s);
    if (!r) r = vkd__graph_train(s, &s->phases[1], &g);
    if (!r) r = vkd_plan_create(g, vkd_profile_find("cpu"), &plan);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd__session_destroy(s);
    vkd__dataset_term(ctx, &data);
    vkd_recipe_destroy(recipe);
    return r;
}

/* The second of two seeds, which nobody has trained yet. */
static vkd_result inspect_run(vkd_ctx *ctx) {
    char run[96];
    vkd_inspect *i = NULL;
    vkd_inspect_news news;
    snprintf(run, sizeof run, "%s/run/seed-2", folder);
    vkd_result r = vkd_inspect_open(ctx, run, &i);
    if (!r) r = vkd_inspect_refresh(i, &news);
    if (!r && (news != VKD_INSPECT_SAME || vkd_inspect_get(i)->seed_count != 2)) r = VKD_E_DATA;
    vkd_inspect_close(i);
    return r;
}

static vkd_result metrics_read(vkd_ctx *ctx) {
    char run[96];
    vkd_metrics *m = NULL;
    const vkd_metrics_view *v = NULL;
    snprintf(run, sizeof run, "%s/run/seed-2", folder);
    vkd_result r = vkd_metrics_open(ctx, run, &m);
    if (!r) r = vkd_metrics_read(m, &v);
    if (!r && (v->rows != 2 || v->event_count != 1 || v->phases[0].series_count != 2))
        r = VKD_E_DATA;
    vkd_metrics_close(m);
    return r;
}

static vkd_result recipe_parse_and_print(vkd_ctx *ctx) {
    static const char text[] =
        "name: n\n"
        "data: {format: idx, mean: 0.5, std: 0.5, classes: [a, b]}\n"
        "models: {t: {arch: mlp, hidden: [4, 4]}, s: {arch: mlp}}\n"
        "stages:\n"
        "- {name: one, train: t, epochs: 1, losses: [{loss: ce}], optimiser: {name: adamw, lr: "
        "1},\n"
        "   schedule: {name: cosine}}\n"
        "- {name: two, train: s, teacher: t, epochs: 1, losses: [{loss: kd_kl},\n"
        "   {loss: hint, taps: [fc0, {student: fc0, teacher: fc1}]}],\n"
        "   optimiser: {name: sgd, lr: 1}, schedule: {name: constant}}\n";
    const char *set = "stages.two.losses.kd_kl.tau=8";
    vkd_recipe *recipe;
    vkd_result r = vkd_recipe_parse(ctx, "f", text, sizeof text - 1, &set, 1, &recipe);
    char *printed = r ? NULL : vkd_recipe_print(recipe);
    if (!r && !printed) r = VKD_E_MEMORY;
    vkd_free_text(ctx, printed);
    vkd_recipe_destroy(recipe);
    return r;
}

/* A training step of one layer: forward, backward, optimiser, plan. */
static vkd_result graph_and_plan(vkd_ctx *ctx) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_result r = vkd_store_create(ctx, &store);
    if (!r) r = vkd_graph_create(ctx, store, NULL, &g);
    if (!r) {
        vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(8, 4));
        vkd_tensor classes = vkd_input(g, "labels", VKD_I32, VKD_SHAPE(8));
        vkd_tensor w = vkd_param(g, "net.weight", VKD_SHAPE(3, 4),
                                 &(vkd_init){.kind = VKD_INIT_XAVIER_UNIFORM});
        vkd_tensor logits = vkd_matmul(g, x, w, &(vkd_matmul_desc){.transpose_b = true});
        vkd_tensor loss = vkd_ce(g, vkd_name(g, logits, "logits"), classes, 0.0f);
        vkd_tensor grad = vkd_gradient(g, loss, "net");
        vkd_sgd(g, "net", grad, vkd_guard(g, "net", grad, loss, 0.0f), vkd_constant(g, 0.1f), NULL);
        vkd_output(g, "loss", loss);
        r = vkd_plan_create(g, vkd_profile_find("cpu"), &plan);
    }
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return r;
}

static const scenario scenarios[] = {
    {"idx parse", idx_parse},
    {"idx load", idx_load},
    {"idx load of planes", idx_planes_load},
    {"cifar load", cifar_load},
    {"folder load", folder_load},
    {"differing classes", differing_classes},
    {"safetensors open", safetensors_open},
    {"safetensors write", safetensors_write},
    {"class names", class_names},
    {"tree", tree_read_and_set},
    {"unknown field", unknown_field},
    {"make folder", folders},
    {"list folder", list_folder},
    {"sketch of a run", sketch_of_a_run},
    {"inspect a run", inspect_run},
    {"metrics of a run", metrics_read},
    {"recipe", recipe_parse_and_print},
    {"graph and plan", graph_and_plan},
};

/* Two records of CIFAR-100 in each split, names for their coarse classes, and six images. */
static void write_data(void) {
    static const uint8_t planes[20 + 4 * 8] = {0, 0, 8, 4, 0, 0, 0, 4, 0, 0,
                                               0, 2, 0, 0, 0, 2, 0, 0, 0, 2};
    static uint8_t records[2 * 3074], file[4096];
    static const uint8_t pixels[9 * 10 * 3] = {1, 2, 3};
    const test_png_desc png = {.height = 9, .width = 10, .colour = 2, .rows = pixels};
    char text[128];
    const struct {
        const char *name;
        const void *bytes;
        size_t size;
    } files[] = {{"planes", planes, sizeof planes},
                 {"train.bin", records, sizeof records},
                 {"test.bin", records, sizeof records},
                 {"coarse_label_names.txt",
                  "a\na\na\na\na\na\na\na\na\na\n"
                  "b\nb\nb\nb\nb\nb\nb\nb\nb\nb\n",
                  40},
                 {"unlike/test/d/a.png", "", 0}};
    for (size_t i = 0; i < VKD_COUNT(files); i++) {
        snprintf(text, sizeof text, "%s/%s", folder, files[i].name);
        test_write(text, files[i].bytes, files[i].size);
    }
    static const char *const images_of[] = {"train/a/1.png",       "train/a/2.jpg", "train/a/3.png",
                                            "train/b/1.png",       "test/a/1.jpg",  "test/b/1.png",
                                            "unlike/train/c/1.png"};
    for (size_t i = 0; i < VKD_COUNT(images_of); i++) {
        const bool jpeg = strstr(images_of[i], ".jpg") != NULL;
        const size_t size = jpeg ? test_jpeg(9, 10, 3, pixels, file, sizeof file)
                                 : test_png(&png, file, sizeof file);
        snprintf(text, sizeof text, "%s/%s", folder, images_of[i]);
        test_write(text, file, i == 2 ? size / 2 : size);
    }
}

/* Two seeds of a teacher and a student with a control. */
static void write_runs(void) {
    static const char metrics[] =
        "{\"phase\": \"m\", \"stage\": \"s\", \"step\": 1, \"loss\": 1, \"ce\": 1}\n"
        "{\"phase\": \"m\", \"stage\": \"s\", \"step\": 2, \"event\": \"setting\", \"name\": "
        "\"n\", "
        "\"from\": 1, \"to\": 2}\n{";
    char recipe[640], path[128];
    const int size = snprintf(
        recipe, sizeof recipe,
        "name: r\ndata: {format: idx, dir: %s, classes: [a, b, c]}\n"
        "models: {m: {arch: mlp, hidden: [3]}, n: {arch: mlp, hidden: [2]}}\n"
        "stages: [{name: s, train: m, losses: [{loss: ce}], optimiser: {name: sgd}, epochs: 1,"
        " batch: 2}, {train: n, teacher: m, control: true, losses: [{loss: kd_kl}, {loss: hint,"
        " taps: [fc0]}], optimiser: {name: sgd}, epochs: 1, batch: 2}]\n",
        folder);
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/run/seed-%d/recipe.yaml", folder, i);
        test_write(path, recipe, (size_t)size);
        snprintf(path, sizeof path, "%s/run/seed-%d/metrics.jsonl", folder, i);
        test_write(path, metrics, sizeof metrics - 1);
    }
}

static int make_files(void **state) {
    (void)state;
    static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                        "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
                                        "m.safetensors"};
    if (!mkdtemp(folder)) return -1;
    vkd_ctx *ctx = test_ctx();
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < VKD_COUNT(names); i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
        const vkd__bytes file =
            i & 1 ? (vkd__bytes){labels, sizeof labels} : (vkd__bytes){images, sizeof images};
        if (!r && i < 4) r = vkd__write_file(ctx, paths[i], &file, 1);
    }
    if (!r) r = safetensors_write(ctx);
    write_data();
    write_runs();
    vkd_ctx_destroy(ctx);
    return r;
}

static int remove_files(void **state) {
    (void)state;
    test_remove(folder);
    return 0;
}

int main(void) {
    struct CMUnitTest tests[VKD_COUNT(scenarios)];
    for (size_t i = 0; i < VKD_COUNT(scenarios); i++)
        tests[i] = (struct CMUnitTest){
            .name = scenarios[i].name,
            .test_func = every_failed_allocation_is_reported_and_leaves_nothing,
            .initial_state = (void *)(uintptr_t)&scenarios[i],
        };
    return cmocka_run_group_tests_name("out_of_memory", tests, make_files, remove_files);
}
