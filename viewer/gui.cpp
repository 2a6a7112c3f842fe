// SPDX-License-Identifier: Apache-2.0
/* gui.h over Dear ImGui, the one file of C++: memory that it cannot have ends the process. */
#include "viewer/gui_parts.h"

#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <vector>

#include <imgui.h>

#include "viewer/gui_style.h"

static ImVec2 corner(gui_rect r) {
    return ImVec2(r.x + r.w, r.y + r.h);
}

struct gui {
    gui_parts parts;
    char font[1024];
    float scale;
    double seconds;
    bool pressed[GUI_KEY_COUNT];
    std::vector<gui_vertex> vertices;
    std::vector<uint16_t> indices;
    std::vector<gui_draw> draws;
    gui_frame out;
};

gui_parts *gui_parts_of(gui *g) {
    return &g->parts;
}

/* ---- Font and style ---- */

static void make_font(gui *g) {
    static const ImWchar ranges[] = {0x20, 0x17f, 0x370, 0x3ff, 0x2010, 0x2026, 0x2190, 0x2193, 0};
    ImGuiIO &io = ImGui::GetIO();
    io.Fonts->Clear();
    if (g->font[0]) {
        ImFontConfig config;
        config.OversampleH = 2;
        config.OversampleV = 1;
        io.Fonts->AddFontFromFileTTF(g->font, std::round(15 * g->scale), &config, ranges);
    } else {
        ImFontConfig config;
        config.SizePixels = std::round(13 * g->scale);
        io.Fonts->AddFontDefault(&config);
    }
    io.Fonts->Build();
    io.Fonts->SetTexID(nullptr);
    unsigned char *pixels = nullptr;
    int width = 0, height = 0;
    io.Fonts->GetTexDataAsRGBA32(&pixels, &width, &height);
    gui_parts_font(&g->parts, static_cast<uint32_t>(width), static_cast<uint32_t>(height), pixels);
}

gui *gui_create(const char *font, float scale) {
    gui *g = new gui();
    g->scale = scale;
    if (!font) font = gui_parts_find_font();
    if (font) std::snprintf(g->font, sizeof g->font, "%s", font);
    ImGui::CreateContext();
    ImGuiIO &io = ImGui::GetIO();
    io.IniFilename = nullptr;
    io.LogFilename = nullptr;
    io.BackendFlags |= ImGuiBackendFlags_RendererHasVtxOffset;
    io.ConfigFlags |= ImGuiConfigFlags_NavEnableKeyboard;
    io.ConfigInputTextCursorBlink = false;
    static const int map[][2] = {
        {ImGuiKey_Tab, GUI_KEY_TAB},          {ImGuiKey_LeftArrow, GUI_KEY_LEFT},
        {ImGuiKey_RightArrow, GUI_KEY_RIGHT}, {ImGuiKey_UpArrow, GUI_KEY_UP},
        {ImGuiKey_DownArrow, GUI_KEY_DOWN},   {ImGuiKey_Home, GUI_KEY_HOME},
        {ImGuiKey_End, GUI_KEY_END},          {ImGuiKey_Enter, GUI_KEY_ENTER},
        {ImGuiKey_Escape, GUI_KEY_ESCAPE},    {ImGuiKey_Backspace, GUI_KEY_BACKSPACE},
        {ImGuiKey_Delete, GUI_KEY_DELETE},    {ImGuiKey_Space, ' '},
    };
    for (const auto &m : map)
        io.KeyMap[m[0]] = m[1];
    make_font(g);
    gui_style(g->scale);
    return g;
}

void gui_destroy(gui *g) {
    if (!g) return;
    ImGui::DestroyContext();
    gui_parts_term(&g->parts);
    delete g;
}

static void play_events(gui *g) {
    ImGuiIO &io = ImGui::GetIO();
    bool changed = false;
    gui_event e;
    std::memset(g->pressed, 0, sizeof g->pressed);
    while (gui_parts_next(&g->parts, &changed, &e)) {
        if (e.kind == GUI_EVENT_MOVE) io.MousePos = ImVec2(e.x, e.y);
        if (e.kind == GUI_EVENT_WHEEL) io.MouseWheel += e.y;
        if (e.kind == GUI_EVENT_CHARACTER) {
            io.AddInputCharacter(e.key);
            if (e.key < 128) g->pressed[e.key - (e.key >= 'a' && e.key <= 'z' ? 32 : 0)] = true;
        }
        if (e.kind == GUI_EVENT_BUTTON) io.MouseDown[0] = e.down;
        if (e.kind != GUI_EVENT_KEY) continue;
        if (e.down && e.key >= GUI_KEY_TAB) g->pressed[e.key] = true;
        io.KeysDown[e.key] = e.down;
    }
    io.KeyShift = io.KeysDown[GUI_KEY_SHIFT];
    io.KeyCtrl = io.KeysDown[GUI_KEY_CONTROL];
}

