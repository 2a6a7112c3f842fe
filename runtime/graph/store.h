// SPDX-License-Identifier: Apache-2.0
/* The store's inside. A store entry is a group (one flat f32 tensor that holds all parameters of a
 * model, each at an offset padded to VKD__GROUP_ALIGN elements), a member of a group, or has
 * storage of its own: a state, or a buffer, which is a model's by its name alone. Members have no
 * storage but their group's. Padding is zero and stays zero. */
#ifndef VKD_STORE_H
#define VKD_STORE_H

#include "base/base.h"

#define VKD__GROUP_ALIGN 64u /* elements: 256 bytes, the largest offset alignment Vulkan allows */
#define VKD__NO_ENTRY 0xffffffffu

typedef enum vkd__entry_kind {
    VKD__ENTRY_STATE,
    VKD__ENTRY_BUFFER,
    VKD__ENTRY_MEMBER,
    VKD__ENTRY_GROUP
} vkd__entry_kind;

typedef struct vkd__entry {
    char *name; /* a group's is its bare name, which no vkd_store_at shows: see vkd_store_count */
    vkd__entry_kind kind;
    vkd_dtype dtype;
    vkd_shape shape;
    uint64_t bytes;       /* of the values; storage is rounded up to 256 */
    uint32_t group;       /* MEMBER: entry index of its group */
    uint64_t offset;      /* MEMBER: bytes from the group's start; valid once the group is closed */
    bool no_decay;        /* MEMBER; these come last in the group */
    vkd_init init;        /* MEMBER, BUFFER */
    uint32_t seed;        /* MEMBER, BUFFER: of the graph that made it */
    bool closed;          /* GROUP */
    uint64_t decay_count; /* GROUP: elements from here on are not decayed */
    void *host;           /* values while no device has them; NULL: start values. Not MEMBER */
    uint64_t handle;      /* the backend's word for its place; 0: not placed */
} vkd__entry;

/* What a device does for a store. `user` is the device's side. All block. */
typedef struct vkd__store_backend {
    void *user;
    vkd_result (*place)(void *user, vkd__entry *e); /* gives e->handle and zeroed memory */
    vkd_result (*write)(void *user, const vkd__entry *e, uint64_t offset, const void *data,
                        uint64_t bytes);
    vkd_result (*read)(void *user, const vkd__entry *e, uint64_t offset, void *data,
                       uint64_t bytes);
    void (*release)(void *user); /* the store goes away */
} vkd__store_backend;

struct vkd_store {
    vkd_ctx *ctx;
    vkd__entry *entries;
    size_t entry_count, entry_capacity;
    vkd__store_backend backend; /* zero until a program attached one */
};

uint32_t vkd__store_find(const vkd_store *s, const char *name); /* any kind; VKD__NO_ENTRY */
/* Finds or makes; the caller has checked nothing. Fails with VKD_E_SHAPE when it is there with
 * other dtype or shape, or (member) when its group is closed. */
vkd_result vkd__store_state(vkd_store *s, const char *name, vkd_dtype dtype, vkd_shape shape,
                            uint32_t *entry);
vkd_result vkd__store_make_buffer(vkd_store *s, const char *name, vkd_shape shape,
                                  const vkd_init *init, uint32_t seed, uint32_t *entry);
vkd_result vkd__store_member(vkd_store *s, const char *name, vkd_shape shape, const vkd_init *init,
                             uint32_t seed, uint32_t *entry);
/* Lays a group out: decayed members first, both parts in order of creation. */
vkd_result vkd__store_close_group(vkd_store *s, uint32_t group);
/* The start values of a member or a buffer, as many floats as it has elements. */
void vkd__init_values(const vkd_init *init, vkd_shape shape, uint32_t seed, const char *name,
                      float *out);
/* Attaches a backend (once) and places every entry that has no handle yet, with its start values.
 */
vkd_result vkd__store_attach(vkd_store *s, const vkd__store_backend *backend);

#endif
