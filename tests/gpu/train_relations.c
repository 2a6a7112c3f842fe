// SPDX-License-Identifier: Apache-2.0
/* Runs with losses over relations between samples and with memory banks: they learn, what they keep
 * is in the checkpoint, and a run that was stopped goes on to the same bits. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/safetensors.h"
#include "support/toy.h"
#include "train/predict.h"

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
} bench;

#define CRD "{loss: crd, weight: 0.8, taps: [fc0], k: 50, dim: 8"

static const char *const once[] = {"stages.distil.losses=[{loss: ce}, " CRD "}]", NULL};
static const char *const ema[] = {"stages.distil.losses=[{loss: ce}, " CRD ", z: ema}]", NULL};

static void run(const bench *b, const char *const *sets, const char *out) {
    if (toy_run(b->ctx, b->device, &b->data, sets, NULL, out, NULL, NULL))
        fail_msg("%s", vkd_ctx_error(b->ctx));
}

static void refuse(const bench *b, const char *const *sets, vkd_result want, const char *words) {
    static int count;
    char out[32];
    snprintf(out, sizeof out, "refused-%d", count++);
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, NULL, out, NULL, NULL), want);
    if (!strstr(vkd_ctx_error(b->ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(b->ctx), words);
}

static int open_bench(void **state) {
    bench *b = test_calloc(1, sizeof *b);
    b->ctx = test_ctx();
    b->device = test_device(b->ctx);
    toy_init(&b->data);
    run(b, NULL, "plain");
    run(b, once, "once");
    *state = b;
    return 0;
}

static int close_bench(void **state) {
    bench *b = *state;
    toy_term(&b->data);
    test_device_close(b->device);
    vkd_ctx_destroy(b->ctx);
    test_free(b);
    return 0;
}

/* First and last value of a term in the metrics of the student. */
static void ends(const bench *b, const char *out, const char *term, double *first, double *last) {
    *first = *last = (double)NAN;
    for (int n = 0;; n++) {
        const double value = toy_metric(&b->data, out, "student", term, n);
        if (isnan(value)) break;
        if (!n) *first = value;
        *last = value;
    }
    print_message("          %s: %g to %g\n", term, *first, *last);
}

static void relations_come_nearer_to_the_teachers(void **state) {
    static const char *const names[] = {"rkd_distance", "rkd_angle", "crd"};
    const bench *b = *state;
    const char *const sets[] = {"stages.distil.losses=[{loss: rkd_distance, weight: 1, taps: "
                                "[fc0]}, {loss: rkd_angle, weight: 2, taps: [fc0]}]",
                                "stages.distil.epochs=20", NULL};
    const char *const contrast[] = {once[0], "stages.distil.epochs=20", NULL};
    run(b, sets, "rkd");
    run(b, contrast, "crd");
    for (size_t i = 0; i < VKD_COUNT(names); i++) {
        double first, last;
        ends(b, i < 2 ? "rkd" : "crd", names[i], &first, &last);
        assert_true(last < 0.8 * first);
    }
}

/* It learns from the labels alone, in a stage without teacher. */
static void a_teacher_learns_from_triplets(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"stages.teach.losses=[{loss: triplet, taps: [fc0]}]",
                                "stages.teach.epochs=8", NULL};
    run(b, sets, "triplet");
    const double first = toy_metric(&b->data, "triplet", "teacher", "triplet", 0);
    double last = first;
    for (int n = 1; !isnan(toy_metric(&b->data, "triplet", "teacher", "triplet", n)); n++)
        last = toy_metric(&b->data, "triplet", "teacher", "triplet", n);
    assert_true(first > 0 && last < first);
}

