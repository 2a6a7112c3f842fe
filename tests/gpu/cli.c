// SPDX-License-Identifier: Apache-2.0
/* The command line as a user meets it: the program is started, and its exit code, its output and
 * its sentences are looked at. */
#include "support/toy.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "data/safetensors.h"
#include "losses/loss.h"

#include "../golden/features.h"
#include "../golden/losses.h"

typedef struct fixture {
    toy t;
    vkd_ctx *ctx;
    vkd_row rows[8];
    uint32_t row_count;
} fixture;

/* A folder with a data set, trained models under "run", and the device that is there to be skipped
 * without. */
static int setup(void **state) {
    static fixture f;
    f.ctx = test_ctx();
    vkd_device *device = test_device(f.ctx);
    toy_init(&f.t);
    if (toy_run(f.ctx, device, &f.t, NULL, NULL, "run", f.rows, &f.row_count))
        fail_msg("%s", vkd_ctx_error(f.ctx));
    test_device_close(device);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    toy_term(&f->t);
    vkd_ctx_destroy(f->ctx);
    return 0;
}

/* ---- Starting the program ---- */

typedef struct answer {
    int code;
    char out[1 << 17], err[8192];
} answer;

/* "@" in the arguments stands for the folder; `before` is for the shell: variables. */
static const answer *ask_with(const fixture *f, const char *before, const char *arguments) {
    static answer a;
    char command[4096];
    a = (answer){0};
    int length = snprintf(command, sizeof command, "%s '%s' ", before, VKD_PROGRAM);
    for (const char *at = arguments; *at; at++)
        length +=
            *at == '@'
                ? snprintf(command + length, sizeof command - (size_t)length, "%s", f->t.folder)
                : snprintf(command + length, sizeof command - (size_t)length, "%c", *at);
    length +=
        snprintf(command + length, sizeof command - (size_t)length, " 2>'%s/errors'", f->t.folder);
    assert_true((size_t)length < sizeof command);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    const size_t size = fread(a.out, 1, sizeof a.out - 1, out);
    a.out[size] = 0;
    const int status = pclose(out);
    assert_true(WIFEXITED(status));
    a.code = WEXITSTATUS(status);
    FILE *errors = fopen(toy_path(&f->t, "errors"), "rb");
    assert_non_null(errors);
    a.err[fread(a.err, 1, sizeof a.err - 1, errors)] = 0;
    fclose(errors);
    return &a;
}

static const answer *ask(const fixture *f, const char *arguments) {
    return ask_with(f, "", arguments);
}

static void expect(const fixture *f, const char *arguments, int code, const char *words) {
    const answer *a = ask(f, arguments);
    if (a->code != code || !strstr(code ? a->err : a->out, words))
        fail_msg("vkdistill %s\nexit code %d, not %d, or without '%s':\n%s%s", arguments, a->code,
                 code, words, a->out, a->err);
}

static json_t *ask_json(const fixture *f, const char *arguments) {
    const answer *a = ask(f, arguments);
    if (a->code) fail_msg("vkdistill %s: %d, %s", arguments, a->code, a->err);
    json_error_t error;
    json_t *all = json_loads(a->out, 0, &error);
    if (!all) fail_msg("vkdistill %s: line %d: %s", arguments, error.line, error.text);
    return all;
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) fail_msg("'%s' is no number", key);
    return json_number_value(value);
}

/* ---- Tests ---- */

static void every_command_has_help(void **state) {
    static const char *const names[] = {
#define CLI_COMMAND(name) #name,
#include "../../cli/commands.def"
#undef CLI_COMMAND
    };
    for (size_t i = 0; i < VKD_COUNT(names); i++) {
        char arguments[64], usage[64];
        snprintf(arguments, sizeof arguments, "%s --help", names[i]);
        snprintf(usage, sizeof usage, "usage: vkdistill %s ", names[i]);
        expect(*state, arguments, 0, usage);
        expect(*state, "--help", 0, names[i]);
        snprintf(arguments, sizeof arguments, "%s --no-such-option", names[i]);
        expect(*state, arguments, 2, "unknown option '--no-such-option'");
    }
    expect(*state, "loss dkd --help", 0, "labels   I32 (N)");
    expect(*state, "loss dkd --help", 0, "tau=");
}

