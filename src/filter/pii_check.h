/* filter/pii_check.h - check digits and number structures. Arguments are digits (or letters) without separators.
 *
 * Sources: ISO/IEC 7812 (Luhn), ISO 13616 (IBAN), ISO 7064 (mod 97-10, 11-2), ICAO 9303 (7-3-1), Verhoeff 1969, and the public
 * descriptions of the national numbers. Memory: none. Threads: pure.
 */
#ifndef VS_FILTER_PII_CHECK_H
#define VS_FILTER_PII_CHECK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool vs_check_luhn(const char *digits, size_t n);
bool vs_check_card(const char *digits, size_t n, bool *ret_is_common);     /* an issuer's range and length, and Luhn */
bool vs_check_verhoeff(const char *digits, size_t n);
bool vs_check_ssn(const char *digits);             /* 9; false: never given out, or a well-known sample */
bool vs_check_itin(const char *digits);
bool vs_check_iban(const char *iban, size_t n);    /* capital letters and digits; the length is the caller's */
size_t vs_check_iban_length(char first, char second);      /* 0: no such country */
bool vs_check_routing(const char *digits);         /* 9 */
bool vs_check_nhs(const char *digits);             /* 10 */
bool vs_check_npi(const char *digits);             /* 10 */
bool vs_check_mbi(const char *s);                  /* 11 characters */
bool vs_check_dea(const char *s);                  /* two letters, seven digits */
bool vs_check_mrz(const char *s, size_t n, char digit);     /* 7-3-1 over s, as ICAO 9303 has it */
bool vs_check_date(unsigned year, unsigned month, unsigned day);

/* National numbers, by their name in English. */
bool vs_check_aadhaar(const char *digits);         /* 12 */
bool vs_check_sin(const char *digits);             /* 9, Canada */
bool vs_check_cpf(const char *digits);             /* 11, Brazil */
bool vs_check_nif(const char *s, size_t n);        /* Spain: 8 digits and a letter, or X Y Z, 7 digits, a letter */
bool vs_check_codice(const char *s);               /* 16, Italy */
bool vs_check_pesel(const char *digits);           /* 11, Poland */
bool vs_check_nir(const char *s, size_t n);        /* 13 or 15, France */
bool vs_check_bsn(const char *digits);             /* 9, Netherlands */
bool vs_check_nordic(const char *digits, size_t n);        /* 10 Sweden and Denmark (its date), 11 Norway */
bool vs_check_hetu(const char *s);                 /* 11, Finland: DDMMYY, a mark, 3 digits, a letter */
bool vs_check_rrn(const char *digits);             /* 13, Korea */
bool vs_check_china(const char *s);                /* 18 */
bool vs_check_south(const char *digits);           /* 13, South Africa */
bool vs_check_turkey(const char *digits);          /* 11 */
bool vs_check_steuer(const char *digits);          /* 11, Germany's tax id */
bool vs_check_base58(const char *s, size_t n);     /* Bitcoin's Base58Check, 25 bytes */
bool vs_check_bech32(const char *s, size_t n);     /* bc1..., BIP 173 and 350 */
#endif
