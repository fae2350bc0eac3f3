/* identity/identity.c - see identity.h */
#include "identity/identity.h"

#include "base/bytes.h"
#include "base/text.h"
#include "ipc/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- roles and scopes ---- */

static const struct {
    const char *name;
    bool has[3];                        /* by role, but for the admin, who has all */
} scopes[VS_N_SCOPES] = {
#define SCOPE(id, name, user, operator, auditor, what) { name, { user, operator, auditor } },
    VS_SCOPE_MAP(SCOPE)
#undef SCOPE
};

static const char *const role_names[VS_N_ROLES] = { "user", "operator", "auditor", "admin" };

const char *vs_role_name(enum vs_role role)
{
    return role_names[role];
}

bool vs_role_parse(const char *name, enum vs_role *ret)
{
    for (unsigned i = 0; i < VS_N_ROLES; i++)
        if (strcmp(role_names[i], name) == 0) {
            *ret = (enum vs_role)i;
            return true;
        }
    return false;
}

uint32_t vs_role_scopes(enum vs_role role)
{
    uint32_t set = 0;
    for (unsigned i = 0; i < VS_N_SCOPES; i++)
        set |= role == VS_ROLE_ADMIN || scopes[i].has[role] ? UINT32_C(1) << i : 0;
    return set;
}

const char *vs_scope_name(enum vs_scope scope)
{
    return scopes[scope].name;
}

json_t *vs_scopes_json(uint32_t set)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < VS_N_SCOPES; i++)
        if (set >> i & 1)
            json_array_append_new(list, json_string(scopes[i].name));
    return list;
}

static bool scope_parse(const char *name, size_t n, uint32_t *ret)
{
    for (unsigned i = 0; i < VS_N_SCOPES; i++)
        if (strlen(scopes[i].name) == n && memcmp(scopes[i].name, name, n) == 0) {
            *ret = UINT32_C(1) << i;
            return true;
        }
    return false;
}

int vs_scopes_parse(const char *text, enum vs_role role, uint32_t *ret, struct vs_error *err)
{
    uint32_t set = 0, one;
    for (const char *at = text; ; at += strcspn(at, ",") + 1) {
        size_t n = strcspn(at, ",");
        char name[40];
        snprintf(name, sizeof name, "%.*s", (int)(n < 39 ? n : 39), at);
        if (!scope_parse(at, n, &one))
            return vs_error_set(err, VS_E_INVALID, "'%s' is not a scope", vs_shown(name).text);
        if (!(vs_role_scopes(role) & one))
            return vs_error_set(err, VS_E_INVALID, "the role %s does not have the scope '%s'", role_names[role], name);
        set |= one;
        if (!at[n])
            break;
    }
    *ret = set;
    return VS_OK;
}

/* ---- one ---- */

/* A string without NUL inside, or NULL. */
static const char *text_of(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    const char *s = json_string_value(v);
    return s && strlen(s) == json_string_length(v) ? s : NULL;
}

static bool hex_of(const json_t *object, const char *key, uint8_t *ret, size_t n)
{
    const char *s = text_of(object, key);
    if (!s || strlen(s) != 2 * n)
        return false;
    for (size_t i = 0; i < 2 * n; i++)
        if (vs_hex_digit(s[i]) < 0)
            return false;
    vs_hex_bytes(s, n, ret);
    return true;
}

static bool seconds_of(const json_t *object, const char *key, int64_t *ret)
{
    const json_t *v = json_object_get(object, key);
    *ret = json_integer_value(v);
    return !v || (json_is_integer(v) && *ret >= 0);
}

static bool secret_parse(const json_t *v, struct vs_secret *ret)
{
    const char *id = text_of(v, "id");
    if (!id || !vs_api_key_id_is_valid(id) || !hex_of(v, "salt", ret->salt, sizeof ret->salt)
        || !hex_of(v, "sha256", ret->hash, sizeof ret->hash) || !seconds_of(v, "until", &ret->until))
        return false;
    memcpy(ret->id, id, sizeof ret->id);
    return true;
}

static bool scopes_of(const json_t *list, enum vs_role role, uint32_t *ret)
{
    const json_t *v;
    size_t i;
    uint32_t one;
    *ret = 0;
    json_array_foreach(list, i, v) {
        if (!json_is_string(v) || !scope_parse(json_string_value(v), json_string_length(v), &one))
            return false;
        *ret |= one;
    }
    *ret &= vs_role_scopes(role);
    return json_is_array(list);
}

/* NULL, or what is wrong. */
static const char *identity_read(const json_t *v, struct vs_identity *ret)
{
    const char *name = text_of(v, "name"), *role = text_of(v, "role");
    const json_t *before = json_object_get(v, "before");
    if (json_integer_value(json_object_get(v, "version")) != 1)
        return "its version is not 1";
    if (!name || !vs_key_name_is_valid(name))
        return "its name is none";
    if (!role || !vs_role_parse(role, &ret->role))
        return "its role is none";
    if (!scopes_of(json_object_get(v, "scopes"), ret->role, &ret->scopes))
        return "its scopes are none";
    if (!seconds_of(v, "created", &ret->created))
        return "its time is none";
    if (!secret_parse(json_object_get(v, "key"), &ret->secret[0]) || (before && !secret_parse(before, &ret->secret[1])))
        return "what is kept of its key is not whole";
    snprintf(ret->name, sizeof ret->name, "%s", name);
    return NULL;
}