static void mistakes_get_their_sentence_and_exit_code(void **state) {
    static const struct {
        const char *arguments;
        int code;
        const char *words;
    } cases[] = {
        {"lsit", 2, "did you mean 'list'"},
        {"list loses", 2, "did you mean 'losses'"},
        {"bench --rnus 3", 2, "did you mean '--runs'"},
        {"bench --runs", 2, "--runs needs a value"},
        {"bench --runs many", 2, "must be a whole number"},
        {"bench --runs 0", 2, "at least 1"},
        {"doctor now", 2, "doctor takes no 'now'"},
        {"bench --tune fast", 2, "--tune is 'fast', must be off, quick or full"},
        {"selftest --tune fast", 2, "--tune is 'fast'"},
        {"eval @/run/student.safetensors --data @ --tune fast", 2, "--tune is 'fast'"},
        {"selftest --only nonesuch", 2, "'nonesuch'"},
        {"loss kd_kx --in @/two", 2, "did you mean 'kd_kl'"},
        {"loss kd_kl", 2, "needs --in FILE"},
        {"loss kd_kl --in @/none", 5, "No such file"},
        {"loss kd_kl --in @/run/recipe.yaml", 4, "recipe.yaml"},
        {"loss kd_kl --in @/two --set tua=3", 3, "did you mean 'tau'"},
        {"loss kd_kl --in @/two --set tau=-1", 3, "tau"},
        {"loss kd_kl --in @/two --set tau", 2, "must be like tau=4"},
        {"loss kd_kl --in @/alone", 4, "no tensor 'teacher'"},
        {"loss ce --in @/alone", 4, "no tensor 'labels'"},
        {"loss kd_kl --in @/unlike", 3, "student is (2, 4), teacher (2, 3)"},
        {"loss ce --in @/unlike", 3, "student has 2 rows, labels 3"},
        {"loss kd_kl --in @/two --grad @/none/g", 5, "@"},
        {"loss kd_kl --in @/two --device nonesuch", 6, "no device is called 'nonesuch'"},
        {"infer @/run/student.safetensors", 2, "MODEL --in FILE --out FILE"},
        {"infer @/two --in @/images --out @/y", 4, "no 'arch'"},
        {"infer @/run/student.safetensors --in @/two --out @/y", 4, "'input' or 'images'"},
        {"infer @/run/student.safetensors --in @/alone --out @/y", 3, "the model takes 36"},
        {"infer @/run/student.safetensors --in @/images --out @/y --taps fc9", 2, "fc0, logits"},
        {"infer @/run/student.safetensors --in @/images --out @/none/y", 5, "none/y"},
        {"infer @/run/student.safetensors --in @/images --out @/y --tune fast", 2, "'fast'"},
        {"eval @/none", 5, "No such file"},
        {"eval @/run/student.safetensors --data @/none", 5, "train-images-idx3-ubyte"},
        {"eval @/run/student.safetensors --data @ --set data.classes=5", 3, "4 classes apart"},
        {"eval @/run/student.safetensors --data @ --set 'data.size=[3, 2]'", 3,
         "takes samples of (6, 6, 1), the data's are (3, 2, 1)"},
        {"eval @/run/student.safetensors --data @ --set data.tests=97", 4,
         "tests is 97, but the test split has 96"},
        {"eval @/run/student.safetensors --data @ --set data.format=folder", 5,
         "cannot read folder"},
        {"eval @/run/student.safetensors --data @ --set classes=5", 2, "like data.tests"},
        {"plan @/none.yaml", 5, "No such file"},
        {"plan @/run/recipe.yaml --profile tpu", 2, "only cpu and gpu"},
        {"plan @/run/recipe.yaml --set models.student.hiden=3", 3, "did you mean 'hidden'"},
        {"plan @/run/recipe.yaml --set models.teacher.load=@/run/student.safetensors", 3,
         "fc0.weight"},
        {"run @/run/recipe.yaml --out @/run", 5, "--resume"},
    };
    const fixture *f = *state;
    for (size_t i = 0; i < VKD_COUNT(cases); i++)
        expect(f, cases[i].arguments, cases[i].code,
               strcmp(cases[i].words, "@") ? cases[i].words : f->t.folder);
    expect(f, "--help", 0, "exit codes:");
    assert_int_equal(ask(f, "")->code, 2);
}

