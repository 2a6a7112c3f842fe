// SPDX-License-Identifier: Apache-2.0
/* `vkdistill bench` and the driver of its peers, from outside: what they print and store, and what
 * they say to mistakes. How fast anything is, is no test's business. */
#include "support/support.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct answer {
    int code;
    char out[1 << 17]; /* standard error after standard output */
} answer;

/* "@" in the command stands for a folder of the test's own, "%" for the program. */
static char folder[] = "/tmp/vkdistill-bench-XXXXXX";

static void expand(char *to, size_t size, const char *text) {
    size_t used = 0;
    for (; *text; text++) {
        const char one[2] = {*text, 0};
        const char *part = *text == '@' ? folder : *text == '%' ? VKD_PROGRAM : one;
        assert_true(used + strlen(part) < size);
        memcpy(to + used, part, strlen(part));
        used += strlen(part);
    }
    to[used] = 0;
}

static const answer *ask(const char *text) {
    static answer a;
    char command[2048];
    expand(command, sizeof command, text);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    a.out[fread(a.out, 1, sizeof a.out - 1, out)] = 0;
    const int status = pclose(out);
    assert_true(WIFEXITED(status));
    a.code = WEXITSTATUS(status);
    return &a;
}

static void expect(const char *command, int code, const char *words) {
    char wanted[256];
    expand(wanted, sizeof wanted, words);
    const answer *a = ask(command);
    if (a->code != code || !strstr(a->out, wanted))
        fail_msg("%s\nexit code %d, not %d, or without '%s':\n%s", command, a->code, code, words,
                 a->out);
}

static void write_text(const char *name, const char *text) {
    char path[256];
    expand(path, sizeof path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static json_t *load(const char *name) {
    char path[256];
    json_error_t error;
    expand(path, sizeof path, name);
    json_t *all = json_load_file(path, 0, &error);
    if (!all) fail_msg("%s: line %d: %s", path, error.line, error.text);
    return all;
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

static bool is_text(const json_t *object, const char *key) {
    return json_string_length(json_object_get(object, key)) > 0;
}

static int setup(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    test_device_close(test_device(ctx)); /* skips where there is none */
    vkd_ctx_destroy(ctx);
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

/* ---- vkdistill bench ---- */

static void a_result_says_of_what_it_is_one(void **state) {
    (void)state;
    expect("% bench --only 'add 1024' --runs 1 --out @/a.json 2>&1", 0, "a.json\n");
    assert_int_equal(ask("% bench --only 'add 1024' --runs 1 --json --out @/b.json >@/c.json 2>&1 "
                         "&& cmp @/b.json @/c.json")
                         ->code,
                     0);
    json_t *all = load("@/a.json");
    assert_true(is_text(all, "program") && is_text(all, "device") && is_text(all, "driver"));
    assert_true(is_text(all, "sizes"));
    assert_true(number(all, "ceiling_gflops") > 0 && number(all, "ceiling_gbytes") > 0);
    const json_t *host = json_object_get(all, "host");
    assert_true(number(host, "submit_us") > 0 && number(host, "empty_us") > 0);
    assert_int_equal(json_array_size(json_object_get(host, "launch_us")), 3);
    const json_t *rows = json_object_get(all, "rows");
    assert_int_equal(json_array_size(rows), 1);
    const json_t *row = json_array_get(rows, 0);
    assert_string_equal(json_string_value(json_object_get(row, "name")), "add 1024x1024");
    assert_true(number(row, "seconds") > 0 && number(row, "share") > 0);
    const double bytes = number(row, "gbytes") * 1e9 * number(row, "seconds");
    assert_true(fabs(bytes - 3 * 4 * 1024 * 1024.0) < 1);
    json_decref(all);
}

static void the_table_has_a_heading_and_the_rows_asked_for(void **state) {
    (void)state;
    const answer *a = ask("% bench --only 'KD step, MLP 400' --runs 1 2>&1");
    assert_int_equal(a->code, 0);
    const char *head = strstr(a->out, "kernel and shape");
    assert_non_null(head);
    assert_non_null(strstr(head, "of ceiling\nKD step, MLP 400-400 to 100, batch 128"));
    assert_null(strstr(head, "matmul"));
}

static void a_file_that_cannot_be_written_is_an_error(void **state) {
    (void)state;
    expect("% bench --only nonesuch --out @/none/a.json 2>&1", 5, "none/a.json");
}

/* ---- Turns ---- */

static void a_served_row_answers_seconds(void **state) {
    (void)state;
    const answer *a = ask("printf '0 0\\n0 2\\n' | % bench --serve --only 'NN 256x256' 2>&1");
    assert_int_equal(a->code, 0);
    char copy[sizeof a->out];
    memcpy(copy, a->out, sizeof copy);
    json_t *lines[3];
    char *line = copy;
    for (int i = 0; i < 3; i++) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = 0;
        lines[i] = json_loads(line, 0, NULL);
        assert_non_null(lines[i]);
        line = end + 1;
    }
    assert_string_equal(line, "");
    const json_t *rows = json_object_get(lines[0], "rows");
    assert_int_equal(json_array_size(rows), 1);
    assert_int_equal((int)number(json_array_get(rows, 0), "row"), 0);
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "work")),
                        "matmul_nn");
    assert_true(json_is_true(json_object_get(json_array_get(rows, 0), "multiplies")));
    assert_true(number(lines[1], "ceiling_gflops") > 0 && number(lines[1], "ceiling_gbytes") > 0);
    assert_true(number(lines[2], "seconds") > 0);
    for (int i = 0; i < 3; i++)
        json_decref(lines[i]);
}

