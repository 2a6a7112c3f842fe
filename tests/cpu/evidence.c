// SPDX-License-Identifier: Apache-2.0
/* What tests/evidence/run --full sets: each recipe that a table of docs/methods.md is made from has
 * published sizes, and they are what the recipe can be given. */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "train/recipe.h"

enum { SETS = 96, LONGEST = 200 };

/* The settings of a recipe, a word each. */
static size_t read_sets(const char *recipe, char words[SETS][LONGEST], const char *sets[SETS]) {
    char path[300];
    snprintf(path, sizeof path, "tests/evidence/full/%s", recipe);
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("there is no %s", path);
    size_t count = 0;
    while (count < SETS && fgets(words[count], LONGEST, file)) {
        const size_t length = strcspn(words[count], "\n");
        assert_true(length > 0 && length + 1 < LONGEST);
        words[count][length] = '\0';
        sets[count] = words[count];
        count++;
    }
    assert_true(feof(file) && count > 0);
    fclose(file);
    return count;
}

static void check_recipe(const char *recipe) {
    static char words[SETS][LONGEST];
    const char *sets[SETS];
    char path[300];
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *plain = NULL, *full = NULL;
    const size_t count = read_sets(recipe, words, sets);
    snprintf(path, sizeof path, "recipes/%s.yaml", recipe);
    if (vkd_recipe_load(ctx, path, NULL, 0, &plain) ||
        vkd_recipe_load(ctx, path, sets, (uint32_t)count, &full))
        fail_msg("%s: %s", recipe, vkd_ctx_error(ctx));
    char *one = vkd_recipe_print(plain), *two = vkd_recipe_print(full);
    assert_string_not_equal(one, two);
    vkd_free_text(ctx, one);
    vkd_free_text(ctx, two);
    vkd_recipe_destroy(plain);
    vkd_recipe_destroy(full);
    vkd_ctx_destroy(ctx);
}

static void every_table_has_published_sizes(void **state) {
    (void)state;
    FILE *page = fopen("docs/methods.md", "r");
    assert_non_null(page);
    char line[4096];
    uint32_t tables = 0, recipes = 0;
    while (fgets(line, sizeof line, page)) {
        if (strncmp(line, "<!-- table ", 11) != 0 && strncmp(line, "<!-- compare ", 13) != 0)
            continue;
        tables++;
        for (const char *word = line; (word = strstr(word, "recipes/")); recipes++) {
            char name[64];
            assert_int_equal(sscanf(word, "recipes/%63[a-z0-9_].yaml", name), 1);
            check_recipe(name);
            word += 8;
        }
    }
    fclose(page);
    assert_true(tables > 5 && recipes > 15);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_table_has_published_sizes)};
    return cmocka_run_group_tests_name("evidence", tests, NULL, NULL);
}