static void doctor_tunes_and_says_what_was_chosen(void **state) {
    const fixture *f = *state;
    char before[512];
    snprintf(before, sizeof before, "XDG_CACHE_HOME='%s' VKD_TUNE=fast", f->t.folder);
    const answer *a = ask_with(f, before, "bench --only nothing");
    assert_int_equal(a->code, 2);
    assert_non_null(strstr(a->err, "VKD_TUNE is 'fast'"));
    *strrchr(before, ' ') = 0;
    a = ask_with(f, before, "doctor");
    assert_non_null(strstr(a->out, "sizes: the table's, not tuned yet\n"));
    assert_non_null(strstr(a->out, "16-bit tensors (precision: mixed or mixed_bf16): "));
    a = ask_with(f, before, "doctor --tune quick");
    assert_int_equal(a->code, 0);
    assert_non_null(strstr(a->out, "sizes, tuned (quick):"));
    a = ask_with(f, before, "doctor --json");
    json_t *all = json_loads(a->out, 0, NULL);
    const json_t *sizes = json_object_get(all, "sizes");
    assert_string_equal(json_string_value(json_object_get(sizes, "mode")), "quick");
    assert_true(json_array_size(json_object_get(sizes, "knobs")) > 3);
    json_decref(all);
}

static void a_machine_without_a_driver_is_told_what_to_install(void **state) {
    static const char none[] = "VK_DRIVER_FILES=/nonexistent VK_ICD_FILENAMES=/nonexistent";
    const answer *a = ask_with(*state, none, "doctor");
    assert_int_equal(a->code, 6);
    assert_non_null(strstr(a->err, "mesa-vulkan-drivers"));
    assert_non_null(strstr(a->out, "VKD_DEVICE"));
    a = ask_with(*state, none, "doctor --json");
    assert_int_equal(a->code, 6);
    json_t *all = json_loads(a->out, 0, NULL);
    assert_non_null(all);
    assert_non_null(strstr(json_string_value(json_object_get(all, "problem")), "driver"));
    json_decref(all);
    assert_int_equal(ask_with(*state, none, "loss kd_kl --in @/two")->code, 6);
    a = ask_with(*state, none, "plan @/run/recipe.yaml");
    assert_int_equal(a->code, 0);
    assert_non_null(strstr(a->out, "planned for gpu"));
}

static void what_is_asked_for_as_json_is_json(void **state) {
    static const char *const lists[] = {"losses",     "ops",       "models", "datasets",
                                        "optimisers", "schedules", "keys",   "recipes"};
    for (size_t i = 0; i < VKD_COUNT(lists); i++) {
        char arguments[64];
        snprintf(arguments, sizeof arguments, "list %s --json", lists[i]);
        json_t *all = ask_json(*state, arguments);
        assert_true(json_array_size(all) > 0);
        assert_true(json_is_string(json_object_get(json_array_get(all, 0), "summary")));
        json_decref(all);
    }
    json_t *all = ask_json(*state, "doctor --json");
    const json_t *devices = json_object_get(all, "devices");
    assert_true(json_array_size(devices) > 0);
    for (size_t i = 0; i < json_array_size(devices); i++) {
        const json_t *d = json_array_get(devices, i), *half = json_object_get(d, "half");
        assert_true(json_object_get(d, "missing") != NULL || json_object_size(half) == 2);
    }
    assert_true(json_is_null(json_object_get(all, "problem")));
    json_decref(all);
    all = ask_json(*state, "bench --only nonesuch --runs 1 --json");
    const json_t *host = json_object_get(all, "host");
    assert_int_equal((int)number(host, "launches"), 20);
    assert_true(number(host, "submit_us") > 0 && number(host, "empty_us") > 0);
    assert_int_equal(json_array_size(json_object_get(all, "rows")), 0);
    json_decref(all);
}

