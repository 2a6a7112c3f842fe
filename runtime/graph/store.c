// SPDX-License-Identifier: Apache-2.0
#include "graph/store.h"

#include <string.h>

#include "graph/graph.h"

vkd_result vkd_store_create(vkd_ctx *ctx, vkd_store **out) {
    *out = vkd__alloc(ctx, 1, sizeof **out);
    if (!*out) return VKD_E_MEMORY;
    (*out)->ctx = ctx;
    return VKD_OK;
}

void vkd_store_destroy(vkd_store *store) {
    if (!store) return;
    if (store->backend.release) store->backend.release(store->backend.user);
    for (size_t i = 0; i < store->entry_count; i++) {
        vkd__free(store->ctx, store->entries[i].name);
        vkd__free(store->ctx, store->entries[i].host);
    }
    vkd__free(store->ctx, store->entries);
    vkd__free(store->ctx, store);
}

uint32_t vkd__store_find(const vkd_store *s, const char *name) {
    for (size_t i = 0; i < s->entry_count; i++)
        if (!strcmp(s->entries[i].name, name)) return (uint32_t)i;
    return VKD__NO_ENTRY;
}

/* ---- The public view leaves groups out: their members are what a user knows ---- */

uint32_t vkd_store_count(const vkd_store *store) {
    uint32_t count = 0;
    for (size_t i = 0; i < store->entry_count; i++)
        count += store->entries[i].kind != VKD__ENTRY_GROUP;
    return count;
}

static vkd_store_info describe(const vkd__entry *e) {
    return (vkd_store_info){.name = e->name,
                            .dtype = e->dtype,
                            .shape = e->shape,
                            .parameter = e->kind == VKD__ENTRY_MEMBER,
                            .buffer = e->kind == VKD__ENTRY_BUFFER};
}

vkd_store_info vkd_store_at(const vkd_store *store, uint32_t index) {
    for (size_t i = 0; i < store->entry_count; i++)
        if (store->entries[i].kind != VKD__ENTRY_GROUP && !index--)
            return describe(&store->entries[i]);
    return (vkd_store_info){0};
}

bool vkd_store_find(const vkd_store *store, const char *name, vkd_store_info *out) {
    const uint32_t i = vkd__store_find(store, name);
    if (i == VKD__NO_ENTRY || store->entries[i].kind == VKD__ENTRY_GROUP) return false;
    if (out) *out = describe(&store->entries[i]);
    return true;
}

/* ---- Entries ---- */

static vkd_result add(vkd_store *s, const char *name, vkd__entry e, uint32_t *entry) {
    char *copy = vkd__strdup(s->ctx, name);
    if (!copy) return VKD_E_MEMORY;
    if (!VKD__RESERVE(s->ctx, s->entries, s->entry_count, s->entry_capacity)) {
        vkd__free(s->ctx, copy);
        return VKD_E_MEMORY;
    }
    e.name = copy;
    e.bytes = vkd_shape_count(e.shape) * vkd_dtype_size(e.dtype);
    *entry = (uint32_t)s->entry_count;
    s->entries[s->entry_count++] = e;
    return VKD_OK;
}

static vkd_result check_same(vkd_store *s, const vkd__entry *e, vkd__entry_kind kind,
                             vkd_dtype dtype, vkd_shape shape) {
    static const char *const kinds[] = {"state", "buffer", "parameter", "group"};
    if (e->kind != kind)
        return vkd__fail(s->ctx, VKD_E_ARGUMENT, "'%s' is both a %s and a %s", e->name,
                         kinds[e->kind], kinds[kind]);
    if (e->dtype != dtype || !vkd__shape_equal(e->shape, shape))
        return vkd__fail(s->ctx, VKD_E_SHAPE,
                         "'%s' is already in the store with %llu elements, not %llu, or another "
                         "shape or type",
                         e->name, (unsigned long long)vkd_shape_count(e->shape),
                         (unsigned long long)vkd_shape_count(shape));
    return VKD_OK;
}

vkd_result vkd__store_state(vkd_store *s, const char *name, vkd_dtype dtype, vkd_shape shape,
                            uint32_t *entry) {
    *entry = vkd__store_find(s, name);
    if (*entry != VKD__NO_ENTRY)
        return check_same(s, &s->entries[*entry], VKD__ENTRY_STATE, dtype, shape);
    const char *fault = vkd__shape_fault(shape, dtype);
    if (fault) return vkd__fail(s->ctx, VKD_E_SHAPE, "the state '%s' has %s", name, fault);
    return add(s, name, (vkd__entry){.kind = VKD__ENTRY_STATE, .dtype = dtype, .shape = shape},
               entry);
}

