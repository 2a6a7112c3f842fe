// SPDX-License-Identifier: Apache-2.0
/* Which tensors of the store a model file holds, and in which order of axes. A convolution's weight
 * is (O, R, S, C / groups) on the device, where a pixel's channels are one run of memory, and
 * (O, C / groups, R, S) in PyTorch and in the file. Everything with four axes is such a weight. */
#ifndef VKD_MODEL_ORDER_H
#define VKD_MODEL_ORDER_H

#include "base/base.h"

/* Whether a parameter, named without its group, is what a loss trains beside the model: no part of
 * model files and of parameter counts. */
bool vkd__is_adapter(const char *rest);
/* Whether the file of this group's model has it: parameters and buffers of the model
 * itself. *rest is its name without the group's. */
bool vkd__model_holds(const vkd_store_info *info, const char *group, const char **rest);
/* The file's shape of a tensor that has this shape in the store. */
vkd_shape vkd__model_file_shape(vkd_shape stored);
/* Copies between the two orders; `shape` is the store's. The file's values may be unaligned. */
void vkd__model_to_file(vkd_shape shape, const float *stored, float *file);
void vkd__model_from_file(vkd_shape shape, const void *file, float *stored);

#endif
