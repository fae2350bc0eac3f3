/* prog/veritas/status.c - see status.h */
#include "prog/veritas/status.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CELL_BYTES = 512 };

const json_t *vs_status_at(const json_t *object, const char *path)
{
    char name[40];
    for (const char *dot; object; path = dot + 1) {
        dot = strchr(path, '.');
        snprintf(name, sizeof name, "%.*s", dot ? (int)(dot - path) : (int)strlen(path), path);
        object = json_object_get(object, name);
        if (!dot)
            break;
    }
    return json_is_null(object) ? NULL : object;
}

/* Resident memory of a worker, 0 when it cannot be told: the daemon may run in a container, under other numbers. */
static double resident_bytes(long long pid)
{
    char path[64], name[32] = "";
    long long pages = 0;
    snprintf(path, sizeof path, "/proc/%lld/comm", pid);
    FILE *f = fopen(path, "re");
    bool ours = f && fgets(name, sizeof name, f) && strncmp(name, "veritas-worker", 14) == 0;
    if (f)
        fclose(f);
    snprintf(path, sizeof path, "/proc/%lld/statm", pid);
    f = ours ? fopen(path, "re") : NULL;
    if (f && fscanf(f, "%*d %lld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void show_cell(const struct vs_column *c, const json_t *model, char ret[CELL_BYTES])
{
    const json_t *value = vs_status_at(model, c->path), *second = c->second ? vs_status_at(model, c->second) : NULL;
    double number = json_number_value(value), whole = json_number_value(second), memory = 0;
    snprintf(ret, CELL_BYTES, "-");
    switch (c->kind) {
    case VS_CELL_TEXT:
        if (json_is_string(value))
            vs_text_line(ret, CELL_BYTES, json_string_value(value), json_string_length(value));
        break;
    case VS_CELL_COUNT:
        value = json_is_integer(value) ? value : second;
        if (json_is_integer(value))
            snprintf(ret, CELL_BYTES, "%lld", (long long)json_integer_value(value));
        break;
    case VS_CELL_SHARE:
        if (json_is_number(value) && whole > 0)
            snprintf(ret, CELL_BYTES, "%.0f%%", number / whole * 100);
        break;
    case VS_CELL_RATE:
        if (json_is_number(value))
            snprintf(ret, CELL_BYTES, "%.1f", number);
        break;
    case VS_CELL_MEMORY:
        memory = resident_bytes((long long)json_integer_value(value));
        if (memory > 0)
            snprintf(ret, CELL_BYTES, "%.1f", memory / 1e6);
        break;
    }
}

size_t vs_columns_fit(const struct vs_column *columns, size_t n, int width)
{
    size_t fit = 0;
    for (int used = -1; fit < n; fit++) {
        used += 1 + columns[fit].width;
        if (used > width)
            break;
    }
    return fit ? fit : 1;
}

/* A cell in its column; a text that is longer is cut. */
static void put(const struct vs_column *c, bool first, const char *text, struct vs_buf *out)
{
    char cut[CELL_BYTES];
    bool left = c->kind == VS_CELL_TEXT;
    if (left)
        vs_text_line(cut, (size_t)c->width + 1, text, strlen(text));
    vs_buf_printf(out, left ? "%s%-*s" : "%s%*s", first ? "" : " ", c->width, left ? cut : text);
}

void vs_columns_head(const struct vs_column *columns, size_t n, struct vs_buf *out)
{
    for (size_t i = 0; i < n; i++)
        put(&columns[i], i == 0, columns[i].title, out);
}

void vs_columns_row(const struct vs_column *columns, size_t n, const json_t *model, struct vs_buf *out)
{
    char cell[CELL_BYTES];
    for (size_t i = 0; i < n; i++) {
        show_cell(&columns[i], model, cell);
        put(&columns[i], i == 0, cell, out);
    }
}

void vs_columns_sentence(const struct vs_column *columns, size_t n, const json_t *model, struct vs_buf *out)
{
    char cell[CELL_BYTES];
    for (size_t i = 0; i < n; i++) {
        const char *words = columns[i].words, *place = strstr(words, "%s");
        show_cell(&columns[i], model, cell);
        const char *before = i == 0 ? "" : i == 1 && columns[0].kind == VS_CELL_TEXT ? ": " : ", ";
        vs_buf_printf(out, "%s%.*s%s%s", before, (int)(place - words), words, cell, place + 2);
    }
}
