// SPDX-License-Identifier: Apache-2.0
/* Each panel of a finished run, drawn, and its pixels held against the numbers that the run's
 * models give. All panels are open at once, so that none draws with another's pictures. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "drive.h"
#include "support/toy.h"
#include "viewer/maths.h"

static toy data;
static drive d;
static const vkd_inspect_info *info;

#define CONVOLUTIONS                                                                               \
    "models.teacher={arch: resnet, depth: 8, width: 0.5}",                                         \
        "models.student={arch: resnet, depth: 8, width: 0.25}",                                    \
        "stages.distil.losses=[{loss: ce}, {loss: kd_kl, weight: 0.5, tau: 3}, {loss: at, "        \
        "weight: 10, taps: [stage1.out, stage2.out]}]"

static int setup(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    const char *const sets[] = {CONVOLUTIONS, NULL};
    toy_init(&data);
    if (toy_run(ctx, device, &data, sets, NULL, "run", NULL, NULL))
        fail_msg("%s", vkd_ctx_error(ctx));
    test_device_close(device);
    vkd_ctx_destroy(ctx);
    drive_open(&d, toy_path(&data, "run"), true);
    drive_settle(&d);
    info = d.s->info;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    drive_close(&d);
    toy_term(&data);
    return 0;
}

static void all_panels(void) {
    d.a.l.alone = LAYOUT_NONE;
    gui_event_move(d.g, -1, -1);
    drive_settle(&d);
}

/* Straight from the library, beside the viewer's own way there. */
static void ask(const char *model, uint32_t sample, const char *tap, float *logits, float *map) {
    vkd_predictor *p = NULL;
    uint32_t m = 0;
    while (strcmp(info->models[m].name, model) != 0)
        m++;
    const vkd_predictor_desc desc = {.model = m, .maps = &tap, .map_count = tap ? 1 : 0};
    if (vkd_predictor_open(d.s->inspect, d.s->device, &desc, &p))
        fail_msg("%s", vkd_ctx_error(d.ctx));
    const vkd_predictor_out out = {.logits = logits, .maps = tap ? &map : NULL};
    if (vkd_predictor_run(p, &sample, 1, &out)) fail_msg("%s", vkd_ctx_error(d.ctx));
    vkd_predictor_close(p);
}

/* ---- Soft labels ---- */

/* How far a bar of this colour reaches from the axis, in pixels. */
static float measure(gui_rect axis, float y, uint32_t colour) {
    float length = 0;
    while (length < axis.w && drive_near(drive_pixel(&d, axis.x + length, y), colour, 2))
        length++;
    return length;
}

static void check_bars(double tau) {
    static const char *const models[] = {"teacher", "student"};
    static const uint32_t inks[] = {COLOUR_TEACHER, COLOUR_STUDENT};
    const gui_rect axis = drive_find(&d, "soft_labels/axis");
    for (int side = 0; side < 2; side++) {
        float logits[4];
        double sum = 0;
        ask(models[side], d.s->sample, NULL, logits, NULL);
        for (int c = 0; c < 4; c++)
            sum += exp((double)logits[c] / tau);
        for (int c = 0; c < 4; c++) {
            char name[64];
            snprintf(name, sizeof name, "soft_labels/bar.%d.%d", side, c);
            const gui_rect bar = drive_find(&d, name);
            const double want = exp((double)logits[c] / tau) / sum * (double)axis.w;
            const double got = (double)measure(axis, bar.y + bar.h / 2, inks[side]);
            if (fabs(got - want) > 1.5)
                fail_msg("%s at tau %g reaches %g pixels, not %g", name, tau, got, want);
        }
    }
}

static void bars_are_the_softmax_of_the_logits(void **state) {
    (void)state;
    for (uint32_t n = 0; n < 3; n++) {
        scene_choose(d.s, 7 * n);
        all_panels();
        check_bars(3); /* the recipe's temperature */
    }
}

static void bars_follow_the_slider_and_the_keys(void **state) {
    (void)state;
    all_panels();
    drive_drag(&d, "soft_labels/tau", 0.5f, 0.2f);
    const float low = d.s->tau;
    assert_true(low > 0.5f && low < 3);
    check_bars((double)low);
    drive_drag(&d, "soft_labels/tau", 0.2f, 1.2f);
    assert_true(d.s->tau == 50);
    check_bars(50);
    drive_key(&d, '-');
    assert_true(fabsf(d.s->tau - 50 / 1.19f) < 1e-3f);
    d.s->tau = 3;
    const uint32_t sample = d.s->sample;
    drive_key(&d, GUI_KEY_PAGE_DOWN);
    assert_int_equal(d.s->sample, sample + 1);
    drive_click(&d, "soft_labels/<");
    assert_int_equal(d.s->sample, sample);
}