/* A name's part before the first dot is its group. */
static vkd_result check_name(vkd_store *s, const char *what, const char *name) {
    const char *dot = strchr(name, '.');
    if (dot && dot != name && dot[1]) return VKD_OK;
    return vkd__fail(s->ctx, VKD_E_ARGUMENT, "the %s '%s' needs a name of the form group.name",
                     what, name);
}

vkd_result vkd__store_make_buffer(vkd_store *s, const char *name, vkd_shape shape,
                                  const vkd_init *init, uint32_t seed, uint32_t *entry) {
    *entry = vkd__store_find(s, name);
    if (*entry != VKD__NO_ENTRY)
        return check_same(s, &s->entries[*entry], VKD__ENTRY_BUFFER, VKD_F32, shape);
    const char *fault = vkd__shape_fault(shape, VKD_F32);
    if (fault) return vkd__fail(s->ctx, VKD_E_SHAPE, "the buffer '%s' has %s", name, fault);
    const vkd_result r = check_name(s, "buffer", name);
    if (r) return r;
    return add(s, name,
               (vkd__entry){.kind = VKD__ENTRY_BUFFER,
                            .dtype = VKD_F32,
                            .shape = shape,
                            .init = *init,
                            .seed = seed},
               entry);
}

static vkd_result find_group(vkd_store *s, const char *name, uint32_t *group) {
    const vkd_result r = check_name(s, "parameter", name);
    if (r) return r;
    char bare[128];
    const size_t length = (size_t)(strchr(name, '.') - name);
    if (length >= sizeof bare)
        return vkd__fail(s->ctx, VKD_E_ARGUMENT, "the group's name in '%s' is too long", name);
    memcpy(bare, name, length);
    bare[length] = 0;
    *group = vkd__store_find(s, bare);
    if (*group == VKD__NO_ENTRY)
        return add(s, bare, (vkd__entry){.kind = VKD__ENTRY_GROUP, .dtype = VKD_F32}, group);
    if (s->entries[*group].kind != VKD__ENTRY_GROUP)
        return vkd__fail(s->ctx, VKD_E_ARGUMENT,
                         "'%s' is there already, it cannot be a group of parameters", bare);
    return VKD_OK;
}

vkd_result vkd__store_member(vkd_store *s, const char *name, vkd_shape shape, const vkd_init *init,
                             uint32_t seed, uint32_t *entry) {
    *entry = vkd__store_find(s, name);
    if (*entry != VKD__NO_ENTRY)
        return check_same(s, &s->entries[*entry], VKD__ENTRY_MEMBER, VKD_F32, shape);
    const char *fault = vkd__shape_fault(shape, VKD_F32);
    if (fault) return vkd__fail(s->ctx, VKD_E_SHAPE, "the parameter '%s' has %s", name, fault);
    uint32_t group = 0;
    const vkd_result r = find_group(s, name, &group);
    if (r) return r;
    if (s->entries[group].closed)
        return vkd__fail(s->ctx, VKD_E_ARGUMENT,
                         "'%s' comes too late: the group '%s' is laid out already", name,
                         s->entries[group].name);
    return add(s, name,
               (vkd__entry){.kind = VKD__ENTRY_MEMBER,
                            .dtype = VKD_F32,
                            .shape = shape,
                            .group = group,
                            .init = *init,
                            .no_decay = init->no_decay,
                            .seed = seed},
               entry);
}

vkd_result vkd__store_close_group(vkd_store *s, uint32_t group) {
    vkd__entry *g = &s->entries[group];
    if (g->closed) return VKD_OK;
    uint64_t elements = 0;
    for (int no_decay = 0; no_decay <= 1; no_decay++) {
        for (size_t i = 0; i < s->entry_count; i++) {
            vkd__entry *e = &s->entries[i];
            if (e->kind != VKD__ENTRY_MEMBER || e->group != group || e->no_decay != (bool)no_decay)
                continue;
            e->offset = elements * sizeof(float);
            elements += vkd__align_up(vkd_shape_count(e->shape), VKD__GROUP_ALIGN);
        }
        if (!no_decay) g->decay_count = elements;
    }
    if (elements > UINT32_MAX)
        return vkd__fail(s->ctx, VKD_E_SHAPE, "the group '%s' has %llu parameters, too many",
                         g->name, (unsigned long long)elements);
    g->shape = VKD_SHAPE((uint32_t)elements);
    g->bytes = elements * sizeof(float);
    g->closed = true;
    return VKD_OK;
}

