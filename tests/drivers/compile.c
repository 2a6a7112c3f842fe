// SPDX-License-Identifier: Apache-2.0
/* What a driver's compiler makes of every kernel that the product may launch (walk.h says which).
 *
 *   compile             fails when a kernel spills registers, needs scratch memory or more than
 *                       32 KiB of shared memory, or leaves a matmul fewer than four waves a SIMD
 *   compile --table     a row for each kernel, of its worst pipeline
 *   compile --all       a row for each pipeline
 *   compile --tiles     a row for each tile of the products' kernels (tiles.h)
 *   compile --code K    the machine code of kernel K's first pipeline
 *   --kernel K          only kernel K: any of the above; there must be one
 *   --contains TEXT     fails also when the machine code of a pipeline has no such text
 *   --validate          under the validation layers, which take as long as the compiler
 *
 * It needs VK_KHR_pipeline_executable_properties with the statistics of Mesa's RADV, which gives
 * them without a card: tests/drivers/radv navi31 build/dev/tests/drivers_compile --table */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "tiles.h"
#include "walk.h"

enum { MAX_SHARED = 32768, MIN_WAVES = 4, NAMED_FAULTS = 4 };

typedef struct options {
    bool table, all, tiles, validate;
    const char *kernel, *code, *contains;
} options;

typedef struct compiling {
    vkd_ctx *ctx;
    vkd_device *device;
    options o;
} compiling;

static vkd_result compile_launch(void *user, const vkd__launch *launch) {
    compiling *c = user;
    vkd__pipeline unused;
    if (c->o.kernel && strcmp(c->o.kernel, launch->kernel)) return VKD_OK;
    return vkd__pipeline_get(c->device, launch, &unused);
}

/* ---- One pipeline ---- */

static const char *name_of(const vkd__pipeline *p) {
    return vkd__kernels[p->kernel_index].name;
}

/* "0=256 3=64 ...": constants that were given, by id. */
static void write_constants(const vkd__pipeline *p, char *out, size_t size) {
    const vkd__reflection *r = &p->kernel->reflection;
    size_t length = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < r->spec_count && length < size; i++)
        if (p->spec_set >> i & 1)
            length += (size_t)snprintf(out + length, size - length, "%s%u=%u", length ? " " : "",
                                       (unsigned)r->spec_id[i], (unsigned)p->spec[i]);
}

static void print_head(void) {
    printf("%-22s %9s %6s %6s %8s %8s %7s %6s %7s\n", "kernel", "pipelines", "VGPRs", "SGPRs",
           "spilled", "scratch", "LDS", "waves", "code");
}

static void print_row(const char *name, unsigned pipelines, const figures *f, const char *tail) {
    printf("%-22s %9u %6.0f %6.0f %8.0f %8.0f %7.0f %6.0f %7.0f%s%s\n", name, pipelines, f->vgprs,
           f->sgprs, f->spilled, f->scratch, f->shared, f->waves, f->code, *tail ? "  " : "", tail);
}

static bool is_product(const char *kernel) {
    return !strncmp(kernel, "matmul", 6) || !strncmp(kernel, "conv", 4);
}

/* Whether the code has what --contains asks for. */
static vkd_result look_into(compiling *c, const vkd__pipeline *p, bool *lacks) {
    char *text = NULL;
    *lacks = false;
    if (!c->o.contains) return VKD_OK;
    const vkd_result r = vkd__pipeline_code(c->device, p, &text);
    if (!r) *lacks = !strstr(text, c->o.contains);
    vkd_free_text(c->ctx, text);
    return r;
}

/* What is wrong with it, or NULL. */
static const char *fault_of(const char *kernel, const figures *f, bool lacks) {
    if (lacks) return "has not what --contains asks for in its code";
    if (f->spilled > 0) return "spills registers";
    if (f->scratch > 0) return "needs scratch memory";
    if (f->shared > (double)MAX_SHARED) return "takes more than 32 KiB of shared memory";
    if (is_product(kernel) && f->waves < (double)MIN_WAVES)
        return "leaves fewer than 4 waves a SIMD";
    return NULL;
}

/* ---- All of them ---- */

/* Whether a kernel must be in some plan: those of the family that this device runs. */
static bool is_due(const compiling *c, const char *kernel) {
    const vkd_profile *p = vkd_device_profile(c->device);
    if (c->o.kernel) return !strcmp(c->o.kernel, kernel);
    if (strstr(kernel, "coopmat")) return strstr(kernel, "bf16") ? p->coop.bf16 : p->coop.f16;
    return p->direct || !strstr(kernel, ".direct");
}

