/* prog/broker/settings.c - what the supervisor wants of this broker: one JSON object in a sealed file, read before lock-in. */
#include "prog/broker/broker.h"

#include "ipc/json.h"
#include "ipc/keys.h"

#include <string.h>
#include <unistd.h>

enum { SETTINGS_BYTES = 64 << 10 };

void settings_init(struct broker_settings *s)
{
    *s = (struct broker_settings){ .queue = MAX_QUEUE, .clients = MAX_PEERS, .memory = UINT64_MAX, .hang = 10000 * MS };
}

/* The number of a key that is there; else what there was. */
static uint64_t number(const json_t *all, const char *key, uint64_t preset)
{
    const json_t *value = json_object_get(all, key);
    return json_is_integer(value) ? (uint64_t)json_integer_value(value) : preset;
}

int settings_read(struct broker_settings *s, int fd, struct vs_error *err)
{
    char text[SETTINGS_BYTES];
    ssize_t n = pread(fd, text, sizeof text, 0);
    json_t *all = n >= 0 ? vs_json_parse(text, (size_t)n, err) : NULL;
    if (!all)
        return n < 0 ? vs_error_set(err, VS_E_SYSTEM, "they cannot be read") : err->code;
    int r = vs_key_check_group(VS_KEYS_OF_BROKER, "serve", all, err);
    if (r == VS_OK) {
        const char *log = json_string_value(json_object_get(all, "log"));
        s->queue = (unsigned)number(all, "queue", s->queue);
        s->clients = (unsigned)number(all, "clients", s->clients);
        s->memory = number(all, "memory", s->memory);
        s->hang = number(all, "hang_s", s->hang / (1000 * MS)) * 1000 * MS;
        s->log = log && strcmp(log, "json") == 0 ? VS_LOG_JSON : VS_LOG_TEXT;
        s->delegates = json_incref(json_object_get(all, "delegates"));
        s->aliases = json_incref(json_object_get(all, "aliases"));
    }
    json_decref(all);
    return r;
}
