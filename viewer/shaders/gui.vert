#version 450
// SPDX-License-Identifier: Apache-2.0
// Triangles of the interface: pixels of the frame become the device's coordinates.
layout(location = 0) in vec2 position;
layout(location = 1) in vec2 place;
layout(location = 2) in vec4 colour;
layout(push_constant) uniform Frame {
    vec2 scale; // 2 / size of the frame
};
layout(location = 0) out vec2 to_place;
layout(location = 1) out vec4 to_colour;

void main() {
    to_place = place;
    to_colour = colour;
    gl_Position = vec4(position * scale - 1.0, 0.0, 1.0);
}
