// SPDX-License-Identifier: Apache-2.0
/* A run's folder as a viewer opens it: what it says of itself, finished, under way, and damaged. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/platform.h"
#include "support/data.h"
#include "support/look.h"

/* ---- What a folder says ---- */

static void the_data_is_the_test_split(void **state) {
    const look_bench *b = *state;
    vkd_inspect *i = look_open(b, "whole");
    const vkd_inspect_info *info = vkd_inspect_get(i);
    assert_string_equal(info->folder, toy_path(&b->data, "whole"));
    assert_string_equal(info->recipe, "toy");
    assert_int_equal(info->seed, 3);
    assert_int_equal(info->seed_count, 0);
    assert_int_equal(info->tests, TOY_TEST);
    assert_int_equal(info->classes, LOOK_CLASSES);
    assert_string_equal(info->class_names[3], "dress");
    assert_true(info->images && info->height == 6 && info->width == 6 && info->channels == 1);
    size_t size = 0;
    char *images = toy_read(toy_path(&b->data, "t10k-images-idx3-ubyte"), &size);
    assert_memory_equal(info->pixels, images + 16, TOY_TEST * 36);
    test_free(images);
    char *labels = toy_read(toy_path(&b->data, "t10k-labels-idx1-ubyte"), &size);
    for (int n = 0; n < TOY_TEST; n++)
        assert_int_equal(info->labels[n], labels[8 + n]);
    test_free(labels);
    vkd_inspect_close(i);
}

static void the_models_have_their_roles(void **state) {
    const look_bench *b = *state;
    vkd_inspect *i = look_open(b, "whole");
    const vkd_inspect_info *info = vkd_inspect_get(i);
    static const struct {
        const char *name, *model;
        bool teaches, taught, control;
        uint64_t parameters;
    } want[] = {
        {"teacher", "teacher", true, false, false, 6 * 9 + 12 + 6 * 6 * 9 + 12 + 4 * 6 + 4},
        {"student", "student", false, true, false, 3 * 9 + 6 + 3 * 3 * 9 + 6 + 4 * 3 + 4},
        {"student_control", "student", false, false, true, 3 * 9 + 6 + 3 * 3 * 9 + 6 + 4 * 3 + 4},
    };
    assert_int_equal(info->model_count, VKD_COUNT(want));
    for (size_t k = 0; k < VKD_COUNT(want); k++) {
        const vkd_inspect_model *m = &info->models[k];
        assert_string_equal(m->name, want[k].name);
        assert_string_equal(m->model, want[k].model);
        assert_string_equal(m->arch, "plain_cnn");
        assert_int_equal(m->teaches, want[k].teaches);
        assert_int_equal(m->taught, want[k].taught);
        assert_int_equal(m->control, want[k].control);
        assert_int_equal(m->parameters, want[k].parameters);
        assert_int_equal(m->source, VKD_INSPECT_FILE);
        assert_true(vkd__file_exists(m->path) && strstr(m->path, want[k].name) && m->version);
        const vkd_shape first = m->taps[0].shape, last = m->taps[m->tap_count - 1].shape;
        assert_string_equal(m->taps[0].name, "stem");
        assert_true(first.axes == 3 && first.dim[0] == 6 && first.dim[2] == (k ? 3 : 6));
        assert_string_equal(m->taps[m->tap_count - 1].name, "logits");
        assert_true(last.axes == 1 && last.dim[0] == LOOK_CLASSES);
    }
    vkd_inspect_close(i);
}

static void the_stages_have_their_losses(void **state) {
    const look_bench *b = *state;
    vkd_inspect *i = look_open(b, "whole");
    const vkd_inspect_info *info = vkd_inspect_get(i);
    assert_int_equal(info->stage_count, 3);
    assert_int_equal(info->stages[0].model, look_index(i, "teacher"));
    assert_int_equal(info->stages[0].teacher_count, 0);
    assert_true(isnan(info->stages[0].terms[0].tau));
    const vkd_inspect_stage *control = &info->stages[1], *s = &info->stages[2];
    assert_int_equal(control->model, look_index(i, "student_control"));
    assert_int_equal(control->term_count, 1);
    assert_true(control->terms[0].weight == 1 && !control->teacher_count);
    assert_string_equal(s->name, "distil");
    assert_int_equal(s->model, look_index(i, "student"));
    assert_int_equal(s->teacher_count, 1);
    assert_true(s->teachers[0].model == look_index(i, "teacher") && s->teachers[0].share == 1);
    assert_int_equal(s->term_count, 3);
    assert_string_equal(s->terms[0].loss, "kd_kl");
    assert_true(s->terms[0].tau == 3 && s->terms[0].weight == 0.9f);
    assert_true(s->terms[0].tau_low < 1 && s->terms[0].tau_high >= 50);
    assert_int_equal(s->terms[0].pair_count, 0);
    assert_string_equal(s->terms[2].name, "maps");
    assert_string_equal(s->terms[2].loss, "at");
    assert_int_equal(s->terms[2].pair_count, 2);
    assert_string_equal(s->terms[2].pairs[0].teacher, "stage1.out");
    assert_string_equal(s->terms[2].pairs[1].student, "stage1.out");
    assert_string_equal(s->terms[2].pairs[1].teacher, "stage2.out");
    assert_int_equal(s->terms[2].pairs[1].teacher_model, look_index(i, "teacher"));
    vkd_inspect_close(i);
}