/* ---- Pictures ---- */

/* Of rows ordered by label: lines between classes cover their cells in part. */
static const int32_t *blocks;

static bool at_border(uint32_t row, uint32_t rows) {
    return blocks && row + 1 < rows && row &&
           (blocks[row - 1] != blocks[row] || blocks[row + 1] != blocks[row]);
}

/* The middle of each cell has the colour of its value, within a rounding of the two programs. */
static void check_matrix(const char *name, const double *values, uint32_t rows, uint32_t columns,
                         colourmap map, double low, double high) {
    const gui_rect r = drive_find(&d, name);
    for (uint32_t i = 0; i < rows * columns; i++) {
        const uint32_t row = i / columns, column = i % columns;
        if (at_border(row, rows) || at_border(column, rows)) continue;
        const float x = r.x + ((float)column + 0.5f) * r.w / (float)columns;
        const float y = r.y + ((float)row + 0.5f) * r.h / (float)rows;
        const double share =
            map == COLOURMAP_AMOUNT ? (values[i] - low) / (high - low) : values[i] / high;
        const uint32_t got = drive_pixel(&d, x, y), want = colourmap_at(map, share);
        if (!drive_near(got, want, 6))
            fail_msg("%s: cell %u is %08x, not %08x for %g", name, (unsigned)i, (unsigned)got,
                     (unsigned)want, values[i]);
    }
}

static void maps_are_the_values(void **state) {
    (void)state;
    static const char *const taps[] = {"stage1.out", "stage2.out"};
    static const uint32_t sizes[] = {6, 3};
    scene_choose(d.s, 5);
    all_panels();
    drive_click(&d, "attention/without the image");
    gui_event_move(d.g, -1, -1);
    drive_settle(&d);
    assert_int_equal(d.s->pair_count, 2);
    for (uint32_t layer = 0; layer < 2; layer++) {
        float maps[2][36];
        double values[3][36], high = 0, most = 0;
        char name[64];
        const uint32_t count = sizes[layer] * sizes[layer];
        ask("teacher", 5, taps[layer], NULL, maps[0]);
        ask("student", 5, taps[layer], NULL, maps[1]);
        for (int side = 0; side < 2; side++) {
            double length = 0;
            for (uint32_t i = 0; i < count; i++)
                length += pow((double)maps[side][i], 2);
            for (uint32_t i = 0; i < count; i++) {
                values[side][i] = (double)maps[side][i] / sqrt(length);
                high = fmax(high, values[side][i]);
            }
        }
        for (uint32_t i = 0; i < count; i++) {
            values[2][i] = values[1][i] - values[0][i];
            most = fmax(most, fabs(values[2][i]));
        }
        for (int i = 0; i < 3; i++) {
            snprintf(name, sizeof name, "attention/map.%u.%d", (unsigned)layer, i);
            check_matrix(name, values[i], sizes[layer], sizes[layer],
                         i < 2 ? COLOURMAP_AMOUNT : COLOURMAP_DIFFERENCE, 0, i < 2 ? high : most);
        }
    }
}

/* One layer alone; and with the image below, both are seen. */
static void a_layer_can_be_chosen(void **state) {
    (void)state;
    drive_panel(&d, PANEL_attention);
    assert_true(drive_has(&d, "attention/map.0.0") && drive_has(&d, "attention/map.1.0"));
    drive_choose(&d, "attention/layer", "attention/stage2.out");
    assert_true(!drive_has(&d, "attention/map.0.0") && drive_has(&d, "attention/map.1.0"));
    const gui_rect r = drive_find(&d, "attention/map.1.0");
    const uint32_t alone = drive_pixel(&d, r.x + r.w / 2, r.y + r.h / 2);
    drive_click(&d, "attention/without the image");
    assert_false(drive_near(drive_pixel(&d, r.x + r.w / 2, r.y + r.h / 2), alone, 2));
    drive_choose(&d, "attention/layer", "attention/all layers");
}

