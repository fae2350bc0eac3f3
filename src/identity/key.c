/* identity/key.c - see key.h */
#include "identity/key.h"

#include "base/bytes.h"
#include "base/sha256.h"

#include <string.h>
#include <sys/random.h>

static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char mark[] = "vk_";
enum { MARK = sizeof mark - 1, CHANCE_BYTES = (VS_API_KEY_ID + VS_API_KEY_SECRET) * 5 / 8 };

static uint32_t crc32_of(const char *text, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= (uint8_t)text[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (UINT32_C(0xedb88320) & (0u - (crc & 1)));
    }
    return ~crc;
}

static void put_check(const char *text, size_t n, char ret[VS_API_KEY_CHECK])
{
    uint32_t crc = crc32_of(text, n);
    for (int i = 0; i < VS_API_KEY_CHECK; i++)
        ret[i] = letters[(uint64_t)crc >> 5 * i & 31];
}

static bool are_letters(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!text[i] || !strchr(letters, text[i]))
            return false;
    return true;
}

bool vs_api_key_id_is_valid(const char *id)
{
    return strlen(id) == VS_API_KEY_ID && are_letters(id, VS_API_KEY_ID);
}

static void hash_of(const uint8_t salt[16], const char *text, size_t n, uint8_t ret[32])
{
    struct vs_sha256 s;
    vs_sha256_init(&s);
    vs_sha256_add(&s, salt, 16);
    vs_sha256_add(&s, text, n);
    vs_sha256_end(&s, ret);
    explicit_bzero(&s, sizeof s);
}

bool vs_api_key_make(char ret_key[VS_API_KEY_LENGTH + 1], struct vs_secret *ret)
{
    uint8_t chance[CHANCE_BYTES], salt[sizeof ret->salt];
    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance || getrandom(salt, sizeof salt, 0) != (ssize_t)sizeof salt)
        return false;
    *ret = (struct vs_secret){ 0 };
    memcpy(ret_key, mark, MARK);
    for (size_t i = 0; i < VS_API_KEY_ID + VS_API_KEY_SECRET; i++) {
        unsigned pair = (unsigned)chance[i * 5 / 8] << 8 | (i * 5 / 8 + 1 < CHANCE_BYTES ? chance[i * 5 / 8 + 1] : 0);
        ret_key[MARK + i] = letters[pair >> (11 - i * 5 % 8) & 31];
    }
    put_check(ret_key, VS_API_KEY_LENGTH - VS_API_KEY_CHECK, ret_key + VS_API_KEY_LENGTH - VS_API_KEY_CHECK);
    ret_key[VS_API_KEY_LENGTH] = 0;
    memcpy(ret->id, ret_key + MARK, VS_API_KEY_ID);
    memcpy(ret->salt, salt, sizeof salt);
    hash_of(salt, ret_key, VS_API_KEY_LENGTH, ret->hash);
    explicit_bzero(chance, sizeof chance);
    return true;
}

bool vs_api_key_parse(const char *text, size_t n, char ret_id[VS_API_KEY_ID + 1])
{
    char check[VS_API_KEY_CHECK];
    if (n != VS_API_KEY_LENGTH || memcmp(text, mark, MARK) != 0 || !are_letters(text + MARK, n - MARK))
        return false;
    put_check(text, n - VS_API_KEY_CHECK, check);
    if (memcmp(check, text + n - VS_API_KEY_CHECK, VS_API_KEY_CHECK) != 0)
        return false;
    memcpy(ret_id, text + MARK, VS_API_KEY_ID);
    ret_id[VS_API_KEY_ID] = 0;
    return true;
}

bool vs_secret_matches(const struct vs_secret *s, const char *text, size_t n)
{
    uint8_t hash[sizeof s->hash];
    hash_of(s->salt, text, n, hash);
    return vs_bytes_are_equal(hash, s->hash, sizeof hash);
}
