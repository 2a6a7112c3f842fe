// SPDX-License-Identifier: Apache-2.0
// How kernels read and write tensors. Every tensor is an array of vec4: storage is padded to sixteen
// bytes, so the vec4 that holds the last element is always there to read. A CPU device reads four
// floats for the price of one, and through a texel buffer three to four times faster than from a
// storage buffer; hence the .direct variants, compiled with VKD_DIRECT.
//
//   VKD_IN(0, x)   // declares input x at binding 0
//   LOAD4(x, i)    // its i-th vec4
//   LOAD1(x, i)    // its i-th float
//   VKD_OUT(1, y)  // declares output y at binding 1: y[i] is a vec4, STORE1(y, i, v) writes a float
//   VKD_INOUT(1, y)

#include "lib/grid.glsl"

#ifdef VKD_DIRECT
#define VKD_IN(b, name) layout(set = 0, binding = b) uniform samplerBuffer name
#define LOAD4(name, i) texelFetch(name, int(i))
#define LOAD1(name, i) texelFetch(name, int((i) >> 2))[(i) & 3u]
#else
#define VKD_IN(b, name)                                                                            \
    layout(set = 0, binding = b, std430) readonly restrict buffer name##_buffer { vec4 name[]; }
#define LOAD4(name, i) name[i]
#define LOAD1(name, i) name[(i) >> 2][(i) & 3u]
#endif

// The same of integers, four at a time: LOAD4 and LOAD1, name[i] and STORE1.
#ifdef VKD_DIRECT
#define VKD_IN_INT4(b, name) layout(set = 0, binding = b) uniform isamplerBuffer name
#else
#define VKD_IN_INT4(b, name)                                                                       \
    layout(set = 0, binding = b, std430) readonly restrict buffer name##_buffer { ivec4 name[]; }
#endif
#define VKD_OUT_INT4(b, name)                                                                      \
    layout(set = 0, binding = b, std430) writeonly restrict buffer name##_buffer { ivec4 name[]; }
#define VKD_IN_INT(b, name)                                                                        \
    layout(set = 0, binding = b, std430) readonly restrict buffer name##_buffer { int name[]; }
#define VKD_OUT(b, name)                                                                           \
    layout(set = 0, binding = b, std430) writeonly restrict buffer name##_buffer { vec4 name[]; }
#define VKD_INOUT(b, name)                                                                         \
    layout(set = 0, binding = b, std430) restrict buffer name##_buffer { vec4 name[]; }
// A tensor that a kernel changes vec4 by vec4, each invocation its own: bound twice, for reading at
// b and for both at c. NOW4(w, i) is its i-th vec4, w[i] = ... changes it. A CPU device reads these
// through a texel buffer too, so nothing here promises that the two do not overlap.
#ifdef VKD_DIRECT
#define VKD_UPDATE(b, c, name)                                                                     \
    layout(set = 0, binding = b) uniform samplerBuffer name##_now;                                 \
    layout(set = 0, binding = c, std430) writeonly buffer name##_buffer { vec4 name[]; }
#define NOW4(name, i) texelFetch(name##_now, int(i))
#else
#define VKD_UPDATE(b, c, name)                                                                     \
    layout(set = 0, binding = c, std430) restrict buffer name##_buffer { vec4 name[]; }
#define NOW4(name, i) name[i]
#endif
#define VKD_OUT_INT(b, name)                                                                       \
    layout(set = 0, binding = b, std430) writeonly restrict buffer name##_buffer { int name[]; }
// The same for kernels of ops with in_place: the planner may give the result the storage of the first
// input, element under element, so neither promises (restrict) that they do not overlap.
#ifdef VKD_DIRECT
#define VKD_IN_PLACE(b, name) VKD_IN(b, name)
#else
#define VKD_IN_PLACE(b, name)                                                                      \
    layout(set = 0, binding = b, std430) readonly buffer name##_buffer { vec4 name[]; }
#endif
#define VKD_OUT_PLACE(b, name)                                                                     \
    layout(set = 0, binding = b, std430) writeonly buffer name##_buffer { vec4 name[]; }
// Tensors that have 16 bits in the variants compiled with VKD_HALF, and 32 in the others. X for read,
// Y for written: LOADX4(x, i), LOADX1(x, i), STOREY4(y, i, v). Of 16 bits only whole quads are stored:
// two values share a word.
#ifdef VKD_HALF
#include "half.glsl"
#ifdef VKD_DIRECT
#define VKD_IN_X(b, name) layout(set = 0, binding = b) uniform usamplerBuffer name
#define LOADX4(name, i) unpack4(texelFetch(name, int(i)).xy)
#else
#define VKD_IN_X(b, name)                                                                          \
    layout(set = 0, binding = b, std430) readonly buffer name##_buffer { uvec2 name[]; }
#define LOADX4(name, i) unpack4(name[i])
#endif
#define LOADX1(name, i) LOADX4(name, (i) >> 2)[(i) & 3u]
#define VKD_OUT_Y(b, name)                                                                         \
    layout(set = 0, binding = b, std430) writeonly buffer name##_buffer { uvec2 name[]; }
#define STOREY4(name, i, value) name[i] = pack4(value)
#else
#define VKD_IN_X(b, name) VKD_IN_PLACE(b, name)
#define LOADX4(name, i) LOAD4(name, i)
#define LOADX1(name, i) LOAD1(name, i)
#define VKD_OUT_Y(b, name) VKD_OUT_PLACE(b, name)
#define STOREY4(name, i, value) name[i] = (value)
#endif
#define STORE1(name, i, value) name[(i) >> 2][(i) & 3u] = (value)