static void relations_are_the_distances(void **state) {
    (void)state;
    enum { ROWS = 64 };
    static double out[2][ROWS * ROWS], gap[ROWS * ROWS];
    static float x[2][ROWS][4];
    double high = 0, most = 0;
    uint32_t rows[ROWS], count = 0;
    int32_t labels[ROWS];
    for (int32_t label = 0; label < 4; label++)
        for (uint32_t i = 0; i < ROWS; i++)
            if (info->labels[i] == label) {
                labels[count] = label;
                rows[count++] = i;
            }
    for (int side = 0; side < 2; side++) {
        double mean = 0;
        for (uint32_t i = 0; i < ROWS; i++)
            memcpy(x[side][i], d.s->tests.logits[side] + (size_t)rows[i] * 4, sizeof x[side][i]);
        for (uint32_t i = 0; i < ROWS * ROWS; i++) {
            double sum = 0;
            for (int k = 0; k < 4; k++)
                sum += pow((double)x[side][i / ROWS][k] - (double)x[side][i % ROWS][k], 2);
            out[side][i] = sqrt(sum);
            mean += out[side][i] / (ROWS * (ROWS - 1));
        }
        for (uint32_t i = 0; i < ROWS * ROWS; i++)
            high = fmax(high, out[side][i] /= mean);
    }
    for (uint32_t i = 0; i < ROWS * ROWS; i++)
        most = fmax(most, fabs(gap[i] = out[1][i] - out[0][i]));
    blocks = labels;
    for (int alone = 0; alone < 2; alone++) {
        if (alone)
            drive_panel(&d, PANEL_relations);
        else
            all_panels();
        check_matrix("relations/teacher", out[0], ROWS, ROWS, COLOURMAP_AMOUNT, 0, high);
        check_matrix("relations/student", out[1], ROWS, ROWS, COLOURMAP_AMOUNT, 0, high);
        check_matrix("relations/difference", gap, ROWS, ROWS, COLOURMAP_DIFFERENCE, 0, most);
    }
    blocks = NULL;
    const gui_rect r = drive_find(&d, "relations/teacher");
    /* A click chooses the sample of the row. */
    drive_click_at(&d, r.x + 5, r.y + (40 + 0.5f) * r.h / (float)ROWS);
    assert_int_equal(d.s->sample, rows[40]);
}

static void classes_are_mean_probabilities(void **state) {
    (void)state;
    double means[2][16] = {{0}}, counts[4] = {0}, high = 0;
    d.s->tau = 2;
    all_panels();
    for (int side = 0; side < 2; side++)
        for (uint32_t n = 0; n < info->tests; n++) {
            const float *logits = d.s->tests.logits[side] + (size_t)n * 4;
            double sum = 0;
            for (int c = 0; c < 4; c++)
                sum += exp((double)logits[c] / 2);
            for (int c = 0; c < 4; c++)
                means[side][info->labels[n] * 4 + c] += exp((double)logits[c] / 2) / sum;
            counts[info->labels[n]] += 0.5;
        }
    for (int i = 0; i < 32; i++)
        means[i / 16][i % 16] /= counts[i % 16 / 4];
    for (int i = 0; i < 32; i++)
        if (i % 16 / 4 != i % 4) high = fmax(high, means[i / 16][i % 16]);
    drive_panel(&d, PANEL_classes);
    /* Numbers stand in the middle of large cells: look beside them. */
    for (int side = 0; side < 2; side++) {
        const gui_rect r = drive_find(&d, side ? "classes/student" : "classes/teacher");
        for (int i = 0; i < 16; i++) {
            const int row = i / 4;
            const float x = r.x + ((float)(i % 4) + 0.12f) * r.w / 4;
            const float y = r.y + ((float)row + 0.12f) * r.h / 4;
            const uint32_t want = colourmap_at(COLOURMAP_AMOUNT, means[side][i] / high);
            if (!drive_near(drive_pixel(&d, x, y), want, 6))
                fail_msg("side %d, cell %d is not the colour of %g", side, i, means[side][i]);
        }
    }
    /* A click on a cell: the sample of its class with the largest probability is the first. */
    const gui_rect r = drive_find(&d, "classes/student");
    drive_click_at(&d, r.x + 2.5f * r.w / 4, r.y + 1.5f * r.h / 4);
    double best = -1;
    uint32_t first = 0;
    for (uint32_t n = 0; n < info->tests; n++) {
        double p[4];
        math_softmax(d.s->tests.logits[1] + (size_t)n * 4, 4, 2, p);
        if (info->labels[n] != 1 || p[2] <= best) continue;
        best = p[2];
        first = n;
    }
    drive_click(&d, "classes/cell.0");
    assert_int_equal(d.s->sample, first);
    d.s->tau = 3;
}

/* ---- Curves, samples ---- */

