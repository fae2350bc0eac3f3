/* filter/list.c - a menu, a row of buttons, names of columns: entries of few words, and of no person. */
#include "filter/list.h"
#include "filter/view_parts.h"

#include <stdint.h>
#include <string.h>

/* Words with which somebody is spoken to, or speaks: no entry of a menu has one, hardly an order does without. In scripts without
 * blanks anywhere. */
static const char *const persons[] = {
    "i", "me", "my", "myself", "you", "your", "yours", "yourself", "u", "ur", "we", "us", "our",
    "ich", "mir", "mich", "mein", "meine", "meinen", "du", "dir", "dich", "dein", "deine", "deinen", "deiner", "deinem", "sie",
    "ihre", "je", "moi", "mon", "ma", "mes", "tu", "te", "toi", "ton", "ta", "tes", "vous", "vos", "votre",
    "yo", "mi", "mis", "ti", "tus", "su", "sus", "eu", "meu", "minha", "teu", "tua", "teus", "tuas", "seu", "sua", "seus", "suas",
    "io", "mio", "mia", "tuo", "tuoi", "tue", "ik", "mij", "mijn", "jij", "jou", "jouw", "ja", "mnie", "ty", "ci", "twoje",
    "twoich", "sen", "sana", "senin", "bana", "ben", "kamu", "anda", "aku", "saya",
    "\xd1\x8f", "\xd0\xbc\xd0\xbd\xd0\xb5", "\xd1\x82\xd1\x8b", "\xd1\x82\xd0\xb5\xd0\xb1\xd0\xb5",
    "\xd1\x82\xd0\xb5\xd0\xb1\xd1\x8f", "\xd1\x82\xd0\xb2\xd0\xbe\xd0\xb8", "\xd1\x82\xd0\xb2\xd0\xbe\xd0\xb9",
    "\xd0\xb2\xd1\x8b", "\xd0\xb2\xd0\xb0\xd1\x88\xd0\xb8",     /* ya, mne, ty, tebe, tebya, tvoi, tvoy, vy, vashi */
};
static const char *const persons_anywhere[] = {
    "\xe4\xbd\xa0", "\xe6\x82\xa8", "\xe6\x88\x91",                           /* ni, nin, wo */
    "\xe3\x81\x82\xe3\x81\xaa\xe3\x81\x9f", "\xe5\x90\x9b", "\xe7\xa7\x81",     /* anata, kimi, watashi */
    "\xeb\x84\x88", "\xeb\x84\xa4", "\xeb\x82\x98", "\xeb\x8b\xb9\xec\x8b\xa0", /* neo, ne, na, dangsin */
};

static bool is_person(const char *word, size_t n)
{
    char small[16];
    if (n > sizeof small)
        return false;
    for (size_t i = 0; i < n; i++)
        small[i] = vs_ascii_letter(word[i]) ? word[i] | 0x20 : word[i];
    for (size_t k = 0; k < sizeof persons / sizeof *persons; k++)
        if (strlen(persons[k]) == n && memcmp(persons[k], small, n) == 0)
            return true;
    return false;
}

bool vs_is_list(const char *text, size_t n)
{
    enum { ENTRIES = 4, WORDS = 3, ALL = 10, FOREIGN = 36, LONGEST = 300 };
    unsigned entries = 0, words = 0, all = 0, foreign = 0;   /* foreign: bytes of letters that are not ASCII */
    size_t begin = 0;                                        /* of a word */
    bool inside = false;
    if (n > LONGEST)
        return false;
    for (size_t i = 0; i <= n; i++) {
        char c = i < n ? text[i] : '\n';
        bool ends = c && strchr("\n,;|.[]", c), letter = vs_ascii_letter(c) || (uint8_t)c >= 0x80;
        if (letter && !inside) {
            begin = i;
            words++;
            all++;
        }
        if (!letter && inside && is_person(text + begin, i - begin))
            return false;
        inside = letter;
        foreign += (uint8_t)c >= 0x80;
        if (words > WORDS || all > ALL || foreign > FOREIGN)
            return false;
        entries += ends && words;
        words = ends ? 0 : words;
        foreign = ends ? 0 : foreign;
    }
    for (size_t k = 0; k < sizeof persons_anywhere / sizeof *persons_anywhere; k++)
        if (memmem(text, n, persons_anywhere[k], strlen(persons_anywhere[k])))
            return false;
    return entries >= ENTRIES;
}