/* ---- Frames ---- */

void gui_begin(gui *g, float width, float height, float scale, double seconds) {
    ImGuiIO &io = ImGui::GetIO();
    if (scale != g->scale) {
        g->scale = scale;
        make_font(g);
        gui_style(g->scale);
    }
    io.DisplaySize = ImVec2(width, height);
    io.DeltaTime = static_cast<float>(std::fmin(std::fmax(seconds - g->seconds, 1e-4), 1.0));
    g->seconds = seconds;
    gui_parts_frame(&g->parts);
    play_events(g);
    ImGui::NewFrame();
}

static void collect(gui *g, const ImDrawData *data) {
    g->vertices.clear();
    g->indices.clear();
    g->draws.clear();
    for (int n = 0; n < data->CmdListsCount; n++) {
        const ImDrawList *list = data->CmdLists[n];
        const uint32_t vertices = static_cast<uint32_t>(g->vertices.size());
        const uint32_t indices = static_cast<uint32_t>(g->indices.size());
        for (const ImDrawVert &v : list->VtxBuffer)
            g->vertices.push_back({v.pos.x, v.pos.y, v.uv.x, v.uv.y, v.col});
        g->indices.insert(g->indices.end(), list->IdxBuffer.begin(), list->IdxBuffer.end());
        for (const ImDrawCmd &c : list->CmdBuffer) {
            const ImVec4 &b = c.ClipRect;
            const uint32_t number =
                static_cast<uint32_t>(reinterpret_cast<uintptr_t>(c.GetTexID()));
            if (c.ElemCount)
                g->draws.push_back({{b.x, b.y, b.z - b.x, b.w - b.y},
                                    number,
                                    indices + c.IdxOffset,
                                    c.ElemCount,
                                    vertices + c.VtxOffset});
        }
    }
}

const gui_frame *gui_end(gui *g) {
    ImGui::Render();
    const ImDrawData *data = ImGui::GetDrawData();
    collect(g, data);
    g->out = {data->DisplaySize.x,
              data->DisplaySize.y,
              g->vertices.data(),
              g->indices.data(),
              g->draws.data(),
              static_cast<uint32_t>(g->vertices.size()),
              static_cast<uint32_t>(g->indices.size()),
              static_cast<uint32_t>(g->draws.size()),
              g->parts.pictures,
              g->parts.picture_count};
    return &g->out;
}

float gui_em(const gui *) {
    return ImGui::GetFontSize();
}
bool gui_pressed(const gui *g, int key) {
    return g->pressed[key] && !ImGui::GetIO().WantTextInput;
}

/* ---- What widgets share ---- */

#define FORMATTED(size)                                                                            \
    char text[size];                                                                               \
    va_list list;                                                                                  \
    va_start(list, format);                                                                        \
    std::vsnprintf(text, sizeof text, format, list);                                               \
    va_end(list)

/* The last item's rectangle, as a mark. */
static bool leave(gui *g, const char *label, bool result) {
    const ImVec2 low = ImGui::GetItemRectMin(), high = ImGui::GetItemRectMax();
    gui_parts_mark(&g->parts, {low.x, low.y, high.x - low.x, high.y - low.y}, label);
    return result;
}

/* ---- Panels ---- */