/* The student's last accuracy stands where its axes put it, in its colour. */
static void curves_are_the_metrics(void **state) {
    (void)state;
    drive_panel(&d, PANEL_training);
    const vkd_metrics_view *v = d.s->view;
    const vkd_metrics_phase *p = &v->phases[v->phase_count - 1];
    const vkd_series *rate = NULL;
    for (uint32_t i = 0; i < p->series_count; i++)
        if (p->series[i].kind == VKD_SERIES_RATE) rate = &p->series[i];
    assert_non_null(rate);
    const gui_rect r = drive_find(&d, "training/rate.plot");
    double most = 0;
    for (uint32_t i = 0; i < rate->count; i++)
        most = fmax(most, rate->values[i]);
    /* Its axis begins at 0 and ends at the next of 1, 2, 5 times a power of ten's steps. */
    uint32_t seen = 0;
    for (uint32_t i = 1; i + 1 < rate->count; i++) {
        const float x = r.x + r.w * (float)(rate->steps[i] / (double)p->step);
        float y = r.y + r.h;
        while (y > r.y && !drive_near(drive_pixel(&d, x, y), 0xc58af9ff, 60))
            y--;
        const double height = (double)(r.y + r.h - y) / (double)r.h;
        const double top = rate->values[i] / height; /* the same for each point */
        if (height > 0.02 && top > 0.99 * most && top < 2.1 * most) seen++;
    }
    assert_int_equal(seen, rate->count - 2);
}

static double disagreement(uint32_t n) {
    double p[2][4];
    for (int side = 0; side < 2; side++)
        math_softmax(d.s->tests.logits[side] + (size_t)n * 4, 4, 3, p[side]);
    return math_js(p[0], p[1], 4);
}

static void samples_are_found_by_disagreement_and_class(void **state) {
    (void)state;
    drive_panel(&d, PANEL_samples);
    drive_choose(&d, "samples/##order", "samples/largest disagreement");
    uint32_t worst = 0, of_class = SCENE_NONE;
    for (uint32_t n = 0; n < info->tests; n++) {
        if (disagreement(n) > disagreement(worst)) worst = n;
        if (info->labels[n] == 2 &&
            (of_class == SCENE_NONE || disagreement(n) > disagreement(of_class)))
            of_class = n;
    }
    drive_click(&d, "samples/thumb.0");
    assert_int_equal(d.s->sample, worst);
    drive_choose(&d, "samples/##class", "samples/class 2");
    drive_click(&d, "samples/thumb.0");
    assert_int_equal(d.s->sample, of_class);
    drive_choose(&d, "samples/##class", "samples/all classes");
    drive_choose(&d, "samples/##order", "samples/by number");
    /* What a thumbnail shows are the sample's pixels. */
    gui_event_move(d.g, -1, -1);
    drive_frames(&d, 2);
    const gui_rect r = drive_find(&d, "samples/thumb.3");
    for (uint32_t i = 0; i < 36; i++) {
        const uint32_t grey = info->pixels[3 * 36 + i], row = i / 6;
        const uint32_t got = drive_pixel(&d, r.x + ((float)(i % 6) + 0.5f) * r.w / 6,
                                         r.y + ((float)row + 0.5f) * r.h / 6);
        assert_true(drive_near(got, grey << 24 | grey << 16 | grey << 8, 2));
    }
}

/* Another model of the run takes the student's place. */
static void the_control_can_stand_in_for_the_student(void **state) {
    (void)state;
    drive_panel(&d, PANEL_samples);
    drive_choose(&d, "samples/student", "samples/student_control");
    drive_settle(&d);
    float logits[4];
    ask("student_control", 9, NULL, logits, NULL);
    assert_int_equal(d.s->tests.count, info->tests);
    for (int c = 0; c < 4; c++)
        assert_true(fabsf(d.s->tests.logits[1][9 * 4 + c] - logits[c]) < 1e-4f);
    drive_choose(&d, "samples/student", "samples/student");
    drive_settle(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bars_are_the_softmax_of_the_logits),
        cmocka_unit_test(bars_follow_the_slider_and_the_keys),
        cmocka_unit_test(maps_are_the_values),
        cmocka_unit_test(a_layer_can_be_chosen),
        cmocka_unit_test(relations_are_the_distances),
        cmocka_unit_test(classes_are_mean_probabilities),
        cmocka_unit_test(curves_are_the_metrics),
        cmocka_unit_test(samples_are_found_by_disagreement_and_class),
        cmocka_unit_test(the_control_can_stand_in_for_the_student),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
