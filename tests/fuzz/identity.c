/* rooms: identity ipc base */
/* Any bytes as a key's file and as a key: a file is refused with a reason, or is written and read again as the same; a key that was
 * never made finds nobody. */
#include "identity/identity.h"

#include "ipc/json.h"
#include "ipc/name.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_key(const char *text, size_t n, const struct vs_identity *who)
{
    struct vs_identities all = { 0 };
    const struct vs_secret *secret;
    struct vs_error err;
    json_t *list = json_pack("[o]", vs_identity_json(who));
    if (vs_identity_list_parse(list, &all, &err) != VS_OK || !vs_identity_find(&all, who->name)
        || vs_identity_of_key(&all, text, n, 0, &secret))       /* it would be a SHA-256 of what it salts */
        abort();
    vs_identity_list_clear(&all);
    json_decref(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct vs_identity first, second;
    struct vs_buf text = { 0 }, again = { 0 };
    struct vs_error err = { 0 };
    char id[VS_API_KEY_ID + 1];
    if (vs_api_key_parse((const char *)data, n, id) && (n != VS_API_KEY_LENGTH || !vs_api_key_id_is_valid(id)))
        abort();
    if (vs_identity_parse((const char *)data, n, &first, &err) != VS_OK) {
        if (!err.text[0] || strchr(err.text, '\n'))
            abort();
        return 0;
    }
    if (!vs_key_name_is_valid(first.name) || first.scopes & ~vs_role_scopes(first.role))
        abort();
    vs_identity_format(&first, &text);
    if (text.status != VS_OK || vs_identity_parse(text.data, text.n, &second, &err) != VS_OK)
        abort();
    vs_identity_format(&second, &again);
    if (again.n != text.n || memcmp(again.data, text.data, text.n) != 0)
        abort();
    check_key((const char *)data, n, &first);
    vs_buf_clear(&text);
    vs_buf_clear(&again);
    return 0;
}