void gui_panel_begin(gui *g, const char *name, gui_rect r) {
    std::snprintf(g->parts.panel, sizeof g->parts.panel, "%s", name);
    ImGui::SetNextWindowPos(ImVec2(r.x, r.y));
    ImGui::SetNextWindowSize(ImVec2(r.w, r.h));
    ImGui::Begin(name, nullptr,
                 ImGuiWindowFlags_NoDecoration | ImGuiWindowFlags_NoMove |
                     ImGuiWindowFlags_NoSavedSettings | ImGuiWindowFlags_NoBringToFrontOnFocus |
                     ImGuiWindowFlags_NoScrollWithMouse);
    gui_parts_mark(&g->parts, r, "");
}
void gui_border_begin(gui *g, const char *name, gui_rect r) {
    ImGui::PushStyleVar(ImGuiStyleVar_WindowPadding, ImVec2(0, 0));
    ImGui::PushStyleVar(ImGuiStyleVar_WindowMinSize, ImVec2(1, 1));
    ImGui::PushStyleColor(ImGuiCol_WindowBg, 0);
    gui_panel_begin(g, name, r);
    ImGui::PopStyleColor();
    ImGui::PopStyleVar(2);
}
void gui_panel_end(gui *g) {
    ImGui::End();
    g->parts.panel[0] = 0;
}
void gui_scroll_begin(gui *, const char *name, float height) {
    ImGui::BeginChild(name, ImVec2(0, height));
}
void gui_scroll_end(gui *) {
    ImGui::EndChild();
}
gui_rect gui_visible(gui *) {
    const ImVec2 at = ImGui::GetWindowPos(), size = ImGui::GetWindowSize();
    return {at.x, at.y, size.x, size.y};
}
void gui_overlay_begin(gui *g, const char *name) {
    const ImVec2 size = ImGui::GetIO().DisplaySize;
    std::snprintf(g->parts.panel, sizeof g->parts.panel, "%s", name);
    ImGui::SetNextWindowPos(ImVec2(size.x / 2, size.y / 2), 0, ImVec2(0.5f, 0.5f));
    ImGui::SetNextWindowFocus();
    ImGui::PushStyleColor(ImGuiCol_WindowBg, paint(COLOUR_POPUP));
    ImGui::Begin(name, nullptr,
                 ImGuiWindowFlags_NoDecoration | ImGuiWindowFlags_NoMove |
                     ImGuiWindowFlags_NoSavedSettings | ImGuiWindowFlags_AlwaysAutoResize);
}
void gui_overlay_end(gui *g) {
    ImGui::End();
    ImGui::PopStyleColor();
    g->parts.panel[0] = 0;
}

/* ---- Widgets ---- */

void gui_text(gui *, gui_colour colour, const char *format, ...) {
    FORMATTED(512);
    ImGui::PushStyleColor(ImGuiCol_Text, ink(colour));
    ImGui::TextUnformatted(text);
    ImGui::PopStyleColor();
}
void gui_wrapped(gui *, gui_colour colour, const char *text) {
    ImGui::PushStyleColor(ImGuiCol_Text, ink(colour));
    ImGui::PushTextWrapPos(0);
    ImGui::TextUnformatted(text);
    ImGui::PopTextWrapPos();
    ImGui::PopStyleColor();
}
void gui_beside(gui *, float gap) {
    ImGui::SameLine(0, gap);
}
void gui_beside_if(gui *, float gap, float width) {
    const float right = ImGui::GetWindowPos().x + ImGui::GetWindowContentRegionMax().x;
    if (ImGui::GetItemRectMax().x + gap + width <= right) ImGui::SameLine(0, gap);
}
void gui_beside_at(gui *, float x) {
    ImGui::SameLine(x);
}
void gui_space(gui *, float height) {
    ImGui::Dummy(ImVec2(1, height));
}
void gui_width(gui *, float width) {
    ImGui::SetNextItemWidth(width);
}
void gui_align(gui *) {
    ImGui::AlignTextToFramePadding();
}
float gui_room_x(gui *) {
    return ImGui::GetContentRegionAvail().x;
}
float gui_room_y(gui *) {
    return ImGui::GetContentRegionAvail().y;
}
bool gui_button(gui *g, const char *label, bool enabled) {
    ImGui::BeginDisabled(!enabled);
    const bool result = ImGui::Button(label);
    ImGui::EndDisabled();
    return leave(g, label, result);
}
bool gui_toggle(gui *g, const char *label, bool on) {
    ImGui::PushStyleColor(ImGuiCol_Text, ink(on ? COLOUR_TEXT : COLOUR_MUTED));
    ImGui::PushStyleColor(ImGuiCol_Button, on ? ink(COLOUR_FIELD_HOVER) : 0);
    const bool result = ImGui::Button(label);
    ImGui::PopStyleColor(2);
    return leave(g, label, result);
}
bool gui_check(gui *g, const char *label, bool *value) {
    return leave(g, label, ImGui::Checkbox(label, value));
}
bool gui_slider(gui *g, const char *label, float *value, float low, float high, bool logarithmic,
                const char *format) {
    const ImGuiSliderFlags flags =
        ImGuiSliderFlags_AlwaysClamp | (logarithmic ? ImGuiSliderFlags_Logarithmic : 0);
    return leave(g, label, ImGui::SliderFloat(label, value, low, high, format, flags));
}
bool gui_slider_u32(gui *g, const char *label, uint32_t *value, uint32_t low, uint32_t high) {
    return leave(g, label,
                 ImGui::SliderScalar(label, ImGuiDataType_U32, value, &low, &high, "%u",
                                     ImGuiSliderFlags_AlwaysClamp));
}
bool gui_combo(gui *g, const char *label, const char *const *items, uint32_t count,
               uint32_t *chosen) {
    const bool open = ImGui::BeginCombo(label, *chosen < count ? items[*chosen] : "");
    bool changed = false;
    leave(g, label, open);
    for (uint32_t i = 0; open && i < count; i++) {
        ImGui::PushID(static_cast<int>(i));
        if (leave(g, items[i], ImGui::Selectable(items[i], i == *chosen))) {
            changed = i != *chosen;
            *chosen = i;
        }
        ImGui::PopID();
    }
    if (open) ImGui::EndCombo();
    return changed;
}
void gui_hint(gui *, const char *text) {
    if (ImGui::IsItemHovered(ImGuiHoveredFlags_AllowWhenDisabled)) ImGui::SetTooltip("%s", text);
}
void gui_tooltip(gui *, const char *format, ...) {
    FORMATTED(512);
    ImGui::SetTooltip("%s", text);
}
gui_canvas gui_canvas_add(gui *g, const char *name, float width, float height) {
    const ImVec2 at = ImGui::GetCursorScreenPos();
    const ImGuiIO &io = ImGui::GetIO();
    gui_canvas c = {};
    c.clicked =
        ImGui::InvisibleButton(name, ImVec2(std::fmax(width, 1.0f), std::fmax(height, 1.0f)));
    leave(g, name, false);
    c.r = {at.x, at.y, width, height};
    c.hovered = ImGui::IsItemHovered();
    c.held = ImGui::IsItemActive();
    c.double_clicked = c.hovered && ImGui::IsMouseDoubleClicked(0);
    c.x = io.MousePos.x;
    c.y = io.MousePos.y;
    if (c.held) c.drag_x = io.MouseDelta.x;
    if (c.held) c.drag_y = io.MouseDelta.y;
    if (c.hovered) c.wheel = io.MouseWheel;
    return c;
}