/* Learned on two classes, looked for among the samples of two others. */
static void a_metric_finds_neighbours_of_classes_that_it_has_not_seen(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"models.teacher={arch: mlp, hidden: [33], embedding: 6, "
                                "embedding_unit: true}",
                                "stages.teach.losses=[{loss: triplet, taps: [embedding]}]",
                                "stages.teach.classes=[0, 1]",
                                "evaluation.retrieval={tap: embedding, classes: [2, 3]}",
                                "models.student={arch: mlp, hidden: [5], embedding: 6}",
                                NULL};
    vkd_row rows[8];
    uint32_t count = 0;
    if (toy_run(b->ctx, b->device, &b->data, sets, NULL, "metric", rows, &count))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    assert_int_equal(count, 3);
    for (uint32_t i = 0; i < count; i++) {
        print_message("          recall@1 %.3f\n", rows[i].recall_at_1.mean);
        assert_true(rows[i].recall_at_1.mean > 0.3 && rows[i].recall_at_1.mean <= 1);
    }
    assert_true(rows[0].recall_at_1.mean > 0.6); /* chance is a half */
    /* The saved model has its embedding, as a tap of unit length. */
    const char *const taps[] = {"embedding"};
    char path[300];
    snprintf(path, sizeof path, "%s", toy_path(&b->data, "metric/teacher.safetensors"));
    const vkd__predictor_desc desc = {
        .path = path, .input = VKD_F32, .batch = 3, .taps = taps, .tap_count = 1};
    vkd__predictor p = {0};
    if (vkd__predictor_create(b->ctx, b->device, &desc, &p)) fail_msg("%s", vkd_ctx_error(b->ctx));
    float samples[3 * 36], logits[3 * 4], embeddings[3 * 6], *outs[] = {logits, embeddings};
    assert_int_equal(p.outs[1].count, 6);
    for (int i = 0; i < 3 * 36; i++)
        samples[i] = sinf((float)(i * i));
    assert_int_equal(vkd__predictor_run(&p, samples, 3, outs), VKD_OK);
    for (int n = 0; n < 3; n++) {
        float sum = 0;
        for (int d = 0; d < 6; d++)
            sum += embeddings[6 * n + d] * embeddings[6 * n + d];
        assert_true(fabsf(sum - 1) < 1e-5f);
    }
    vkd__predictor_destroy(&p);
    /* Another run takes the file up, and needs to be told of the embedding. */
    char load[450];
    snprintf(load, sizeof load, "models.teacher={arch: mlp, hidden: [33], load: '%s'%s}", path,
             ", embedding: 6, embedding_unit: true");
    const char *const again[] = {load, "stages.teach.epochs=1", NULL};
    run(b, again, "again");
    snprintf(load, sizeof load, "models.teacher={arch: mlp, hidden: [33], load: '%s'}", path);
    refuse(b, again, VKD_E_SHAPE, "tensors");
}

static vkd__st_file *open_file(const bench *b, const char *name) {
    vkd__st_file *f = NULL;
    if (vkd__st_open(b->ctx, toy_path(&b->data, name), &f)) fail_msg("%s", vkd_ctx_error(b->ctx));
    return f;
}

static bool stop_at_zero(void *user) {
    return --*(int *)user <= 0;
}

/* The checkpoint of a run that was stopped after so many steps of all phases, which have 30, 20 and
 * 20. */
static vkd__st_file *stopped(const bench *b, const char *const *sets, int left, const char *out) {
    const vkd_run_desc first = {.stop = stop_at_zero, .user = &left};
    char path[64];
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, &first, out, NULL, NULL),
                     VKD_E_INTERRUPTED);
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", out);
    return open_file(b, path);
}

static const vkd__st_tensor *state_of(const vkd__st_file *f, const char *what, uint32_t rows) {
    char name[96];
    snprintf(name, sizeof name, "student.adapter.crd.%s", what);
    const vkd__st_tensor *t = vkd__st_find(f, name);
    if (!t) fail_msg("the checkpoint has no '%s'", name);
    assert_int_equal(t->shape.dim[0], rows);
    return t;
}

static void a_checkpoint_holds_banks_constants_and_samples(void **state) {
    const bench *b = *state;
    vkd__st_file *f = stopped(b, once, 60, "states");
    static const char *const sides[] = {"student", "teacher"};
    for (int side = 0; side < 2; side++) {
        char what[32];
        snprintf(what, sizeof what, "0.%s.bank", sides[side]);
        const vkd__st_tensor *bank = state_of(f, what, TOY_TRAIN);
        uint32_t unit = 0;
        for (size_t i = 0; i < TOY_TRAIN; i++) {
            float row[8], sum = 0;
            memcpy(row, (const char *)bank->data + i * sizeof row, sizeof row);
            for (int d = 0; d < 8; d++)
                sum += row[d] * row[d];
            unit += fabsf(sum - 1) < 1e-5f;
        }
        /* Ten steps of the last phase have seen so many of the samples. */
        assert_true(unit >= TOY_TRAIN / 2);
        snprintf(what, sizeof what, "0.%s.constant", sides[side]);
        float constant;
        memcpy(&constant, state_of(f, what, 1)->data, sizeof constant);
        assert_true(constant > 0);
        snprintf(what, sizeof what, "0.%s.weight", sides[side]);
        state_of(f, what, 8);
    }
    const vkd__st_tensor *samples = state_of(f, "samples", TOY_TRAIN);
    bool seen[TOY_TRAIN] = {false};
    for (size_t i = 0; i < TOY_TRAIN; i++) {
        int32_t sample;
        memcpy(&sample, (const char *)samples->data + i * sizeof sample, sizeof sample);
        assert_true(sample >= 0 && sample < TOY_TRAIN && !seen[sample]);
        seen[sample] = true;
    }
    state_of(f, "starts", 5);
    vkd__st_close(f);
    f = open_file(b, "once/student.safetensors");
    for (size_t i = 0; i < vkd__st_count(f); i++)
        assert_null(strstr(vkd__st_at(f, i)->name, "adapter"));
    vkd__st_close(f);
}

