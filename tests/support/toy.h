// SPDX-License-Identifier: Apache-2.0
/* A small run for the training tests: four classes of noisy 6x6 images, a teacher, a student. */
#ifndef VKD_TEST_TOY_H
#define VKD_TEST_TOY_H

#include "support/support.h"
#include "vkdistill/train.h"

enum { TOY_TRAIN = 256, TOY_TEST = 96, TOY_SETS = 12 };

typedef struct toy {
    char folder[256]; /* of its own, under the system's temporary folder */
} toy;

/* Makes the folder and the data set in it. */
void toy_init(toy *t);
void toy_term(toy *t); /* removes them */

/* "<folder>/<name>"; the text is valid until the fourth call from now. */
const char *toy_path(const toy *t, const char *name);

/* The recipe with `sets` (NULL-terminated, may be NULL). Fails the test when it is refused. */
vkd_recipe *toy_recipe(vkd_ctx *ctx, const toy *t, const char *const *sets);

/* Runs it into "<folder>/<out>"; rows may be NULL, else room for 8, whose labels are not valid. */
vkd_result toy_run(vkd_ctx *ctx, vkd_device *device, const toy *t, const char *const *sets,
                   const vkd_run_desc *desc, const char *out, vkd_row *rows, uint32_t *row_count);

/* Whether two files of the folder hold the same bytes. */
bool toy_same(const toy *t, const char *first, const char *second);
/* The value of a key in the n-th row of <out>/metrics.jsonl that holds it, for one phase; NaN where
 * there is none. */
double toy_metric(const toy *t, const char *out, const char *phase, const char *key, int n);

/* A whole file; fails the test when it cannot be read. The caller frees it with test_free. */
char *toy_read(const char *path, size_t *size);
/* Fails the test unless both files hold the same bytes. */
void toy_same_file(const char *a, const char *b);

#endif
