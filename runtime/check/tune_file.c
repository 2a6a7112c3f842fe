// SPDX-License-Identifier: Apache-2.0
/* What is kept of a tuning, as lines of text:
 *
 *     vkdistill sizes 1
 *     device <uuid> driver <version> kernels tile|direct shaders <hash> table <hash>
 *     mode quick|full
 *     knob <name>|<table's size>|<chosen size>|<ns>|<ns>|<tried>|<candidates>
 *     end <hash of all before this line>
 *
 * Numbers of the second line and the hash are hexadecimal, the others decimal. The file is
 * believed only when its writer could have written exactly these bytes. */
#include <string.h>

#include "check/tune.h"
#include "graph/plan.h"

#define FIRST_LINE "vkdistill sizes 1"

vkd__tuning vkd__tuning_key(const vkd_device *device) {
    const vkd_profile *table = vkd__device_table(device);
    vkd__tuning t = {
        .device = vkd__device_identity(device), .direct = table->direct, .table = VKD__HASH_SEED};
    for (size_t i = 0; i < vkd__knob_count; i++) {
        const vkd__knob *k = &vkd__knobs[i];
        char text[VKD__SIZE_TEXT];
        vkd_profile p = *table;
        t.table = vkd__hash(t.table, k->name, strlen(k->name) + 1);
        k->text(&p, text);
        t.table = vkd__hash(t.table, text, strlen(text) + 1);
        for (uint32_t c = 0; c < k->count; c++) {
            if (!k->set(&p, c)) continue;
            k->text(&p, text);
            t.table = vkd__hash(t.table, text, strlen(text) + 1);
        }
    }
    return t;
}

/* ---- Writing ---- */

void vkd__tuning_print(const vkd__tuning *t, vkd__text *out) {
    const size_t start = out->length;
    vkd__text_add(out, FIRST_LINE "\ndevice ");
    for (size_t i = 0; i < sizeof t->device.uuid; i++)
        vkd__text_add(out, "%02x", (unsigned)t->device.uuid[i]);
    vkd__text_add(out, " driver %x kernels %s shaders %llx table %llx\nmode %s\n",
                  (unsigned)t->device.driver_version, t->direct ? "direct" : "tile",
                  (unsigned long long)t->device.shaders, (unsigned long long)t->table,
                  t->full ? "full" : "quick");
    for (uint32_t i = 0; i < t->count; i++) {
        const vkd__tuned *k = &t->knob[i];
        vkd__text_add(out, "knob %s|%s|%s|%llu|%llu|%u|%u\n", k->name, k->table, k->chosen,
                      (unsigned long long)k->table_ns, (unsigned long long)k->chosen_ns,
                      (unsigned)k->tried, (unsigned)k->candidates);
    }
    if (out->failed) return;
    const uint64_t hash = vkd__hash(VKD__HASH_SEED, out->text + start, out->length - start);
    vkd__text_add(out, "end %llx\n", (unsigned long long)hash);
}

/* ---- Reading ---- */

typedef struct reader {
    const char *at, *end;
    bool bad;
} reader;

static void expect(reader *r, const char *word) {
    const size_t length = strlen(word);
    r->bad = r->bad || (size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0;
    if (!r->bad) r->at += length;
}

static bool skip(reader *r, const char *word) {
    reader copy = *r;
    expect(&copy, word);
    if (!copy.bad) *r = copy;
    return !copy.bad;
}

static uint32_t digit(char c) {
    if (c >= '0' && c <= '9') return (uint32_t)(c - '0');
    return c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10) : 16;
}

/* As a printer writes it: at least one digit, no zeros in front, at most `most`. */
static uint64_t number(reader *r, uint32_t base, uint64_t most) {
    uint64_t value = 0;
    const char *start = r->at;
    while (!r->bad && r->at < r->end && digit(*r->at) < base) {
        const uint32_t d = digit(*r->at++);
        r->bad = value > (most - d) / base;
        value = value * base + d;
    }
    r->bad = r->bad || r->at == start || (*start == '0' && r->at - start > 1);
    return value;
}

/* Up to the bar, which is skipped. */
static void word(reader *r, char *out, size_t size) {
    size_t n = 0;
    while (r->at < r->end && *r->at != '|' && *r->at != '\n' && *r->at && n + 1 < size)
        out[n++] = *r->at++;
    out[n] = 0;
    expect(r, "|");
}

static void read_device(reader *r, vkd__tuning *out) {
    expect(r, "device ");
    for (size_t i = 0; i < sizeof out->device.uuid; i++) {
        const bool two = r->end - r->at >= 2 && digit(r->at[0]) < 16 && digit(r->at[1]) < 16;
        r->bad = r->bad || !two;
        if (r->bad) return;
        out->device.uuid[i] = (uint8_t)(digit(r->at[0]) << 4 | digit(r->at[1]));
        r->at += 2;
    }
    expect(r, " driver ");
    out->device.driver_version = (uint32_t)number(r, 16, UINT32_MAX);
    expect(r, " kernels ");
    out->direct = skip(r, "direct");
    if (!out->direct) expect(r, "tile");
    expect(r, " shaders ");
    out->device.shaders = number(r, 16, UINT64_MAX);
    expect(r, " table ");
    out->table = number(r, 16, UINT64_MAX);
    expect(r, "\n");
}

static void read_knob(reader *r, vkd__tuned *k) {
    word(r, k->name, sizeof k->name);
    word(r, k->table, sizeof k->table);
    word(r, k->chosen, sizeof k->chosen);
    k->table_ns = number(r, 10, UINT64_MAX);
    expect(r, "|");
    k->chosen_ns = number(r, 10, UINT64_MAX);
    expect(r, "|");
    k->tried = (uint32_t)number(r, 10, UINT32_MAX);
    expect(r, "|");
    k->candidates = (uint32_t)number(r, 10, UINT32_MAX);
    expect(r, "\n");
}

const char *vkd__tuning_parse(const void *bytes, size_t size, vkd__tuning *out) {
    reader r = {.at = bytes, .end = (const char *)bytes + size};
    *out = (vkd__tuning){0};
    if (!size || !skip(&r, FIRST_LINE "\n")) return "it is not one of ours, or of another version";
    read_device(&r, out);
    expect(&r, "mode ");
    out->full = skip(&r, "full");
    if (!out->full) expect(&r, "quick");
    expect(&r, "\n");
    while (!r.bad && skip(&r, "knob ")) {
        r.bad = out->count == VKD__TUNE_MOST;
        if (!r.bad) read_knob(&r, &out->knob[out->count++]);
    }
    const uint64_t hash = vkd__hash(VKD__HASH_SEED, bytes, (size_t)(r.at - (const char *)bytes));
    expect(&r, "end ");
    r.bad = number(&r, 16, UINT64_MAX) != hash || r.bad;
    expect(&r, "\n");
    return r.bad || r.at != r.end ? "it is damaged" : NULL;
}

const char *vkd__tuning_foreign(const vkd__tuning *t, const vkd__tuning *key) {
    if (memcmp(t->device.uuid, key->device.uuid, sizeof t->device.uuid) != 0 ||
        t->device.driver_version != key->device.driver_version)
        return "another driver or device made it";
    if (t->device.shaders != key->device.shaders || t->direct != key->direct)
        return "it was made for other kernels";
    return t->table != key->table ? "it was made for other candidates" : NULL;
}
