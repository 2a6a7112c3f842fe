// SPDX-License-Identifier: Apache-2.0
// What is done to each image, in integers alone: derived in runtime/ops/augment_draw.c, whose function
// vkd__augment_drawn is the same on the host, line by line.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/philox.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_augment_draw_params p; };
VKD_IN_INT(0, step_now);  // ()
VKD_OUT_INT4(1, numbers); // (count, VKD_AUGMENT_NUMBERS)

const int ONE = 65536;
const int HALF_TURN = 843314857;
const int MOST_SCALE = 4 * ONE;
const int MOST_MOVE = 4096 * ONE;
const int MOST_COLOUR = 128 * ONE;

uint below(uint word, uint count) {
    uint high, low;
    umulExtended(word, count, high, low);
    return high;
}

int between(uint word, uint most) {
    return int(below(word, 2u * most + 1u)) - int(most);
}

int times(int a, int b) {
    int high, low;
    imulExtended(a, b, high, low);
    const uint rounded = uint(low) + 0x8000u;
    const uint carry = rounded < 0x8000u ? 1u : 0u;
    return int(((uint(high) + carry) << 16) | (rounded >> 16));
}

const int ATANS[24] = int[](210828714, 124459457, 65760959, 33381290, 16755422, 8385879, 4193963, 2097109,
                            1048571, 524287, 262144, 131072, 65536, 32768, 16384, 8192, 4096, 2048, 1024,
                            512, 256, 128, 64, 32);

// cos and sin.
ivec2 turn(int by) {
    const bool back = by > HALF_TURN / 2 || by < -(HALF_TURN / 2);
    int z = !back ? by : by > 0 ? by - HALF_TURN : by + HALF_TURN;
    ivec2 v = ivec2(652032874, 0);
    for (int i = 0; i < 24; i++) {
        const ivec2 d = ivec2(-(v.y >> i), v.x >> i);
        v = z >= 0 ? v + d : v - d;
        z = z >= 0 ? z - ATANS[i] : z + ATANS[i];
    }
    v = (v + 8192) >> 14;
    return back ? -v : v;
}

ivec4 m = ivec4(ONE, 0, 0, ONE); // yy, yx, xy, xx
ivec2 t = ivec2(0);
int gain = ONE, offset = 0;

void follow(ivec4 a) {
    const ivec4 b = m;
    m.x = times(b.x, a.x) + times(b.y, a.z);
    m.y = times(b.x, a.y) + times(b.y, a.w);
    m.z = times(b.z, a.x) + times(b.w, a.z);
    m.w = times(b.z, a.y) + times(b.w, a.w);
    m = clamp(m, -MOST_SCALE, MOST_SCALE);
}

void move(ivec2 by) {
    t -= ivec2(times(m.x, by.x), times(m.z, by.x)) + ivec2(times(m.y, by.y), times(m.w, by.y));
    t = clamp(t, -MOST_MOVE, MOST_MOVE);
}

void rotate(int by) {
    const ivec2 c = turn(by);
    follow(ivec4(c.x, c.y, -c.y, c.x));
}

void multiply(int factor) {
    gain = clamp(times(gain, factor), -MOST_COLOUR, MOST_COLOUR);
    offset = clamp(times(offset, factor), -MOST_COLOUR, MOST_COLOUR);
}

void add(int amount) {
    offset = clamp(offset + amount, -MOST_COLOUR, MOST_COLOUR);
}

void random_operation(uint choice, uint sign_word) {
    const int s = (sign_word & 0x80000000u) != 0u ? -1 : 1;
    switch (below(choice, 8u)) {
    case 0u: break;
    case 1u: rotate(s * int(p.ra_angle)); break;
    case 2u: follow(ivec4(ONE, 0, -s * int(p.ra_shear), ONE)); break;
    case 3u: follow(ivec4(ONE, -s * int(p.ra_shear), 0, ONE)); break;
    case 4u: move(ivec2(0, s * int(p.ra_move_x))); break;
    case 5u: move(ivec2(s * int(p.ra_move_y), 0)); break;
    case 6u: add(s * int(p.ra_brightness)); break;
    default: multiply(ONE + s * int(p.ra_contrast));
    }
}

ivec2 cut(uint word, uint size, uint side) {
    const int at = int(below(word, side)) - int(size / 2u);
    return ivec2(max(at, 0), min(at + int(size), int(side)));
}

int from_corner(int at, uint side, int y, int x) {
    const int middle = (y * (int(p.height) - 1) + x * (int(p.width) - 1)) >> 1;
    return at + int(side - 1u) * (ONE / 2) - middle;
}

void main() {
    const uint stride = GROUPS_X * LOCAL_X, now = uint(step_now[0]);
    for (uint i = gl_GlobalInvocationID.x; i < p.count; i += stride) {
        m = ivec4(ONE, 0, 0, ONE);
        t = ivec2(0);
        gain = ONE;
        offset = 0;
        uvec4 w = philox(p.seed, p.stream, now, 8u * i);
        move(ivec2(between(w.x, p.crop), between(w.y, p.crop)) * ONE);
        if (w.z >> 8 < p.flip) follow(ivec4(ONE, 0, 0, -ONE));
        w = philox(p.seed, p.stream, now, 8u * i + 1u);
        // 2^32 / s, which 32 bits just do not hold.
        const uint s = uint(ONE + between(w.x, p.scale)), most = 0xffffffffu / s;
        const int inverse = int(0xffffffffu - most * s == s - 1u ? most + 1u : most);
        follow(ivec4(inverse, 0, 0, inverse));
        follow(ivec4(ONE, 0, -between(w.y, p.shear), ONE));
        rotate(between(w.z, p.angle));
        w = philox(p.seed, p.stream, now, 8u * i + 2u);
        const uvec2 colour = w.zw;
        move(ivec2(between(w.x, p.shift), between(w.y, p.shift)));
        for (uint k = 0u; k < p.ra_ops; k += 2u) {
            const uvec4 two = philox(p.seed, p.stream, now, 8u * i + 4u + k / 2u);
            random_operation(two.x, two.y);
            if (k + 1u < p.ra_ops) random_operation(two.z, two.w);
        }
        multiply(ONE + between(colour.x, p.contrast));
        add(between(colour.y, p.brightness));
        w = philox(p.seed, p.stream, now, 8u * i + 3u);
        const ivec2 rows = cut(w.x, p.cutout, p.height), columns = cut(w.y, p.cutout, p.width);
        numbers[3u * i] = ivec4(from_corner(t.x, p.height, m.x, m.y), m.x, m.y, gain);
        numbers[3u * i + 1u] = ivec4(from_corner(t.y, p.width, m.z, m.w), m.z, m.w, offset);
        numbers[3u * i + 2u] = ivec4(rows.x, columns.x, rows.y, columns.y);
    }
}