static void what_cannot_be_served_is_named(void **state) {
    (void)state;
    expect("echo one 2 | % bench --serve 2>&1", 2, "'one 2' must be a row below");
    expect("echo 10000 2 | % bench --serve 2>&1", 2, "'10000 2'");
    expect("echo 3 | % bench --serve 2>&1", 2, "'3' must be");
    expect("echo 3 -1 | % bench --serve 2>&1", 2, "'3 -1'");
    expect("echo 3 1 1 | % bench --serve 2>&1", 2, "'3 1 1'");
    expect("% bench --serve --json 2>&1 </dev/null", 2, "no --json, no --out");
    expect("% bench --serve --out @/a 2>&1 </dev/null", 2, "no --json, no --out");
}

/* ---- The driver. Another program stands for PyTorch, which need not be installed. ---- */

#define PEERS "python3 tests/peers/run % --only 'add 1024' --rounds 3 --sample 1 --tune off "

static bool python(void) {
    if (ask("python3 -c '' 2>&1")->code == 0) return true;
    print_message("no python3: the driver of the peers is not tested\n");
    return false;
}

static void a_peer_stands_in_the_table_beside_us(void **state) {
    (void)state;
    if (!python()) return;
    write_text("@/slow", "echo '{\"peer\": \"a slow one\", \"about\": {}}'\n"
                         "while read -r line; do echo '{\"seconds\": 1000.0}'; done\n");
    write_text("@/none", "echo '{\"peer\": \"a lazy one\", \"about\": {}}'\n"
                         "while read -r line; do echo '{\"unknown\": \"add\"}'; done\n");
    const answer *a =
        ask(PEERS "--peer 'sh @/slow' --peer 'sh @/none' --out @/peers.json 2>@/log || cat @/log");
    if (a->code) fail_msg("%s", a->out);
    assert_non_null(strstr(a->out, "\npeer 1: a slow one\npeer 2: a lazy one\n"));
    const char *row = strstr(a->out, "\nadd 1024x1024 ");
    assert_non_null(row);
    assert_non_null(strstr(row, " 1000000.0 (1000000.0-1000000.0)"));
    json_t *all = load("@/peers.json");
    assert_true(is_text(json_object_get(all, "machine"), "cpu"));
    assert_true(number(json_object_get(all, "machine"), "cores") >= 1);
    assert_true(is_text(json_object_get(all, "ours"), "driver"));
    const json_t *first = json_array_get(json_object_get(all, "rows"), 0);
    const json_t *ours = json_object_get(first, "ours"), *peers = json_object_get(first, "peers");
    assert_int_equal(json_array_size(json_object_get(ours, "samples")), 3);
    assert_true(number(ours, "lower") <= number(ours, "seconds"));
    assert_true(number(ours, "seconds") <= number(ours, "upper"));
    assert_int_equal(json_array_size(peers), 2);
    const double speed = number(json_array_get(peers, 0), "speed");
    assert_true(fabs(speed * number(ours, "seconds") / 1000 - 1) < 1e-6);
    assert_true(json_is_null(json_array_get(peers, 1)));
    json_decref(all);
    assert_int_equal(ask(PEERS "--peer 'sh @/none' --json --out @/b.json >@/c.json 2>@/log && "
                               "cmp @/b.json @/c.json")
                         ->code,
                     0);
}