static void one_of_several_teachers_is_named(void **state) {
    const look_bench *b = *state;
    char models[900];
    const char *file = toy_path(&b->data, "whole/teacher.safetensors");
    snprintf(models, sizeof models,
             "models={a: {arch: plain_cnn, depth: 2, width: 6, load: %s}, b: {arch: plain_cnn, "
             "depth: 2, width: 6, load: %s}, student: {arch: plain_cnn, depth: 2, width: 3}}",
             file, file);
    const char *const sets[] = {
        models, LOOK_NAMES,
        "stages=[{name: s, train: student, teachers: [{model: a, weight: 1}, {model: b, weight: "
        "3}], combine: logits, losses: [{loss: kd_kl}, {loss: at, weight: 1, taps: [{student: "
        "stem, teacher: 'b:stem'}]}], optimiser: {name: sgd}, steps: 1, batch: 24}]",
        NULL};
    look_run(b, sets, NULL, "two", VKD_OK);
    vkd_inspect *i = look_open(b, "two");
    const vkd_inspect_stage *s = &vkd_inspect_get(i)->stages[0];
    assert_int_equal(s->teacher_count, 2);
    assert_true(s->combine_logits && s->teachers[1].share == 0.75f);
    assert_string_equal(s->terms[1].pairs[0].teacher, "stem");
    assert_int_equal(s->terms[1].pairs[0].teacher_model, look_index(i, "b"));
    vkd_inspect_close(i);
}

/* ---- A run under way ---- */

static vkd_inspect_news news_of(const look_bench *b, vkd_inspect *i) {
    vkd_inspect_news news = VKD_INSPECT_ANOTHER;
    if (vkd_inspect_refresh(i, &news)) fail_msg("%s", vkd_ctx_error(b->ctx));
    return news;
}

/* The predictor keeps the parameters that it was opened with. */
static void a_run_is_followed(void **state) {
    const look_bench *b = *state;
    look_run_until(b, look_whole, (vkd_run_desc){0}, 5, "grows");
    vkd_inspect *i = look_open(b, "grows");
    float before[TOY_TEST * LOOK_CLASSES], after[TOY_TEST * LOOK_CLASSES];
    vkd_predictor *p = look_predictor(b, i, "teacher", (vkd_predictor_desc){0});
    assert_int_equal(vkd_predictor_logits(p, 0, TOY_TEST, before), VKD_OK);
    assert_int_equal(news_of(b, i), VKD_INSPECT_SAME);
    look_run_until(b, look_whole, (vkd_run_desc){.resume = true}, 4, "grows");
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    assert_int_equal(news_of(b, i), VKD_INSPECT_SAME);
    assert_int_equal(look_model(i, "teacher")->step, 9);
    assert_true(look_model(i, "teacher")->version != vkd_predictor_version(p));
    uint32_t number = 3;
    float few[LOOK_CLASSES];
    assert_int_equal(vkd_predictor_run(p, &number, 1, &(vkd_predictor_out){.logits = few}), VKD_OK);
    for (int k = 0; k < LOOK_CLASSES; k++)
        assert_true(fabsf(few[k] - before[3 * LOOK_CLASSES + k]) < 1e-4f * (1 + fabsf(few[k])));
    assert_int_equal(vkd_predictor_logits(p, 0, TOY_TEST, after), VKD_OK);
    assert_memory_equal(after, before, sizeof after);
    vkd_predictor_close(p);

    look_run_until(b, look_whole, (vkd_run_desc){.resume = true}, 2 + 12 + 3, "grows");
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    assert_int_equal(look_model(i, "teacher")->source, VKD_INSPECT_FILE);
    assert_int_equal(look_model(i, "student_control")->source, VKD_INSPECT_FILE);
    assert_int_equal(look_model(i, "student")->source, VKD_INSPECT_CHECKPOINT);
    assert_int_equal(look_model(i, "student")->step, 3);
    look_same(look_logits(b, i, "teacher"), look_file_logits(b, i, "whole/teacher.safetensors"));
    look_run(b, look_whole, &(vkd_run_desc){.resume = true}, "grows", VKD_OK);
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    look_same(look_logits(b, i, "student"), look_file_logits(b, i, "whole/student.safetensors"));

    /* Started over: the old files are not those of this run. */
    look_run_until(b, look_whole, (vkd_run_desc){.force = true}, 2, "grows");
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    assert_int_equal(look_model(i, "teacher")->source, VKD_INSPECT_CHECKPOINT);
    assert_int_equal(look_model(i, "student")->source, VKD_INSPECT_NONE);
    assert_int_equal(unlink(toy_path(&b->data, "grows/checkpoint.safetensors")), 0);
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    assert_int_equal(look_model(i, "teacher")->source, VKD_INSPECT_NONE);
    /* With another recipe: another run. */
    const char *const other[] = {LOOK_MODELS, "stages=[" LOOK_TEACH("steps: 3") "]", NULL};
    look_run(b, other, &(vkd_run_desc){.force = true}, "grows", VKD_OK);
    assert_int_equal(news_of(b, i), VKD_INSPECT_ANOTHER);
    vkd_inspect_close(i);
}

