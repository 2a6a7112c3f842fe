// SPDX-License-Identifier: Apache-2.0
/* The safetensors file format: 8 bytes little-endian header size, a JSON object {"name": {"dtype",
 * "shape", "data_offsets": [begin, end]}, "__metadata__": {text: text}}, then the values. Reading
 * trusts nothing: sizes that overflow, offsets that overlap, leave gaps or leave the file,
 * duplicate names, headers above 100 MB and unknown dtypes are errors that name file and tensor.
 * Layout: github.com/huggingface/safetensors, README, "Format". */
#ifndef VKD_SAFETENSORS_H
#define VKD_SAFETENSORS_H

#include "base/base.h"

#define VKD__ST_HEADER_LIMIT 100000000u

/* Values of a dtype that nothing here reads (I64, F64, ...). Files of other programs have such
 * tensors beside those that are wanted, so they are found like all others. */
#define VKD__ST_OTHER ((vkd_dtype)99)

typedef struct vkd__st_tensor {
    const char *name;
    vkd_dtype dtype;  /* written: F32, I32, U8; read: also F16, BF16, VKD__ST_OTHER */
    vkd_shape shape;  /* up to VKD_MAX_AXES */
    const void *data; /* row-major, little-endian, inside the file's bytes; may be unaligned */
    size_t bytes;
} vkd__st_tensor;

typedef struct vkd__st_file vkd__st_file;

/* Parses bytes in memory, which must outlive the result; `name` is for messages.
 * Errors: VKD_E_FORMAT, VKD_E_MEMORY. */
vkd_result vkd__st_parse(vkd_ctx *ctx, const char *name, const void *bytes, size_t size,
                         vkd__st_file **out);
/* Maps and parses. Errors: VKD_E_FILE, VKD_E_FORMAT, VKD_E_MEMORY. */
vkd_result vkd__st_open(vkd_ctx *ctx, const char *path, vkd__st_file **out);
void vkd__st_close(vkd__st_file *f);
size_t vkd__st_count(const vkd__st_file *f);
const vkd__st_tensor *vkd__st_at(const vkd__st_file *f, size_t index); /* order of the header */
const vkd__st_tensor *vkd__st_find(const vkd__st_file *f, const char *name);
const char *vkd__st_dtype_name(const vkd__st_file *f, const vkd__st_tensor *t); /* "F32" */
const char *vkd__st_metadata(const vkd__st_file *f, const char *key); /* NULL when absent */

typedef struct vkd__st_pair {
    const char *key, *value;
} vkd__st_pair;

/* Writes to "<path>.tmp", syncs, renames over path, syncs the folder: path holds the old file or
 * the whole new one, never a part. On failure the temporary file is removed and path is untouched.
 * Errors: VKD_E_FILE with the system's reason. */
vkd_result vkd__st_write(vkd_ctx *ctx, const char *path, const vkd__st_tensor *tensors,
                         size_t count, const vkd__st_pair *metadata, size_t metadata_count);

#endif