/* A depthwise convolution multiplies, but what it moves takes longer. */
static void a_row_that_streams_is_compared_with_a_copy(void **state) {
    (void)state;
    expect("% bench --only 'dw 64x14x14x192 to 192 by 3/2' --runs 1 --out @/a.json 2>&1", 0, "dw");
    json_t *all = load("@/a.json");
    const json_t *row = json_array_get(json_object_get(all, "rows"), 0);
    const double multiplied = number(row, "gflops") / number(all, "ceiling_gflops");
    assert_true(multiplied > 0);
    assert_true(fabs(number(row, "share") / multiplied - 1) > 1e-6);
    json_decref(all);
    if (!python()) return;
    write_text("@/none", "echo '{\"peer\": \"a lazy one\", \"about\": {}}'\n"
                         "while read -r line; do echo '{\"unknown\": \"it\"}'; done\n");
    expect("python3 tests/peers/run % --only 'dw 64x14x14x192 to 192 by 3/2' --rounds 1 --sample 1 "
           "--tune off --peer 'sh @/none' --out @/a.json 2>&1",
           0, "dw");
    all = load("@/a.json");
    row = json_array_get(json_object_get(all, "rows"), 0);
    const double copied = number(row, "gbytes") / number(row, "ceiling_gbytes");
    assert_true(number(row, "gflops") > 0);
    assert_true(fabs(number(row, "share") / copied - 1) < 1e-6);
    json_decref(all);
}

static void the_driver_says_what_is_wrong(void **state) {
    (void)state;
    if (!python()) return;
    expect(PEERS "--rounds 0 2>&1", 2, "must be at least 1");
    expect(PEERS "--rnds 1 2>&1", 2, "--rnds");
    expect(PEERS "--peer @/nothing 2>&1", 1, "cannot start");
    expect(PEERS "--peer 'sh @/none' --out @/none/out 2>&1", 1, "cannot write @/none/out");
    expect(PEERS "--peer false 2>&1", 1, "false ended with 1 instead of an answer");
    expect(PEERS "--peer 'echo hello' 2>&1", 1, "echo said 'hello\\n'");
    assert_int_equal(ask("mkdir @/without")->code, 0);
    write_text("@/without/torch.py", "raise ImportError\n");
    expect("PYTHONPATH=@/without " PEERS "2>&1", 6, "has no PyTorch to compare with: install");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_says_of_what_it_is_one),
        cmocka_unit_test(the_table_has_a_heading_and_the_rows_asked_for),
        cmocka_unit_test(a_file_that_cannot_be_written_is_an_error),
        cmocka_unit_test(a_served_row_answers_seconds),
        cmocka_unit_test(what_cannot_be_served_is_named),
        cmocka_unit_test(a_peer_stands_in_the_table_beside_us),
        cmocka_unit_test(a_row_that_streams_is_compared_with_a_copy),
        cmocka_unit_test(the_driver_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