static void the_selftest_passes_and_counts(void **state) {
    json_t *all = ask_json(*state, "selftest --only kd_mse --json");
    const json_t *rows = json_object_get(all, "rows");
    assert_int_equal((int)number(all, "failures"), 0);
    assert_true(number(all, "cases") >= 10);
    bool op = false, loss = false, composed = false;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *kind = json_string_value(json_object_get(row, "kind"));
        op = op || !strcmp(kind, "op");
        loss = loss || !strcmp(kind, "loss");
        composed = composed || !strcmp(kind, "loss, of ops");
        assert_true(json_is_true(json_object_get(row, "ok")));
        assert_true(number(row, "worst") > 0 && number(row, "worst") <= 1);
    }
    assert_true(op && loss && composed);
    json_decref(all);
}

/* Single precision; see tests/gpu/losses.c. */
static void close_to(double got, double want, double largest) {
    if (!(fabs(got - want) <= 5e-6 * (fabs(want) + largest)))
        fail_msg("%.9g, should be %.9g", got, want);
}

static void check_gradient(const fixture *f, const char *name, const double *want, size_t count) {
    vkd__st_file *file = NULL;
    if (vkd__st_open(f->ctx, toy_path(&f->t, "gradient"), &file))
        fail_msg("%s", vkd_ctx_error(f->ctx));
    const vkd__st_tensor *t = vkd__st_find(file, name);
    assert_non_null(t);
    assert_int_equal(t->bytes, count * sizeof(float));
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(want[i]));
    for (size_t i = 0; i < count; i++) {
        float got;
        memcpy(&got, (const char *)t->data + i * sizeof got, sizeof got);
        close_to((double)got, want[i], largest);
    }
    vkd__st_close(file);
}

static void write_tensors(const fixture *f, const char *name, const vkd__st_tensor *tensors,
                          size_t count) {
    if (vkd__st_write(f->ctx, toy_path(&f->t, name), tensors, count, NULL, 0))
        fail_msg("%s", vkd_ctx_error(f->ctx));
}

/* Every configuration of every loss that PyTorch was asked about, on the four-class problem. */
static void a_loss_and_its_gradient_are_those_of_pytorch(void **state) {
    size_t count = 0;
    for (size_t i = 0; i < VKD_COUNT(golden_losses); i++) {
        if (golden_losses[i].N != 2 || golden_losses[i].V != 4) continue;
        char arguments[512];
        int length = snprintf(arguments, sizeof arguments,
                              "loss %s --in @/two --grad @/gradient --json", golden_losses[i].loss);
        for (size_t k = 0; k < 4 && golden_losses[i].set[k][0]; k++)
            length +=
                snprintf(arguments + length, sizeof arguments - (size_t)length, " --set %s=%s",
                         golden_losses[i].set[k][0], golden_losses[i].set[k][1]);
        json_t *all = ask_json(*state, arguments);
        close_to(number(all, "value"), golden_losses[i].value, fabs(golden_losses[i].value));
        check_gradient(*state, "student", golden_losses[i].gradient, 8);
        json_decref(all);
        count++;
    }
    assert_true(count >= 6);
    json_t *all = ask_json(*state, "loss kd_kl --in @/two --set tau=4 --json --composed");
    close_to(number(all, "value"), 1.951505569, 2);
    json_decref(all);
}

/* One pair of rows and a regressor, whose gradients come out under the names that it went in by. */
static void a_loss_on_features_is_that_of_pytorch(void **state) {
    const fixture *f = *state;
    static const char *const names[] = {"student", "adapter.0.bias", "adapter.0.weight", "teacher"};
    const vkd_shape shapes[] = {VKD_SHAPE(3, 5), VKD_SHAPE(8), VKD_SHAPE(8, 5), VKD_SHAPE(3, 8)};
    enum { BEFORE_TEACHER = 15 + 8 + 40, ALL = BEFORE_TEACHER + 24 };
    assert_string_equal(golden_features[0].loss, "hint");
    assert_int_equal(golden_features[0].count, BEFORE_TEACHER);
    assert_int_equal(golden_features[0].teacher_count, ALL - BEFORE_TEACHER);
    float values[ALL], *at = values;
    for (size_t k = 0; k < ALL; k++)
        values[k] = (float)(k < BEFORE_TEACHER ? golden_features[0].x[k]
                                               : golden_features[0].teacher[k - BEFORE_TEACHER]);
    vkd__st_tensor tensors[4];
    for (size_t k = 0; k < 4; k++) {
        const size_t count = (size_t)vkd_shape_count(shapes[k]);
        tensors[k] = (vkd__st_tensor){names[k], VKD_F32, shapes[k], at, count * sizeof *at};
        at += count;
    }
    write_tensors(f, "features", tensors, 4);
    json_t *all = ask_json(f, "loss hint --in @/features --grad @/gradient --json");
    close_to(number(all, "value"), golden_features[0].value, fabs(golden_features[0].value));
    assert_true(json_is_true(json_object_get(
        json_object_get(json_object_get(all, "adapters"), "adapter.0.weight"), "given")));
    json_decref(all);
    check_gradient(f, "student", golden_features[0].gradient, 15);
    check_gradient(f, "adapter.0.bias", golden_features[0].gradient + 15, 8);
    check_gradient(f, "adapter.0.weight", golden_features[0].gradient + 23, 40);
}

