// SPDX-License-Identifier: Apache-2.0
/* Reads from SPIR-V what a kernel declares: bindings, push constants, specialization constants. So
 * host and shader cannot drift apart unnoticed. One pass over the instructions; only what our
 * kernels use is understood, and everything else is refused by name. */
#include <string.h>

#include "gpu/gpu.h"

enum {
    MAGIC = 0x07230203,
    HEADER_WORDS = 5,
    MOST_IDS = 1 << 16,
    OP_CAPABILITY = 17,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_TYPE_VECTOR = 23,
    OP_TYPE_IMAGE = 25,
    OP_TYPE_SAMPLED_IMAGE = 27,
    OP_TYPE_ARRAY = 28,
    OP_TYPE_STRUCT = 30,
    OP_TYPE_POINTER = 32,
    OP_CONSTANT = 43,
    OP_VARIABLE = 59,
    OP_DECORATE = 71,
    OP_MEMBER_DECORATE = 72,
    CAPABILITY_COOPERATIVE_MATRIX = 6022,
    DECORATION_SPEC_ID = 1,
    DECORATION_ARRAY_STRIDE = 6,
    DECORATION_BINDING = 33,
    DECORATION_SET = 34,
    DECORATION_OFFSET = 35,
    CLASS_UNIFORM_CONSTANT = 0,
    CLASS_PUSH_CONSTANT = 9,
    CLASS_STORAGE_BUFFER = 12,
    DIM_BUFFER = 5
};

/* What is known of one id. */
typedef struct id_info {
    const uint32_t *op; /* the instruction that makes it */
    uint32_t words, set, binding, stride;
    bool bound;
    uint32_t last_offset; /* struct: offset of the member that lies furthest back */
    uint32_t last_member;
} id_info;

typedef struct module {
    vkd_ctx *ctx;
    const vkd__kernel *kernel;
    id_info *ids;
    uint32_t count;
    vkd__reflection *out;
} module;

static vkd_result refuse(const module *m, const char *why) {
    return vkd__fail(m->ctx, VKD_E_ARGUMENT, "kernel '%s': %s", m->kernel->name, why);
}

static uint32_t opcode(const id_info *i) {
    return i->op ? i->op[0] & 0xffff : 0;
}

static const id_info *find(const module *m, uint32_t id) {
    static const id_info none;
    return id < m->count ? &m->ids[id] : &none;
}

/* A workgroup size carries its constant's id twice: for local_size_x_id and for the name that the
 * kernel gives it. */
static vkd_result add_constant(module *m, uint32_t id) {
    if (id >= VKD__SPEC_IDS) return refuse(m, "the id of a constant is too large");
    for (uint32_t i = 0; i < m->out->spec_count; i++)
        if (m->out->spec_id[i] == id) return VKD_OK;
    if (m->out->spec_count == VKD__MAX_SPEC) return refuse(m, "too many constants");
    m->out->spec_id[m->out->spec_count++] = id;
    return VKD_OK;
}

static vkd_result decorate(module *m, const uint32_t *op, uint32_t words) {
    if (words < 4 || op[1] >= m->count) return VKD_OK;
    id_info *i = &m->ids[op[1]];
    switch (op[2]) {
    case DECORATION_SPEC_ID:
        return add_constant(m, op[3]);
    case DECORATION_ARRAY_STRIDE:
        i->stride = op[3];
        break;
    case DECORATION_BINDING:
        i->binding = op[3];
        i->bound = true;
        break;
    case DECORATION_SET:
        i->set = op[3];
        break;
    default:
        break;
    }
    return VKD_OK;
}

static void decorate_member(module *m, const uint32_t *op, uint32_t words) {
    if (words < 5 || op[3] != DECORATION_OFFSET || op[1] >= m->count) return;
    id_info *i = &m->ids[op[1]];
    if (op[4] < i->last_offset) return;
    i->last_offset = op[4];
    i->last_member = op[2];
}

/* Bytes of a type in a block; 0 when it is not of the kinds we use. Types nest only a few deep. */
static uint32_t size_of(const module *m, uint32_t type, int depth) {
    const id_info *i = find(m, type);
    if (depth > 8) return 0;
    switch (opcode(i)) {
    case OP_TYPE_INT:
    case OP_TYPE_FLOAT:
        return i->op[2] / 8;
    case OP_TYPE_VECTOR:
        return i->op[3] * size_of(m, i->op[2], depth + 1);
    case OP_TYPE_ARRAY: {
        const id_info *length = find(m, i->op[3]);
        return opcode(length) == OP_CONSTANT ? i->stride * length->op[3] : 0;
    }
    case OP_TYPE_STRUCT: {
        if (i->words < 3 + i->last_member) return 0;
        const uint32_t last = size_of(m, i->op[2 + i->last_member], depth + 1);
        return last ? i->last_offset + last : 0;
    }
    default:
        return 0;
    }
}

static vkd__slot_kind texel_kind(const module *m, uint32_t type) {
    /* From SPIR-V 1.6 on a texel buffer is no longer wrapped in a sampled image. */
    const id_info *image = find(m, type);
    if (opcode(image) == OP_TYPE_SAMPLED_IMAGE) image = find(m, image->op[2]);
    if (opcode(image) != OP_TYPE_IMAGE || image->op[3] != DIM_BUFFER) return VKD__SLOT_NONE;
    const id_info *texel = find(m, image->op[2]);
    if (opcode(texel) == OP_TYPE_FLOAT) return VKD__SLOT_TEXEL_FLOAT;
    if (opcode(texel) != OP_TYPE_INT) return VKD__SLOT_NONE;
    return texel->op[3] ? VKD__SLOT_TEXEL_INT : VKD__SLOT_TEXEL_UINT;
}

