// SPDX-License-Identifier: Apache-2.0
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/tree.h"

/* Parses a copy of exactly that size, so that the address sanitizer sees a byte too many. */
static vkd_result parse(vkd__arena *arena, const char *text, size_t size, vkd__tree **out) {
    char *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    memcpy(exact, text, size);
    const vkd_result r = vkd__tree_parse(arena, "r.yaml", exact, size, out);
    free(exact);
    return r;
}

/* The tree in one line, with places: "{a@1: x, b@2: [y@2]}". */
static void show(const vkd__tree *node, vkd__text *out) {
    if (node->key) vkd__text_add(out, "%s", node->key);
    vkd__text_add(out, "@%s", strchr(node->where, ':') ? strchr(node->where, ':') + 1 : "");
    vkd__text_add(out, node->key ? ": " : " ");
    if (node->kind == VKD__TREE_TEXT) {
        vkd__text_add(out, "'%s'", node->text);
        return;
    }
    const bool map = node->kind == VKD__TREE_MAP;
    vkd__text_add(out, map ? "{" : "[");
    for (const vkd__tree *child = node->first; child; child = child->next) {
        show(child, out);
        if (child->next) vkd__text_add(out, ", ");
    }
    vkd__text_add(out, map ? "}" : "]");
}

static void trees_keep_order_text_and_lines(void **state) {
    (void)state;
    static const struct {
        const char *text, *tree;
    } good[] = {
        {"a: 1\nb:\n  c: 'x y'\n  d: [1, \"2\",\n    {e: f}]\n# end\n",
         "@1 {a@1: '1', b@2: {c@3: 'x y', d@4: [@4 '1', @4 '2', @5 {e@5: 'f'}]}}"},
        {"---\nlist:\n- 1\n-\n  - 2\n- k: v\n  empty:\n...\n",
         "@2 {list@2: [@3 '1', @5 [@5 '2'], @6 {k@6: 'v', empty@7: ''}]}"},
        {"a:\n  long\n  text\n", "@1 {a@1: 'long text'}"},
        {"[800, 800]", "@ [@ '800', @ '800']"},
        {"0.1", "@ '0.1'"},
        {"''", "@ ''"},
        {"\xef\xbb\xbf\"\xc3\xa9\"", "@ '\xc3\xa9'"},
    };
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(good); i++) {
        vkd__arena arena = {.ctx = ctx};
        vkd__tree *root = NULL;
        assert_int_equal(parse(&arena, good[i].text, strlen(good[i].text), &root), VKD_OK);
        vkd__text text = {.ctx = ctx};
        show(root, &text);
        assert_string_equal(text.text, good[i].tree);
        vkd__text_term(&text);
        vkd__arena_term(&arena);
    }
    vkd_ctx_destroy(ctx);
}

static void refuses(vkd_ctx *ctx, const char *text, size_t size, const char *message) {
    vkd__arena arena = {.ctx = ctx};
    vkd__tree *root = NULL;
    assert_int_equal(parse(&arena, text, size, &root), VKD_E_RECIPE);
    assert_null(root);
    if (message) assert_string_equal(vkd_ctx_error(ctx), message);
    vkd__arena_term(&arena);
}

static void what_a_recipe_may_not_hold_is_named_with_its_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "r.yaml: there is nothing in it"},
        {"# only a comment\n", "r.yaml:2: there is nothing in it"},
        {"a: 1\nb: 2\na: 3\n", "r.yaml:3: key 'a' is here a second time, the first is at r.yaml:1"},
        {"a: &x 1\n", "r.yaml:1: anchor '&x' is not supported, repeat the value"},
        {"b: 1\na: *x\n", "r.yaml:2: alias '*x' is not supported, repeat the value"},
        {"a:\n  &x [1]\n", "r.yaml:2: anchor '&x' is not supported, repeat the value"},
        {"a: &x {}\n", "r.yaml:1: anchor '&x' is not supported, repeat the value"},
        {"a: !!str 1\n", "r.yaml:1: tag 'tag:yaml.org,2002:str' is not supported, leave it out"},
        {"a: !x [1]\n", "r.yaml:1: tag '!x' is not supported, leave it out"},
        {"a: 1\n---\nb: 2\n", "r.yaml:2: a second document starts here, one is allowed"},
        {"? [1]\n: 2\n", "r.yaml:1: a key must be plain text"},
        {"a: \"\\0\"\n", "r.yaml:1: a text holds a zero byte"},
        {"a: [1, 2\nb: 3\n",
         "r.yaml:2: did not find expected ',' or ']' while parsing a flow sequence"},
        {"a: 1\n\tb: 2\n", NULL},
        {"a: \xff\n", "r.yaml: invalid leading UTF-8 octet at byte 3"},
        {"a: \x01\n", "r.yaml: control characters are not allowed at byte 3"},
    };
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(bad); i++)
        refuses(ctx, bad[i].text, strlen(bad[i].text), bad[i].message);
    vkd_ctx_destroy(ctx);
}

static void size_depth_and_number_are_limited(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    char *text = malloc(VKD__TREE_BYTES + 1);
    assert_non_null(text);
    memset(text, ' ', VKD__TREE_BYTES + 1);
    refuses(ctx, text, VKD__TREE_BYTES + 1, "r.yaml: 1048577 bytes, at most 1048576 are read");

    memset(text, '[', VKD__TREE_DEPTH + 1);
    memset(text + VKD__TREE_DEPTH + 1, ']', VKD__TREE_DEPTH + 1);
    refuses(ctx, text, 2 * (VKD__TREE_DEPTH + 1), "r.yaml: nested more than 32 deep");
    vkd__arena arena = {.ctx = ctx};
    vkd__tree *root = NULL;
    assert_int_equal(parse(&arena, text + 1, 2 * VKD__TREE_DEPTH, &root), VKD_OK);

    size_t size = 0;
    for (int i = 0; i < VKD__TREE_NODES; i++)
        size += (size_t)sprintf(text + size, "- 1\n");
    refuses(ctx, text, size, "r.yaml:10000: more than 10000 values");
    assert_int_equal(parse(&arena, text, size - 4, &root), VKD_OK);
    vkd__arena_term(&arena);
    free(text);
    vkd_ctx_destroy(ctx);
}

/* A text that ends in a bracket is incomplete wherever it is cut. */
static void every_beginning_of_a_closed_text_is_refused(void **state) {
    (void)state;
    static const char whole[] =
        "{a: [1, 'x', \"\\u00e9\", {b: c}],\n d: {e: [f, g]}, 'h': \xc3\xa9}";
    vkd_ctx *ctx = test_ctx();
    for (size_t size = 0; size < sizeof whole - 1; size++)
        refuses(ctx, whole, size, NULL);
    vkd__arena arena = {.ctx = ctx};
    vkd__tree *root = NULL;
    assert_int_equal(parse(&arena, whole, sizeof whole - 1, &root), VKD_OK);
    vkd__arena_term(&arena);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_keep_order_text_and_lines),
        cmocka_unit_test(what_a_recipe_may_not_hold_is_named_with_its_line),
        cmocka_unit_test(size_depth_and_number_are_limited),
        cmocka_unit_test(every_beginning_of_a_closed_text_is_refused),
    };
    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
