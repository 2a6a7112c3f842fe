#version 450
// SPDX-License-Identifier: Apache-2.0
layout(location = 0) in vec2 place;
layout(location = 1) in vec4 colour;
layout(set = 0, binding = 0) uniform sampler2D picture;
layout(location = 0) out vec4 pixel;

void main() {
    pixel = colour * texture(picture, place);
}