static vkd_result bind(const module *m, const id_info *variable, vkd__slot_kind kind) {
    if (!variable->bound || variable->set) return refuse(m, "a resource has no binding in set 0");
    if (variable->binding >= VKD__MAX_BINDINGS) return refuse(m, "a binding number is too large");
    if (kind == VKD__SLOT_NONE)
        return refuse(m, "a resource is neither storage buffer nor uniform texel buffer");
    vkd__slot_kind *slot = &m->out->binding[variable->binding];
    /* Two declarations of one binding are two looks at the same bytes. */
    if (*slot != VKD__SLOT_NONE && *slot != kind)
        return refuse(m, "one binding is declared as two kinds of resource");
    *slot = kind;
    if (m->out->binding_count <= variable->binding) m->out->binding_count = variable->binding + 1;
    return VKD_OK;
}

static vkd_result variable(const module *m, const id_info *v) {
    const uint32_t class = v->op[3];
    const id_info *pointer = find(m, v->op[1]);
    if (opcode(pointer) != OP_TYPE_POINTER) return VKD_OK;
    if (class == CLASS_STORAGE_BUFFER) return bind(m, v, VKD__SLOT_BUFFER);
    if (class == CLASS_UNIFORM_CONSTANT) return bind(m, v, texel_kind(m, pointer->op[3]));
    if (class != CLASS_PUSH_CONSTANT) return VKD_OK;
    m->out->push_bytes = size_of(m, pointer->op[3], 0);
    if (!m->out->push_bytes || m->out->push_bytes > VKD__PUSH_BYTES)
        return refuse(m, "push constants are larger than 128 bytes or of an unknown type");
    return VKD_OK;
}

/* The operand that holds the result, and the fewest words, of the instructions that are kept. */
static bool keeps(uint32_t op, uint32_t *result, uint32_t *least) {
    switch (op) {
    case OP_TYPE_INT:
    case OP_TYPE_VECTOR:
    case OP_TYPE_ARRAY:
    case OP_TYPE_IMAGE:
    case OP_TYPE_POINTER:
        *result = 1;
        *least = 4;
        return true;
    case OP_TYPE_FLOAT:
    case OP_TYPE_SAMPLED_IMAGE:
        *result = 1;
        *least = 3;
        return true;
    case OP_TYPE_STRUCT:
        *result = 1;
        *least = 2;
        return true;
    case OP_CONSTANT:
    case OP_VARIABLE:
        *result = 2;
        *least = 4;
        return true;
    default:
        return false;
    }
}

static vkd_result scan(module *m) {
    const uint32_t *op = m->kernel->words + HEADER_WORDS;
    const uint32_t *end = m->kernel->words + m->kernel->word_count;
    while (op < end) {
        const uint32_t words = op[0] >> 16, code = op[0] & 0xffff;
        if (!words || words > (size_t)(end - op)) return refuse(m, "the SPIR-V is damaged");
        uint32_t result = 0, least = 0;
        if (code == OP_DECORATE) {
            const vkd_result r = decorate(m, op, words);
            if (r) return r;
        } else if (code == OP_CAPABILITY && words > 1) {
            m->out->coopmat |= op[1] == CAPABILITY_COOPERATIVE_MATRIX;
        } else if (code == OP_MEMBER_DECORATE) {
            decorate_member(m, op, words);
        } else if (keeps(code, &result, &least)) {
            if (words < least || op[result] >= m->count) return refuse(m, "the SPIR-V is damaged");
            m->ids[op[result]].op = op;
            m->ids[op[result]].words = words;
        }
        op += words;
    }
    return VKD_OK;
}

vkd_result vkd__reflect(vkd_ctx *ctx, const vkd__kernel *kernel, vkd__reflection *out) {
    *out = (vkd__reflection){0};
    module m = {.ctx = ctx, .kernel = kernel, .out = out};
    if (kernel->word_count < HEADER_WORDS || kernel->words[0] != MAGIC ||
        kernel->words[3] > MOST_IDS)
        return refuse(&m, "the SPIR-V is damaged");
    m.count = kernel->words[3];
    m.ids = vkd__alloc(ctx, m.count, sizeof *m.ids);
    if (!m.ids) return VKD_E_MEMORY;
    vkd_result r = scan(&m);
    for (uint32_t i = 0; !r && i < m.count; i++)
        if (opcode(&m.ids[i]) == OP_VARIABLE) r = variable(&m, &m.ids[i]);
    vkd__free(ctx, m.ids);
    return r;
}

vkd_result vkd__reflect_check(vkd_ctx *ctx, const vkd__reflection *r, const vkd__launch *launch) {
    if (launch->binding_count != r->binding_count)
        return vkd__fail(ctx, VKD_E_ARGUMENT,
                         "kernel '%s' has %u bindings, but the launch for '%s' binds %u tensors",
                         launch->kernel, (unsigned)r->binding_count, launch->label,
                         (unsigned)launch->binding_count);
    if (launch->push_bytes != r->push_bytes)
        return vkd__fail(ctx, VKD_E_ARGUMENT,
                         "kernel '%s' takes %u bytes of push constants, but the launch for '%s' "
                         "gives %u",
                         launch->kernel, (unsigned)r->push_bytes, launch->label,
                         (unsigned)launch->push_bytes);
    return VKD_OK;
}
