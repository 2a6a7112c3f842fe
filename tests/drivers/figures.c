// SPDX-License-Identifier: Apache-2.0
#include "figures.h"

#include <string.h>

static bool take(const vkd__statistic *s, uint32_t count, const char *name, double *out) {
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(s[i].name, name)) continue;
        *out = s[i].value;
        return true;
    }
    return false;
}

vkd_result figures_of(vkd_device *d, const vkd__pipeline *p, figures *out) {
    vkd__statistic s[64];
    uint32_t count = VKD_COUNT(s);
    double spilled_vgprs, spilled_sgprs;
    const vkd_result r = vkd__pipeline_statistics(d, p, s, &count);
    if (r) return r;
    if (!take(s, count, "VGPRs", &out->vgprs) || !take(s, count, "SGPRs", &out->sgprs) ||
        !take(s, count, "Spilled VGPRs", &spilled_vgprs) ||
        !take(s, count, "Spilled SGPRs", &spilled_sgprs) ||
        !take(s, count, "Scratch size", &out->scratch) ||
        !take(s, count, "LDS size", &out->shared) ||
        !take(s, count, "Subgroups per SIMD", &out->waves) ||
        !take(s, count, "Code size", &out->code))
        return vkd__fail(d->ctx, VKD_E_ARGUMENT,
                         "the driver of '%s' has no figures of registers, scratch and waves",
                         vkd_device_name(d));
    out->spilled = spilled_vgprs + spilled_sgprs;
    return VKD_OK;
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

void figures_worsen(figures *worst, const figures *f, bool first) {
    if (first) *worst = *f;
    worst->vgprs = larger(worst->vgprs, f->vgprs);
    worst->sgprs = larger(worst->sgprs, f->sgprs);
    worst->spilled = larger(worst->spilled, f->spilled);
    worst->scratch = larger(worst->scratch, f->scratch);
    worst->shared = larger(worst->shared, f->shared);
    worst->code = larger(worst->code, f->code);
    if (f->waves < worst->waves) worst->waves = f->waves;
}

/* ---- Assembly ---- */

static bool is_product(const char *instruction) {
    static const char *const names[] = {"v_fma",      "v_mac",      "v_mad_f",       "v_pk_fma",
                                        "v_dual_fma", "v_dual_mac", "v_wmma",        "v_mul_f",
                                        "v_dual_mul", "v_mfma",     "v_fma_mix_f32", "v_dot"};
    for (size_t i = 0; i < VKD_COUNT(names); i++)
        if (!strncmp(instruction, names[i], strlen(names[i]))) return true;
    return false;
}

/* Counts the vector instructions of one line, and those of them that are multiply-adds. */
static void count_line(const char *line, size_t length, uint32_t *all, uint32_t *products) {
    for (size_t i = 0; i < length; i++) {
        const bool begins = i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t';
        if (!begins || i + 2 > length || line[i] != 'v' || line[i + 1] != '_') continue;
        *all += 1;
        *products += is_product(line + i);
    }
}

double figures_products(const char *code) {
    uint32_t all = 0, products = 0, best_all = 1, best = 0;
    while (*code) {
        const size_t length = strcspn(code, "\n");
        if (!strncmp(code, "BB", 2)) all = products = 0;
        count_line(code, length, &all, &products);
        if (products > best) {
            best = products;
            best_all = all;
        }
        code += length + (code[length] == '\n');
    }
    return (double)best / best_all;
}