typedef struct looker {
    const look_bench *b;
    vkd_inspect *i;
    bool looked;
} looker;

/* At the fourth step of the control the newest checkpoint is the one of the teacher's end. */
static void look(void *user, const vkd_progress *p) {
    looker *l = user;
    if (strcmp(p->phase, "student_control") != 0 || p->step != 4) return;
    l->i = look_open(l->b, "looked");
    assert_int_equal(look_model(l->i, "teacher")->source, VKD_INSPECT_FILE);
    assert_int_equal(look_model(l->i, "student_control")->source, VKD_INSPECT_NONE);
    look_same(look_logits(l->b, l->i, "teacher"),
              look_file_logits(l->b, l->i, "whole/teacher.safetensors"));
    vkd_inspect_close(l->i);
    l->looked = true;
}

static void a_run_is_looked_at_while_it_trains(void **state) {
    const look_bench *b = *state;
    looker l = {.b = b};
    look_run(b, look_whole, &(vkd_run_desc){.progress = look, .user = &l}, "looked", VKD_OK);
    assert_true(l.looked);
    toy_same_file(toy_path(&b->data, "looked/student.safetensors"),
                  toy_path(&b->data, "whole/student.safetensors"));
}

/* Files alone are enough: someone may have thrown the checkpoint away. */
static void a_finished_run_needs_no_checkpoint(void **state) {
    const look_bench *b = *state;
    look_run(b, look_whole, NULL, "bare", VKD_OK);
    assert_int_equal(unlink(toy_path(&b->data, "bare/checkpoint.safetensors")), 0);
    vkd_inspect *i = look_open(b, "bare");
    assert_int_equal(look_model(i, "student")->source, VKD_INSPECT_FILE);
    look_same(look_logits(b, i, "student"), look_file_logits(b, i, "whole/student.safetensors"));
    vkd_inspect_close(i);
}

static void of_several_seeds_the_newest_is_opened(void **state) {
    const look_bench *b = *state;
    look_run(b, look_whole, &(vkd_run_desc){.seeds = 2}, "seeds", VKD_OK);
    vkd_inspect *i = look_open(b, "seeds/");
    const vkd_inspect_info *info = vkd_inspect_get(i);
    assert_int_equal(info->seed_count, 2);
    assert_string_equal(info->folder, toy_path(&b->data, "seeds/seed-4"));
    assert_string_equal(info->seeds[0], toy_path(&b->data, "seeds/seed-3"));
    assert_int_equal(info->seed, 4);
    assert_int_equal(look_model(i, "teacher")->source, VKD_INSPECT_OTHER_SEED);
    assert_int_equal(look_model(i, "student")->source, VKD_INSPECT_FILE);
    look_same(look_logits(b, i, "teacher"),
              look_file_logits(b, i, "seeds/seed-3/teacher.safetensors"));
    vkd_inspect_close(i);
    i = look_open(b, "seeds/seed-3");
    assert_int_equal(vkd_inspect_get(i)->seed_count, 2);
    assert_int_equal(look_model(i, "teacher")->source, VKD_INSPECT_FILE);
    vkd_inspect_close(i);
}

/* ---- What is no run, or damaged ---- */

static void refused(const look_bench *b, const char *path, vkd_result want, const char *says) {
    vkd_inspect *i = NULL;
    const vkd_result r = vkd_inspect_open(b->ctx, path, &i);
    if (r != want || i || !strstr(vkd_ctx_error(b->ctx), says))
        fail_msg("'%s': %d, %s", path, (int)r, vkd_ctx_error(b->ctx));
}

