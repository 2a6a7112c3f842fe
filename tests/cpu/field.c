// SPDX-License-Identifier: Apache-2.0
#include "support/support.h"

#include <float.h>
#include <locale.h>
#include <string.h>

#include "base/field.h"

typedef struct config {
    float tau, free;
    uint32_t batch, kind;
    bool nesterov;
    char dir[VKD__FIELD_TEXT_SIZE];
    vkd__u32s hidden;
} config;

static const vkd__field fields[] = {
    {"tau", VKD__FIELD_F32, offsetof(config, tau), 0.05, 100, "4", NULL, "temperature"},
    {"free", VKD__FIELD_F32, offsetof(config, free), 0, 0, "-1.5e-3", NULL, "any number"},
    {"batch", VKD__FIELD_U32, offsetof(config, batch), 1, 4096, "128", NULL, "samples"},
    {"kind", VKD__FIELD_ENUM, offsetof(config, kind), 0, 0, "literature",
     "continuous|literature|none", "which form"},
    {"nesterov", VKD__FIELD_BOOL, offsetof(config, nesterov), 0, 0, "true", NULL, "look ahead"},
    {"dir", VKD__FIELD_TEXT, offsetof(config, dir), 0, 0, NULL, NULL, "folder"},
    {"hidden", VKD__FIELD_U32S, offsetof(config, hidden), 1, 65536, "[800, 800]", NULL, "widths"},
};

static vkd_result set(vkd_ctx *ctx, config *c, const char *key, const char *text) {
    return vkd__fields_set(ctx, fields, VKD_COUNT(fields), c, "recipe.yaml:12: loss kd_kl", key,
                           text);
}

static void presets_become_the_defaults(void **state) {
    (void)state;
    config c;
    memset(&c, 0xee, sizeof c);
    vkd__fields_init(fields, VKD_COUNT(fields), &c);
    assert_true(c.tau == 4.0f && c.free == -1.5e-3f);
    assert_int_equal(c.batch, 128);
    assert_int_equal(c.kind, 1);
    assert_true(c.nesterov);
    assert_string_equal(c.dir, "");
    assert_int_equal(c.hidden.count, 2);
    assert_int_equal(c.hidden.v[1], 800);
}

static void every_type_is_read(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    config c;
    vkd__fields_init(fields, VKD_COUNT(fields), &c);
    static const struct {
        const char *key, *text;
    } good[] = {
        {"tau", "0.05"},   {"tau", "100"},      {"tau", "+1.e1"},          {"free", ".5E+2"},
        {"batch", "4096"}, {"batch", "1e2"},    {"kind", "continuous"},    {"nesterov", "no"},
        {"dir", "a b/c"},  {"hidden", "[ 7 ]"}, {"hidden", "1,2 , 65536"},
    };
    for (size_t i = 0; i < VKD_COUNT(good); i++)
        assert_int_equal(set(ctx, &c, good[i].key, good[i].text), VKD_OK);
    assert_true(c.tau == 10.0f && c.free == 50.0f);
    assert_int_equal(c.batch, 100);
    assert_int_equal(c.kind, 0);
    assert_false(c.nesterov);
    assert_string_equal(c.dir, "a b/c");
    assert_int_equal(c.hidden.count, 3);
    assert_int_equal(c.hidden.v[2], 65536);
    assert_int_equal(set(ctx, &c, "hidden", "[]"), VKD_OK);
    assert_int_equal(c.hidden.count, 0);
    vkd_ctx_destroy(ctx);
}

static void a_refused_value_says_key_text_and_range(void **state) {
    (void)state;
    static const struct {
        const char *key, *text, *message;
    } bad[] = {
        {"tau", "0", "tau is 0, must be from 0.05 to 100"},
        {"tau", "101", "tau is 101, must be from 0.05 to 100"},
        {"tau", "hot", "tau is 'hot', must be a number from 0.05 to 100"},
        {"tau", "4 ", "tau is '4 ', must be a number from 0.05 to 100"},
        {"tau", "", "tau is '', must be a number from 0.05 to 100"},
        {"tau", "nan", "tau is 'nan', must be a number from 0.05 to 100"},
        {"tau", "0x4", "tau is '0x4', must be a number from 0.05 to 100"},
        {"tau", "4e", "tau is '4e', must be a number from 0.05 to 100"},
        {"free", "inf", "free is 'inf', must be a number"},
        {"free", "1e39", "free is 1e39, must be from -3.402823466e+38 to 3.402823466e+38"},
        {"free", "1e999", "free is 1e999, must be from -3.402823466e+38 to 3.402823466e+38"},
        {"batch", "-1", "batch is -1, must be from 1 to 4096"},
        {"batch", "4294967297", "batch is 4294967297, must be from 1 to 4096"},
        {"batch", "1.5", "batch is '1.5', must be a whole number from 1 to 4096"},
        {"kind", "literatur",
         "kind is 'literatur', must be continuous, literature or none, did you mean 'literature'?"},
        {"kind", "zzzzzzzzzzzzzzz",
         "kind is 'zzzzzzzzzzzzzzz', must be continuous, literature or none"},
        {"nesterov", "maybe", "nesterov is 'maybe', must be true or false"},
        {"hidden", "[800", "hidden is '[800', must be a list such as [2, 3]"},
        {"hidden", "800]", "hidden is '800]', must be a list such as [2, 3]"},
        {"hidden", "]", "hidden is ']', must be a list such as [2, 3]"},
        {"hidden", "[", "hidden is '[', must be a list such as [2, 3]"},
        {"hidden", "[800,]", "hidden is '', must be a whole number from 1 to 65536"},
        {"hidden", "[800, x]", "hidden is 'x', must be a whole number from 1 to 65536"},
        {"hidden", "[0]", "hidden is 0, must be from 1 to 65536"},
        {"tua", "4", "unknown key 'tua', did you mean 'tau'?"},
        {"wholly_other", "4",
         "unknown key 'wholly_other', the keys are tau, free, batch, kind, nesterov, dir, hidden"},
    };
    vkd_ctx *ctx = test_ctx();
    config c, before;
    vkd__fields_init(fields, VKD_COUNT(fields), memset(&c, 0, sizeof c));
    memcpy(&before, &c, sizeof c);
    for (size_t i = 0; i < VKD_COUNT(bad); i++) {
        assert_int_equal(set(ctx, &c, bad[i].key, bad[i].text), VKD_E_RECIPE);
        char want[512] = "recipe.yaml:12: loss kd_kl: ";
        strcat(want, bad[i].message);
        assert_string_equal(vkd_ctx_error(ctx), want);
        assert_memory_equal(&before, &c, sizeof c);
    }
    vkd_ctx_destroy(ctx);
}