static void eval_finds_the_figures_of_the_run(void **state) {
    const fixture *f = *state;
    json_t *all = ask_json(
        f, "eval @/run/student.safetensors --teacher @/run/teacher.safetensors --data @ --json");
    const json_t *rows = json_object_get(all, "rows");
    assert_int_equal(json_array_size(rows), 2);
    const vkd_row *teacher = &f->rows[0], *student = &f->rows[f->row_count - 1];
    const json_t *row = json_array_get(rows, 0);
    assert_true(number(row, "accuracy") == student->accuracy.mean);
    assert_true(number(row, "errors") == student->errors.mean);
    assert_true(number(row, "agreement") == student->agreement.mean);
    assert_true(number(row, "parameters") == (double)student->parameters);
    assert_true(fabs(number(row, "kl") - student->kl.mean) <= 1e-6 * (1 + student->kl.mean));
    assert_true(number(json_array_get(rows, 1), "accuracy") == teacher->accuracy.mean);
    json_decref(all);
    all = ask_json(f, "eval @/run/student.safetensors --recipe @/run/recipe.yaml --json");
    row = json_array_get(json_object_get(all, "rows"), 0);
    assert_true(number(row, "accuracy") == student->accuracy.mean);
    assert_true(json_is_null(json_object_get(row, "kl")));
    json_decref(all);
}

static const float *floats_of(const vkd__st_file *file, const char *name, size_t count) {
    static float values[TOY_TEST * 8];
    const vkd__st_tensor *t = vkd__st_find(file, name);
    assert_non_null(t);
    assert_int_equal(t->bytes, count * sizeof(float));
    assert_true(t->bytes <= sizeof values);
    memcpy(values, t->data, t->bytes);
    return values;
}

static vkd__st_file *infer(const fixture *f, const char *arguments) {
    vkd__st_file *file = NULL;
    const answer *a = ask(f, arguments);
    if (a->code) fail_msg("vkdistill %s: %s", arguments, a->err);
    if (vkd__st_open(f->ctx, toy_path(&f->t, "answers"), &file))
        fail_msg("%s", vkd_ctx_error(f->ctx));
    return file;
}

static void infer_answers_as_the_run_did(void **state) {
    const fixture *f = *state;
    size_t size = 0;
    char *labels = toy_read(toy_path(&f->t, "t10k-labels-idx1-ubyte"), &size);
    vkd__st_file *file =
        infer(f, "infer @/run/student.safetensors --in @/images --out @/answers --taps fc0 "
                 "--batch 7");
    assert_int_equal(vkd__st_count(file), 2);
    (void)floats_of(file, "fc0", TOY_TEST * 5);
    const float *z = floats_of(file, "logits", TOY_TEST * 4);
    uint32_t errors = 0;
    for (uint32_t n = 0; n < TOY_TEST; n++) {
        uint32_t best = 0;
        for (uint32_t v = 1; v < 4; v++)
            if (z[4 * n + v] > z[4 * n + best]) best = v;
        errors += best != (uint32_t)labels[8 + n];
    }
    assert_true(f->rows[f->row_count - 1].errors.mean == errors);
    float first[16];
    memcpy(first, z, sizeof first);
    vkd__st_close(file);
    /* Normalised here instead of by the model. */
    file = infer(f, "infer @/run/student.safetensors --in @/floats --out @/answers");
    z = floats_of(file, "logits", 4 * 4);
    for (size_t i = 0; i < VKD_COUNT(first); i++)
        assert_true(fabsf(z[i] - first[i]) <= 1e-4f * (1 + fabsf(first[i])));
    vkd__st_close(file);
    test_free(labels);
}