static void a_folder_that_is_no_run_gets_a_sentence(void **state) {
    const look_bench *b = *state;
    refused(b, "", VKD_E_ARGUMENT, "no folder");
    refused(b, toy_path(&b->data, "nowhere"), VKD_E_FILE, "nowhere");
    refused(b, toy_path(&b->data, "t10k-labels-idx1-ubyte"), VKD_E_FILE, "is a file");
    refused(b, toy_path(&b->data, ""), VKD_E_FILE, "holds no run");
    test_write(toy_path(&b->data, "noise/recipe.yaml"), "models: [", 9);
    refused(b, toy_path(&b->data, "noise"), VKD_E_RECIPE, "noise/recipe.yaml");
    test_write(toy_path(&b->data, "seedless/seed-x/recipe.yaml"), "", 0);
    test_write(toy_path(&b->data, "seedless/seed-/recipe.yaml"), "", 0);
    refused(b, toy_path(&b->data, "seedless"), VKD_E_FILE, "holds no run");
    const char *moved[] = {LOOK_MODELS, "stages=[" LOOK_TEACH("steps: 1") "]", NULL};
    look_run(b, moved, NULL, "moved", VKD_OK);
    size_t size = 0;
    char *recipe = toy_read(toy_path(&b->data, "moved/recipe.yaml"), &size);
    char *dir = strstr(recipe, "vkdistill-toy-");
    assert_non_null(dir);
    dir[0] = 'x';
    test_write(toy_path(&b->data, "moved/recipe.yaml"), recipe, size);
    test_free(recipe);
    refused(b, toy_path(&b->data, "moved"), VKD_E_FILE, "xkdistill-toy-");
}

static void damaged_models_are_refused_one_by_one(void **state) {
    look_bench *b = *state;
    const char *const longer[] = {LOOK_MODELS, "stages=[" LOOK_TEACH("steps: 30") "]", NULL};
    look_run_until(b, longer, (vkd_run_desc){0}, 11, "longer");
    const char *const short_run[] = {LOOK_MODELS, LOOK_NAMES, "stages=[" LOOK_TEACH("steps: 2") "]",
                                     NULL};
    look_run(b, short_run, NULL, "damaged", VKD_OK);
    size_t size = 0;
    char *file = toy_read(toy_path(&b->data, "damaged/teacher.safetensors"), &size);
    const char *path = toy_path(&b->data, "damaged/teacher.safetensors");
    vkd_inspect *i = look_open(b, "damaged");
    vkd_predictor *p = NULL;
    for (size_t cut = 0; cut < size; cut += 1 + size / 40) {
        test_write(path, file, cut);
        assert_int_equal(vkd_predictor_open(i, b->device, &(vkd_predictor_desc){0}, &p),
                         VKD_E_FORMAT);
        assert_null(p);
    }
    test_free(file);
    /* A checkpoint of another recipe, or noise, counts as none. */
    file = toy_read(toy_path(&b->data, "longer/checkpoint.safetensors"), &size);
    test_write(toy_path(&b->data, "damaged/checkpoint.safetensors"), file, size);
    b->warnings = 0;
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    assert_int_equal(b->warnings, 0);
    assert_int_equal(look_model(i, "teacher")->source, VKD_INSPECT_FILE);
    for (size_t cut = 0; cut < size; cut += 1 + size / 40) {
        test_write(toy_path(&b->data, "damaged/checkpoint.safetensors"), file, cut);
        assert_int_not_equal(news_of(b, i), VKD_INSPECT_ANOTHER);
        assert_true(b->warnings > 0);
        assert_int_equal(look_model(i, "teacher")->source, VKD_INSPECT_FILE);
        b->warnings = 0;
    }
    test_free(file);
    vkd_inspect_close(i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_data_is_the_test_split),
        cmocka_unit_test(the_models_have_their_roles),
        cmocka_unit_test(the_stages_have_their_losses),
        cmocka_unit_test(one_of_several_teachers_is_named),
        cmocka_unit_test(a_run_is_followed),
        cmocka_unit_test(a_run_is_looked_at_while_it_trains),
        cmocka_unit_test(a_finished_run_needs_no_checkpoint),
        cmocka_unit_test(of_several_seeds_the_newest_is_opened),
        cmocka_unit_test(a_folder_that_is_no_run_gets_a_sentence),
        cmocka_unit_test(damaged_models_are_refused_one_by_one),
    };
    return cmocka_run_group_tests(tests, look_setup, look_teardown);
}
