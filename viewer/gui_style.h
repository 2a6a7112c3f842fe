// SPDX-License-Identifier: Apache-2.0
/* How gui.cpp's widgets look: a part of that file, and C++. */
#ifndef VKD_VIEWER_GUI_STYLE_H
#define VKD_VIEWER_GUI_STYLE_H

#include <imgui.h>

#include "viewer/colours.h"
#include "viewer/gui.h"

inline ImU32 ink(gui_colour c) {
    return IM_COL32(c >> 24, c >> 16 & 255, c >> 8 & 255, c & 255);
}

inline ImVec4 paint(gui_colour c) {
    return ImGui::ColorConvertU32ToFloat4(ink(c));
}

inline void gui_style(float scale) {
    static const struct {
        ImGuiCol what;
        gui_colour colour;
    } colours[] = {
        {ImGuiCol_Text, COLOUR_TEXT},
        {ImGuiCol_TextDisabled, COLOUR_MUTED},
        {ImGuiCol_WindowBg, COLOUR_PANEL},
        {ImGuiCol_ChildBg, 0},
        {ImGuiCol_PopupBg, COLOUR_POPUP},
        {ImGuiCol_Border, COLOUR_LINE},
        {ImGuiCol_FrameBg, COLOUR_FIELD},
        {ImGuiCol_FrameBgHovered, COLOUR_FIELD_HOVER},
        {ImGuiCol_FrameBgActive, COLOUR_FIELD_HOVER},
        {ImGuiCol_SliderGrab, COLOUR_ACCENT},
        {ImGuiCol_SliderGrabActive, COLOUR_TEXT},
        {ImGuiCol_CheckMark, COLOUR_ACCENT},
        {ImGuiCol_Button, COLOUR_FIELD},
        {ImGuiCol_ButtonHovered, COLOUR_FIELD_HOVER},
        {ImGuiCol_ButtonActive, COLOUR_ACCENT},
        {ImGuiCol_Header, COLOUR_FIELD},
        {ImGuiCol_HeaderHovered, COLOUR_FIELD_HOVER},
        {ImGuiCol_HeaderActive, COLOUR_FIELD_HOVER},
        {ImGuiCol_ScrollbarBg, 0},
        {ImGuiCol_ScrollbarGrab, COLOUR_LINE},
        {ImGuiCol_NavHighlight, COLOUR_ACCENT},
    };
    ImGuiStyle style;
    for (const auto &c : colours)
        style.Colors[c.what] = paint(c.colour);
    style.WindowPadding = ImVec2(10, 8);
    style.FramePadding = ImVec2(7, 3);
    style.ItemSpacing = ImVec2(8, 5);
    style.WindowRounding = 3;
    style.FrameRounding = 3;
    style.GrabRounding = 2;
    style.GrabMinSize = 9;
    style.WindowBorderSize = style.FrameBorderSize = 0;
    style.PopupBorderSize = 1;
    style.ScrollbarSize = 11;
    style.ScaleAllSizes(scale);
    ImGui::GetStyle() = style;
}

#endif