static void a_plan_says_what_a_run_would_do(void **state) {
    json_t *all = ask_json(*state, "plan @/run/recipe.yaml --profile cpu --json");
    const json_t *rows = json_object_get(all, "programs");
    bool teacher = false, student = false;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *name = json_string_value(json_object_get(row, "name"));
        assert_true(number(row, "launches") > 0 && number(row, "step_seconds") > 0);
        if (!strcmp(name, "train teacher (teach)")) {
            teacher = true;
            assert_int_equal((int)number(row, "steps"), 3 * (TOY_TRAIN / 24));
        }
        if (!strcmp(name, "train student (distil)")) {
            student = true;
            assert_int_equal((int)number(row, "steps"), 2 * (TOY_TRAIN / 24));
        }
    }
    assert_true(teacher && student);
    assert_true(number(all, "memory_bytes") > number(all, "store_bytes"));
    assert_true(number(all, "store_bytes") >= (TOY_TRAIN + TOY_TEST) * 36);
    json_decref(all);
    expect(*state, "plan @/run/recipe.yaml --profile gpu --text", 0, "plan teacher  profile gpu");
    expect(*state, "plan @/run/recipe.yaml", 0, "train student_control");
}

/* ---- Files for the tests above ---- */

static int write_files(void **state) {
    if (setup(state)) return 1;
    const fixture *f = *state;
    float student[8], teacher[8];
    const int32_t labels[] = {golden_two_labels[0], golden_two_labels[1], 0};
    for (size_t i = 0; i < 8; i++) {
        student[i] = (float)golden_two_student[i];
        teacher[i] = (float)golden_two_teacher[i];
    }
    const vkd_shape two = VKD_SHAPE(2, 4);
    const vkd__st_tensor all[] = {{"student", VKD_F32, two, student, sizeof student},
                                  {"teacher", VKD_F32, two, teacher, sizeof teacher},
                                  {"labels", VKD_I32, VKD_SHAPE(2), labels, 8}};
    write_tensors(f, "two", all, 3);
    write_tensors(f, "alone", all, 1);
    const vkd__st_tensor unlike[] = {all[0],
                                     {"teacher", VKD_F32, VKD_SHAPE(2, 3), teacher, 24},
                                     {"labels", VKD_I32, VKD_SHAPE(3), labels, 12}};
    write_tensors(f, "unlike", unlike, 3);
    size_t size = 0;
    char *images = toy_read(toy_path(&f->t, "t10k-images-idx3-ubyte"), &size);
    const vkd__st_tensor bytes = {"images", VKD_U8, VKD_SHAPE(TOY_TEST, 6, 6), images + 16,
                                  TOY_TEST * 36};
    write_tensors(f, "images", &bytes, 1);
    float normal[4 * 36];
    for (size_t i = 0; i < VKD_COUNT(normal); i++)
        normal[i] = ((float)(uint8_t)images[16 + i] / 255 - 0.5f) / 0.25f;
    const vkd__st_tensor floats = {"x", VKD_F32, VKD_SHAPE(4, 36), normal, sizeof normal};
    write_tensors(f, "floats", &floats, 1);
    test_free(images);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_has_help),
        cmocka_unit_test(mistakes_get_their_sentence_and_exit_code),
        cmocka_unit_test(doctor_tunes_and_says_what_was_chosen),
        cmocka_unit_test(a_machine_without_a_driver_is_told_what_to_install),
        cmocka_unit_test(what_is_asked_for_as_json_is_json),
        cmocka_unit_test(the_selftest_passes_and_counts),
        cmocka_unit_test(a_loss_and_its_gradient_are_those_of_pytorch),
        cmocka_unit_test(a_loss_on_features_is_that_of_pytorch),
        cmocka_unit_test(eval_finds_the_figures_of_the_run),
        cmocka_unit_test(infer_answers_as_the_run_did),
        cmocka_unit_test(a_plan_says_what_a_run_would_do),
    };
    return cmocka_run_group_tests_name("command line", tests, write_files, teardown);
}
