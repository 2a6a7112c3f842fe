// SPDX-License-Identifier: Apache-2.0
/* Training on augmented images: a run that stopped draws on as if it had not, a control sees what
 * its student sees, and the teacher really looks at what it is shown. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/toy.h"

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
} bench;

#define AUGMENT                                                                                    \
    "stages.distil.augment={crop: 1, flip: 0.5, rotate: 20, cutout: 2, brightness: 0.25, "         \
    "randaugment_ops: 1}"

static const char *const augmented[] = {AUGMENT, NULL};

static int open_bench(void **state) {
    bench *b = test_calloc(1, sizeof *b);
    b->ctx = test_ctx();
    b->device = test_device(b->ctx);
    toy_init(&b->data);
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

static void run(const bench *b, const char *const *sets, const char *out) {
    if (toy_run(b->ctx, b->device, &b->data, sets, NULL, out, NULL, NULL))
        fail_msg("%s", vkd_ctx_error(b->ctx));
}

static bool stop_at_zero(void *user) {
    return --*(int *)user <= 0;
}

static void an_interrupted_run_draws_the_same_again(void **state) {
    const bench *b = *state;
    static const int stops[] = {37, 50, 63}; /* phases of 30, 20 and 20 steps */
    run(b, augmented, "whole");
    for (size_t i = 0; i < VKD_COUNT(stops); i++) {
        int left = stops[i];
        char out[32], file[64];
        snprintf(out, sizeof out, "stopped-%d", stops[i]);
        const vkd_run_desc first = {.stop = stop_at_zero, .user = &left};
        assert_int_equal(toy_run(b->ctx, b->device, &b->data, augmented, &first, out, NULL, NULL),
                         VKD_E_INTERRUPTED);
        const vkd_run_desc rest = {.resume = true};
        if (toy_run(b->ctx, b->device, &b->data, augmented, &rest, out, NULL, NULL))
            fail_msg("%s", vkd_ctx_error(b->ctx));
        snprintf(file, sizeof file, "%s/student.safetensors", out);
        assert_true(toy_same(&b->data, "whole/student.safetensors", file));
        snprintf(file, sizeof file, "%s/student_control.safetensors", out);
        assert_true(toy_same(&b->data, "whole/student_control.safetensors", file));
    }
    run(b, NULL, "plain");
    assert_true(toy_same(&b->data, "whole/teacher.safetensors", "plain/teacher.safetensors"));
    assert_false(toy_same(&b->data, "whole/student.safetensors", "plain/student.safetensors"));
}

static void a_control_sees_the_images_of_its_student(void **state) {
    const bench *b = *state;
    const char *const sets[] = {AUGMENT, "stages.distil.losses=[{loss: ce}]", NULL};
    run(b, sets, "equal");
    assert_true(
        toy_same(&b->data, "equal/student.safetensors", "equal/student_control.safetensors"));
}

/* A student that is its teacher, left alone, agrees with it on whatever both are shown; on logits
 * of the images as they were it would not. */
static void the_teacher_looks_at_the_augmented_images(void **state) {
    const bench *b = *state;
    char load[2][400];
    run(b, NULL, "twin");
    for (int i = 0; i < 2; i++)
        snprintf(load[i], sizeof load[i], "models.%s.load=%s", i ? "student" : "teacher",
                 toy_path(&b->data, "twin/teacher.safetensors"));
    const char *const sets[] = {
        "models.student={arch: mlp, hidden: [33]}",
        load[0],
        load[1],
        "stages=[{name: distil, train: student, teacher: teacher, losses: [{loss: kd_kl, tau: 3}], "
        "optimiser: {name: sgd, lr: 0}, epochs: 1, batch: 24}]",
        AUGMENT,
        NULL};
    run(b, sets, "alike");
    for (int i = 0; i < 2; i++) {
        const double kl = toy_metric(&b->data, "alike", "student", "kd_kl", i);
        if (!(fabs(kl) < 1e-6))
            fail_msg("row %d: kd_kl is %g", i, kl); /* rounding of log and exp */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interrupted_run_draws_the_same_again),
        cmocka_unit_test(a_control_sees_the_images_of_its_student),
        cmocka_unit_test(the_teacher_looks_at_the_augmented_images),
    };
    return cmocka_run_group_tests_name("train_augment", tests, open_bench, close_bench);
}