/* Prints what was asked for; *faults counts the pipelines that fail. */
static vkd_result report_kernel(compiling *c, uint32_t kernel, uint32_t *faults) {
    figures worst = {0};
    unsigned count = 0;
    const uint32_t before = *faults;
    char constants[512];
    for (size_t i = 0; i < c->device->pipeline_count; i++) {
        const vkd__pipeline *p = &c->device->pipelines[i];
        figures f = {0};
        if (p->kernel_index != kernel) continue;
        bool lacks = false;
        vkd_result r = figures_of(c->device, p, &f);
        if (!r) r = look_into(c, p, &lacks);
        if (r) return r;
        figures_worsen(&worst, &f, !count++);
        const char *fault = fault_of(name_of(p), &f, lacks);
        write_constants(p, constants, sizeof constants);
        if (c->o.all) print_row(name_of(p), 1, &f, constants);
        if (!fault) continue;
        if ((*faults)++ - before >= NAMED_FAULTS) continue; /* --all shows the others */
        fprintf(stderr, "kernel '%s' %s on '%s' (%s)\n", name_of(p), fault,
                vkd_device_name(c->device), constants);
    }
    if (*faults - before > NAMED_FAULTS)
        fprintf(stderr, "kernel '%s': %u of %u pipelines at fault\n", vkd__kernels[kernel].name,
                (unsigned)(*faults - before), count);
    if (c->o.table && count) print_row(vkd__kernels[kernel].name, count, &worst, "");
    if (!count && is_due(c, vkd__kernels[kernel].name)) {
        *faults += 1;
        fprintf(stderr, "kernel '%s' is in no plan that tests/drivers/walk.c makes\n",
                vkd__kernels[kernel].name);
    }
    return VKD_OK;
}

static vkd_result print_code(compiling *c) {
    char *text = NULL;
    for (size_t i = 0; i < c->device->pipeline_count; i++) {
        const vkd__pipeline *p = &c->device->pipelines[i];
        if (strcmp(name_of(p), c->o.code)) continue;
        const vkd_result r = vkd__pipeline_code(c->device, p, &text);
        if (!r) puts(text);
        vkd_free_text(c->ctx, text);
        return r;
    }
    return vkd__fail(c->ctx, VKD_E_ARGUMENT, "no plan has the kernel '%s'", c->o.code);
}

static vkd_result compile_all(compiling *c, uint32_t *faults) {
    walk w = {.ctx = c->ctx,
              .profile = *vkd_device_profile(c->device),
              .visit = compile_launch,
              .user = c};
    if (c->o.kernel && !vkd__kernel_find(c->o.kernel))
        return vkd__fail(c->ctx, VKD_E_ARGUMENT, "this build has no kernel '%s'", c->o.kernel);
    vkd_result r = walk_all(&w);
    if (!r && c->o.code) return print_code(c);
    if (!r && (c->o.table || c->o.all)) print_head();
    for (uint32_t i = 0; !r && i < vkd__kernel_count; i++)
        r = report_kernel(c, i, faults);
    if (!r)
        fprintf(stderr, "'%s': %u pipelines out of %u plans, %u at fault\n",
                vkd_device_name(c->device), (unsigned)c->device->pipeline_count, (unsigned)w.plans,
                (unsigned)*faults);
    return r;
}

static void show(void *user, vkd_log_level level, const char *message) {
    (void)user;
    /* Errors come back as results, but for what the validation layers say. */
    if (level <= VKD_LOG_WARNING && !strncmp(message, "validation:", 11))
        fprintf(stderr, "%s\n", message);
}

static bool parse(int count, char **words, options *o) {
    for (int i = 1; i < count; i++) {
        const char *next = i + 1 < count ? words[i + 1] : NULL;
        if (!strcmp(words[i], "--table"))
            o->table = true;
        else if (!strcmp(words[i], "--all"))
            o->all = true;
        else if (!strcmp(words[i], "--kernel") && next)
            o->kernel = words[++i];
        else if (!strcmp(words[i], "--tiles"))
            o->tiles = true;
        else if (!strcmp(words[i], "--validate"))
            o->validate = true;
        else if (!strcmp(words[i], "--contains") && next)
            o->contains = words[++i];
        else if (!strcmp(words[i], "--code") && next)
            o->code = o->kernel = words[++i];
        else
            return false;
    }
    return true;
}

int main(int count, char **words) {
    compiling c = {0};
    uint32_t faults = 0;
    if (!parse(count, words, &c.o)) {
        fprintf(stderr, "compile [--table] [--all] [--tiles] [--kernel NAME] [--code NAME] "
                        "[--contains TEXT] [--validate]\n");
        return 2;
    }
    if (vkd_ctx_create(&(vkd_ctx_desc){.log = show}, &c.ctx)) return EXIT_FAILURE;
    vkd_result r = vkd__device_open_for_statistics(
        c.ctx, &(vkd_device_desc){.validate = c.o.validate, .cache_dir = ""},
        c.o.code || c.o.contains || c.o.tiles, &c.device);
    if (!r) r = c.o.tiles ? tiles_print(c.device) : compile_all(&c, &faults);
    if (r) fprintf(stderr, "compile: %s\n", vkd_ctx_error(c.ctx));
    if (c.device) faults += vkd_device_validation_messages(c.device);
    vkd_device_close(c.device);
    vkd_ctx_destroy(c.ctx);
    return r || faults ? EXIT_FAILURE : EXIT_SUCCESS;
}