int vs_identity_parse(const char *text, size_t n, struct vs_identity *ret, struct vs_error *err)
{
    struct vs_identity who = { 0 };
    struct vs_error why = { 0 };
    json_t *v = n <= VS_IDENTITY_FILE_MOST ? vs_json_parse(text, n, &why) : NULL;
    const char *wrong = v ? identity_read(v, &who) : n > VS_IDENTITY_FILE_MOST ? "it is too long" : why.text;
    int rc = wrong ? vs_error_set(err, VS_E_MALFORMED, "%s", vs_shown(wrong).text) : VS_OK;
    json_decref(v);
    if (rc == VS_OK)
        *ret = who;
    return rc;
}

static json_t *secret_json(const struct vs_secret *s)
{
    char salt[2 * sizeof s->salt + 1], hash[2 * sizeof s->hash + 1];
    vs_hex(s->salt, sizeof s->salt, salt);
    vs_hex(s->hash, sizeof s->hash, hash);
    json_t *v = json_pack("{s:s, s:s, s:s}", "id", s->id, "salt", salt, "sha256", hash);
    if (s->until)
        json_object_set_new(v, "until", json_integer(s->until));
    return v;
}

json_t *vs_identity_json(const struct vs_identity *who)
{
    json_t *v = json_pack("{s:i, s:s, s:s, s:o, s:I, s:o}", "version", 1, "name", who->name, "role", vs_role_name(who->role),
                          "scopes", vs_scopes_json(who->scopes), "created", (json_int_t)who->created, "key",
                          secret_json(&who->secret[0]));
    if (who->secret[1].id[0])
        json_object_set_new(v, "before", secret_json(&who->secret[1]));
    return v;
}

void vs_identity_format(const struct vs_identity *who, struct vs_buf *out)
{
    json_t *v = vs_identity_json(who);
    if (v)
        vs_json_dump(v, out);
    else
        out->status = VS_E_NOMEM;
    json_decref(v);
}

/* ---- many ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct vs_identity *)a)->name, ((const struct vs_identity *)b)->name);
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct vs_identity_ref *)a)->secret->id, ((const struct vs_identity_ref *)b)->secret->id);
}

static int no_memory(struct vs_identities *all, struct vs_error *err)
{
    vs_identity_list_clear(all);
    return vs_error_set(err, VS_E_NOMEM, "%s", vs_status_text(VS_E_NOMEM));
}

int vs_identity_list_parse(const json_t *list, struct vs_identities *ret, struct vs_error *err)
{
    struct vs_identities all = { 0 };
    size_t most = json_array_size(list), i;
    const json_t *v;
    if (!json_is_array(list) || most > VS_IDENTITIES_MOST)
        return vs_error_set(err, VS_E_MALFORMED, "the list of keys is none");
    all.v = calloc(most + 1, sizeof *all.v);
    all.by_id = calloc(2 * most + 1, sizeof *all.by_id);
    if (!all.v || !all.by_id)
        return no_memory(&all, err);
    json_array_foreach(list, i, v) {
        const char *wrong = identity_read(v, &all.v[all.n++]);
        if (wrong) {
            vs_identity_list_clear(&all);
            return vs_error_set(err, VS_E_MALFORMED, "key %zu: %s", i, wrong);
        }
    }
    qsort(all.v, all.n, sizeof *all.v, by_name);
    for (size_t k = 0; k < all.n; k++)
        for (size_t s = 0; s < 2; s++)
            if (all.v[k].secret[s].id[0])
                all.by_id[all.n_ids++] = (struct vs_identity_ref){ &all.v[k], &all.v[k].secret[s] };
    qsort(all.by_id, all.n_ids, sizeof *all.by_id, by_id);
    *ret = all;
    return VS_OK;
}

void vs_identity_list_clear(struct vs_identities *all)
{
    if (all->v)
        explicit_bzero(all->v, all->n * sizeof *all->v);
    free(all->v);
    free(all->by_id);
    *all = (struct vs_identities){ 0 };
}

const struct vs_identity *vs_identity_find(const struct vs_identities *all, const char *name)
{
    struct vs_identity key;
    snprintf(key.name, sizeof key.name, "%s", name);
    return all->n ? bsearch(&key, all->v, all->n, sizeof *all->v, by_name) : NULL;
}

/* Ids are no secret, so they are looked for as usual. An id that there is not costs the same hash. */
const struct vs_identity *vs_identity_of_key(const struct vs_identities *all, const char *text, size_t n, int64_t now,
                                             const struct vs_secret **ret_secret)
{
    static const struct vs_secret nobody;
    struct vs_secret wanted = { 0 };
    struct vs_identity_ref key = { NULL, &wanted };
    const struct vs_identity_ref *ref = NULL;
    if (!vs_api_key_parse(text, n, wanted.id))
        return NULL;
    if (all->n_ids)
        ref = bsearch(&key, all->by_id, all->n_ids, sizeof *all->by_id, by_id);
    bool matches = vs_secret_matches(ref ? ref->secret : &nobody, text, n);
    if (!ref || !matches || (ref->secret->until && now >= ref->secret->until))
        return NULL;
    *ret_secret = ref->secret;
    return ref->who;
}