/* ---- Shapes ---- */

static ImDrawList *list(void) {
    return ImGui::GetWindowDrawList();
}
void gui_fill(gui *, gui_rect r, gui_colour colour) {
    list()->AddRectFilled(ImVec2(r.x, r.y), corner(r), ink(colour));
}
void gui_outline(gui *, gui_rect r, gui_colour colour, float width) {
    list()->AddRect(ImVec2(r.x, r.y), corner(r), ink(colour), 0, 0, width);
}
void gui_line(gui *, float x0, float y0, float x1, float y1, gui_colour colour, float width) {
    list()->AddLine(ImVec2(x0, y0), ImVec2(x1, y1), ink(colour), width);
}
void gui_curve(gui *, const float *points, uint32_t count, gui_colour colour, float width) {
    static_assert(sizeof(ImVec2) == 2 * sizeof(float), "points are pairs of floats");
    list()->AddPolyline(reinterpret_cast<const ImVec2 *>(points), static_cast<int>(count),
                        ink(colour), 0, width);
}
void gui_dot(gui *, float x, float y, float radius, gui_colour colour) {
    list()->AddCircleFilled(ImVec2(x, y), radius, ink(colour));
}
float gui_label_width(gui *, const char *text) {
    return ImGui::CalcTextSize(text).x;
}
void gui_label(gui *, float x, float y, float align, gui_colour colour, const char *text) {
    const ImVec2 size = ImGui::CalcTextSize(text);
    list()->AddText(ImVec2(std::floor(x - align * size.x), std::floor(y - size.y / 2)), ink(colour),
                    text);
}
void gui_image(gui *g, const char *name, gui_rect r, uint32_t width, uint32_t height,
               const uint8_t *pixels, bool smooth, float alpha) {
    const uint32_t n = gui_parts_picture(&g->parts, name, width, height, pixels, smooth);
    if (!n) return;
    list()->AddImage(reinterpret_cast<ImTextureID>(static_cast<uintptr_t>(n)), ImVec2(r.x, r.y),
                     corner(r), ImVec2(0, 0), ImVec2(1, 1),
                     IM_COL32(255, 255, 255, static_cast<int>(255 * alpha + 0.5f)));
}
void gui_clip(gui *, gui_rect r) {
    ImGui::PushClipRect(ImVec2(r.x, r.y), corner(r), true);
}
void gui_unclip(gui *) {
    ImGui::PopClipRect();
}