static void only_samples_of_the_stage_are_drawn(void **state) {
    const bench *b = *state;
    const char *const sets[] = {once[0], "stages.distil.samples=160",
                                "stages.distil.omit_classes=[2]", "stages.distil.control=false",
                                NULL};
    vkd__st_file *f = stopped(b, sets, 34, "fewer");
    const vkd__st_tensor *starts = state_of(f, "starts", 5);
    int32_t begin[5];
    memcpy(begin, starts->data, sizeof begin);
    assert_int_equal(begin[0], 0);
    assert_true(begin[1] > 0 && begin[2] > begin[1]);
    assert_int_equal(begin[3], begin[2]); /* nobody is of class 2 */
    assert_true(begin[4] > begin[3] && begin[4] < 160);
    state_of(f, "samples", (uint32_t)begin[4]);
    vkd__st_close(f);
}

static void same_tensors(const bench *b, const char *one, const char *two) {
    char path[64];
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", one);
    vkd__st_file *f = open_file(b, path);
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", two);
    vkd__st_file *g = open_file(b, path);
    assert_int_equal(vkd__st_count(f), vkd__st_count(g));
    for (size_t i = 0; i < vkd__st_count(f); i++) {
        const vkd__st_tensor *x = vkd__st_at(f, i), *y = vkd__st_find(g, x->name);
        assert_non_null(y);
        assert_int_equal(x->bytes, y->bytes);
        assert_memory_equal(x->data, y->data, x->bytes);
    }
    vkd__st_close(f);
    vkd__st_close(g);
}

static void a_stopped_run_goes_on_to_the_same_bits(void **state) {
    const bench *b = *state;
    static const int stops[] = {50, 51, 63};
    run(b, ema, "ema");
    for (size_t i = 0; i < VKD_COUNT(stops); i++)
        for (int moving = 0; moving < 2; moving++) {
            int left = stops[i];
            char out[32];
            const char *const *sets = moving ? ema : once, *whole = moving ? "ema" : "once";
            snprintf(out, sizeof out, "%s-%d", whole, stops[i]);
            const vkd_run_desc first = {.stop = stop_at_zero, .user = &left};
            const vkd_run_desc rest = {.resume = true};
            assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, &first, out, NULL, NULL),
                             VKD_E_INTERRUPTED);
            if (toy_run(b->ctx, b->device, &b->data, sets, &rest, out, NULL, NULL))
                fail_msg("%s", vkd_ctx_error(b->ctx));
            char one[64], two[64];
            snprintf(one, sizeof one, "%s/student.safetensors", whole);
            snprintf(two, sizeof two, "%s/student.safetensors", out);
            assert_true(toy_same(&b->data, one, two));
            same_tensors(b, whole, out);
        }
    assert_false(toy_same(&b->data, "once/student.safetensors", "ema/student.safetensors"));
}

static void the_control_knows_nothing_of_banks(void **state) {
    const bench *b = *state;
    assert_true(toy_same(&b->data, "plain/teacher.safetensors", "once/teacher.safetensors"));
    const char *const plain[] = {"stages.distil.losses=[{loss: ce}]", NULL};
    run(b, plain, "ce");
    assert_true(
        toy_same(&b->data, "ce/student_control.safetensors", "once/student_control.safetensors"));
}

static void mixed_precision_contrasts_too(void **state) {
    const bench *b = *state;
    const char *const sets[] = {once[0], "precision=mixed", NULL};
    run(b, sets, "mixed");
    const double a = toy_metric(&b->data, "once", "student", "crd", 0);
    const double c = toy_metric(&b->data, "mixed", "student", "crd", 0);
    assert_true(fabs(a - c) < 0.02 * a && a != c);
}

static void mistakes_are_named(void **state) {
    const bench *b = *state;
    const char *const width[] = {"stages.distil.losses=[{loss: crd, taps: [fc0], dim: 6}]", NULL};
    refuse(b, width, VKD_E_SHAPE, "dim must be a multiple of 4");
    const char *const one[] = {once[0], "stages.distil.omit_classes=[0, 1, 3]", NULL};
    refuse(b, one, VKD_E_DATA, "samples of different classes");
    const char *const pairs[] = {"stages.distil.losses=[{loss: rkd_angle, taps: [fc0]}]",
                                 "stages.distil.batch=1", "stages.distil.epochs=1", NULL};
    refuse(b, pairs, VKD_E_SHAPE, "use a larger batch");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relations_come_nearer_to_the_teachers),
        cmocka_unit_test(a_teacher_learns_from_triplets),
        cmocka_unit_test(a_metric_finds_neighbours_of_classes_that_it_has_not_seen),
        cmocka_unit_test(a_checkpoint_holds_banks_constants_and_samples),
        cmocka_unit_test(only_samples_of_the_stage_are_drawn),
        cmocka_unit_test(a_stopped_run_goes_on_to_the_same_bits),
        cmocka_unit_test(the_control_knows_nothing_of_banks),
        cmocka_unit_test(mixed_precision_contrasts_too),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests_name("train_relations", tests, open_bench, close_bench);
}