static void what_is_too_long_is_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    config c;
    vkd__fields_init(fields, VKD_COUNT(fields), &c);
    char text[VKD__FIELD_TEXT_SIZE + 1] = {0};
    memset(text, '1', VKD__FIELD_TEXT_SIZE);
    assert_int_equal(set(ctx, &c, "dir", text), VKD_E_RECIPE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "dir has 256 bytes, must have at most 255"));
    assert_int_equal(set(ctx, &c, "tau", text), VKD_E_RECIPE);
    text[VKD__FIELD_TEXT_SIZE - 1] = 0;
    assert_int_equal(set(ctx, &c, "dir", text), VKD_OK);
    assert_string_equal(c.dir, text);

    char list[2 * VKD__FIELD_LIST + 2] = "1";
    for (int i = 1; i < VKD__FIELD_LIST; i++)
        strcat(list, ",1");
    assert_int_equal(set(ctx, &c, "hidden", list), VKD_OK);
    assert_int_equal(c.hidden.count, VKD__FIELD_LIST);
    strcat(list, ",1");
    assert_int_equal(set(ctx, &c, "hidden", list), VKD_E_RECIPE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "hidden has more than 128 elements"));
    vkd_ctx_destroy(ctx);
}

static void without_a_place_the_message_starts_with_the_key(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    config c;
    assert_int_equal(vkd__fields_set(ctx, fields, VKD_COUNT(fields), &c, NULL, "tau", "0"),
                     VKD_E_RECIPE);
    assert_string_equal(vkd_ctx_error(ctx), "tau is 0, must be from 0.05 to 100");
    assert_int_equal(vkd__fields_set(ctx, NULL, 0, &c, "x.yaml:1", "tau", "0"), VKD_E_RECIPE);
    assert_string_equal(vkd_ctx_error(ctx), "x.yaml:1: unknown key 'tau', no key is known here");
    vkd_ctx_destroy(ctx);
}

static void texts_got_read_back_as_the_same_bits(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    config c, back;
    memset(&c, 0, sizeof c);
    memset(&back, 0, sizeof back);
    vkd__fields_init(fields, VKD_COUNT(fields), &c);
    static const float odd[] = {1044242.25f, 0.1f,        1.0f / 3, FLT_MAX,
                                -FLT_MIN,    16777217.0f, 1e-45f};
    for (size_t i = 0; i < VKD_COUNT(odd); i++) {
        c.free = odd[i];
        for (size_t k = 0; k < VKD_COUNT(fields); k++) {
            vkd__text text = {.ctx = ctx};
            vkd__fields_get(&fields[k], &c, &text);
            assert_int_equal(set(ctx, &back, fields[k].name, text.text ? text.text : ""), VKD_OK);
            vkd__text_term(&text);
        }
        assert_memory_equal(&c, &back, sizeof c);
    }
    vkd_ctx_destroy(ctx);
}

static void numbers_keep_their_point_in_any_locale(void **state) {
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "da_DK.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < VKD_COUNT(names) && !found; i++)
        found = setlocale(LC_NUMERIC, names[i]) && *localeconv()->decimal_point == ',';
    if (!found) skip();
    vkd_ctx *ctx = test_ctx();
    config c;
    vkd__fields_init(fields, VKD_COUNT(fields), &c);
    assert_int_equal(set(ctx, &c, "tau", "0.5"), VKD_OK);
    vkd__text text = {.ctx = ctx};
    vkd__fields_get(&fields[0], &c, &text);
    assert_string_equal(text.text, "0.5");
    assert_int_equal(set(ctx, &c, "tau", "0,5"), VKD_E_RECIPE);
    vkd__text_term(&text);
    setlocale(LC_NUMERIC, "C");
    vkd_ctx_destroy(ctx);
}

static void allowed_values_are_described(void **state) {
    (void)state;
    static const char *const want[] = {"a number from 0.05 to 100",
                                       "a number",
                                       "a whole number from 1 to 4096",
                                       "continuous, literature or none",
                                       "true or false",
                                       "at most 255 bytes of text",
                                       "a list of whole numbers from 1 to 65536"};
    for (size_t i = 0; i < VKD_COUNT(fields); i++) {
        char text[128];
        vkd__field_allowed(&fields[i], text, sizeof text);
        assert_string_equal(text, want[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_become_the_defaults),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(a_refused_value_says_key_text_and_range),
        cmocka_unit_test(what_is_too_long_is_refused),
        cmocka_unit_test(without_a_place_the_message_starts_with_the_key),
        cmocka_unit_test(texts_got_read_back_as_the_same_bits),
        cmocka_unit_test(numbers_keep_their_point_in_any_locale),
        cmocka_unit_test(allowed_values_are_described),
    };
    return cmocka_run_group_tests_name("field", tests, NULL, NULL);
}
