// SPDX-License-Identifier: Apache-2.0
/* The bytes up to a zero byte are a recipe, those after it a --set. What is accepted prints as a
 * recipe that is accepted and prints the same. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "vkdistill/train.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void print_and_read_again(vkd_ctx *ctx, const vkd_recipe *recipe) {
    vkd_recipe *again;
    char *first = vkd_recipe_print(recipe);
    if (!first || vkd_recipe_parse(ctx, "again", first, strlen(first), NULL, 0, &again)) abort();
    char *second = vkd_recipe_print(again);
    if (!second || strcmp(first, second)) abort();
    vkd_free_text(ctx, first);
    vkd_free_text(ctx, second);
    vkd_recipe_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vkd_ctx *ctx;
    vkd_recipe *recipe;
    char *text = malloc(size + 1);
    if (!text || vkd_ctx_create(NULL, &ctx)) abort();
    memcpy(text, bytes, size);
    text[size] = 0;
    const size_t length = strlen(text);
    const char *set = text + length + 1;
    if (vkd_recipe_parse(ctx, "fuzz", text, length, &set, length < size, &recipe)) {
        if (recipe || !*vkd_ctx_error(ctx)) abort();
    } else {
        print_and_read_again(ctx, recipe);
        vkd_recipe_destroy(recipe);
    }
    vkd_ctx_destroy(ctx);
    free(text);
    return 0;
}
