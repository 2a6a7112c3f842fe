// SPDX-License-Identifier: Apache-2.0
// Kernels that gather images (N, TO_H, TO_W, CHANNELS) from images (N, FROM_H, FROM_W, CHANNELS). An
// item is four channels of a pixel where four divides CHANNELS (ALIGNED), else one channel, which
// stands in all four components. Sizes are constants, so that nothing is divided by a variable.
// ops/image.c launches them.
//
//   for (uint t = gl_GlobalInvocationID.x; t < p.items; t += GROUPS_X * LOCAL_X) {
//       const image_item to = item_of(t);
//       ... LOADC(x, from_at(to, y, x)) ...
//       STOREC(y, t, value);
//   }

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 10) const uint ALIGNED = 1;
layout(constant_id = 11) const uint CHANNELS = 4;
layout(constant_id = 12) const uint FROM_H = 4;
layout(constant_id = 13) const uint FROM_W = 4;
layout(constant_id = 14) const uint TO_H = 2;
layout(constant_id = 15) const uint TO_W = 2;

layout(push_constant) uniform Params { vkd_image_params p; };

struct image_item {
    uint image, y, x, channel;
};

image_item item_of(uint t) {
    const uint items = ALIGNED != 0u ? CHANNELS / 4u : CHANNELS;
    const uint pixel = t / items, row = pixel / TO_W;
    image_item to;
    to.channel = (t - pixel * items) * (ALIGNED != 0u ? 4u : 1u);
    to.x = pixel - row * TO_W;
    to.image = row / TO_H;
    to.y = row - to.image * TO_H;
    return to;
}

// The element of a pixel of the image that is gathered from.
uint from_at(image_item to, uint y, uint x) {
    return ((to.image * FROM_H + y) * FROM_W + x) * CHANNELS + to.channel;
}

#define LOADC(name, e) (ALIGNED != 0u ? LOAD4(name, (e) >> 2) : vec4(LOAD1(name, e)))
#define LOADC_INT(name, e) (ALIGNED != 0u ? LOAD4(name, (e) >> 2) : ivec4(LOAD1(name, e)))
#define STOREC(name, t, value)                                                                     \
    {                                                                                              \
        if (ALIGNED != 0u) name[t] = value;                                                        \
        else STORE1(name, t, (value).x);                                                           \
    }