/* ---- Values ---- */

/* Where a member's or a state's values lie: the entry that has storage, and the offset in it. */
static vkd__entry *storage_of(vkd_store *s, uint32_t entry, uint64_t *offset) {
    vkd__entry *e = &s->entries[entry];
    *offset = e->kind == VKD__ENTRY_MEMBER ? e->offset : 0;
    return e->kind == VKD__ENTRY_MEMBER ? &s->entries[e->group] : e;
}

/* Host values of an entry with storage, at first the start values of it or its members. */
static vkd_result host_values(vkd_store *s, uint32_t entry) {
    vkd__entry *home = &s->entries[entry];
    if (home->host) return VKD_OK;
    home->host = vkd__alloc(s->ctx, home->bytes, 1);
    if (!home->host) return VKD_E_MEMORY;
    if (home->kind == VKD__ENTRY_BUFFER)
        vkd__init_values(&home->init, home->shape, home->seed, home->name, home->host);
    for (size_t i = 0; i < s->entry_count; i++) {
        const vkd__entry *e = &s->entries[i];
        if (home->kind == VKD__ENTRY_GROUP && e->kind == VKD__ENTRY_MEMBER && e->group == entry)
            vkd__init_values(&e->init, e->shape, e->seed, e->name,
                             (float *)((char *)home->host + e->offset));
    }
    return VKD_OK;
}

typedef struct access {
    vkd__entry *home;
    uint64_t offset;
} access;

static vkd_result open_access(vkd_store *s, const char *name, size_t bytes, access *out) {
    const uint32_t i = vkd__store_find(s, name);
    if (i == VKD__NO_ENTRY || s->entries[i].kind == VKD__ENTRY_GROUP)
        return vkd__fail(s->ctx, VKD_E_ARGUMENT, "there is no tensor '%s' in the store", name);
    if (s->entries[i].bytes != bytes)
        return vkd__fail(s->ctx, VKD_E_ARGUMENT, "'%s' has %llu bytes, not %zu", name,
                         (unsigned long long)s->entries[i].bytes, bytes);
    if (s->entries[i].kind == VKD__ENTRY_MEMBER) {
        const vkd_result r = vkd__store_close_group(s, s->entries[i].group);
        if (r) return r;
    }
    out->home = storage_of(s, i, &out->offset);
    return out->home->handle ? VKD_OK : host_values(s, (uint32_t)(out->home - s->entries));
}

vkd_result vkd_store_write(vkd_store *store, const char *name, const void *data, size_t bytes) {
    access a = {0};
    const vkd_result r = open_access(store, name, bytes, &a);
    if (r) return r;
    if (a.home->handle)
        return store->backend.write(store->backend.user, a.home, a.offset, data, bytes);
    memcpy((char *)a.home->host + a.offset, data, bytes);
    return VKD_OK;
}

vkd_result vkd_store_read(vkd_store *store, const char *name, void *data, size_t bytes) {
    access a = {0};
    const vkd_result r = open_access(store, name, bytes, &a);
    if (r) return r;
    if (a.home->handle)
        return store->backend.read(store->backend.user, a.home, a.offset, data, bytes);
    memcpy(data, (char *)a.home->host + a.offset, bytes);
    return VKD_OK;
}

static vkd_result place(vkd_store *s, uint32_t i) {
    vkd__entry *e = &s->entries[i];
    vkd_result r = VKD_OK;
    if (e->kind == VKD__ENTRY_GROUP) r = vkd__store_close_group(s, i);
    if (!r && e->kind != VKD__ENTRY_STATE) r = host_values(s, i);
    if (!r) r = s->backend.place(s->backend.user, e);
    if (!r && e->host) {
        r = s->backend.write(s->backend.user, e, 0, e->host, e->bytes);
        if (r) e->handle = 0; /* its values are still here alone; another attempt places it anew */
    }
    if (r) return r;
    vkd__free(s->ctx, e->host);
    e->host = NULL;
    return VKD_OK;
}

vkd_result vkd__store_attach(vkd_store *s, const vkd__store_backend *backend) {
    if (!s->backend.user) s->backend = *backend;
    if (s->backend.user != backend->user)
        return vkd__fail(s->ctx, VKD_E_ARGUMENT, "the store lies on another device");
    for (uint32_t i = 0; i < s->entry_count; i++) {
        if (s->entries[i].kind == VKD__ENTRY_MEMBER || s->entries[i].handle) continue;
        const vkd_result r = place(s, i);
        if (r) return r;
    }
    return VKD_OK;
}
