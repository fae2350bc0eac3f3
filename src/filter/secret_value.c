/* filter/secret_value.c - see secret_value.h */
#include "filter/secret_value.h"

#include "filter/random.h"

#include <assert.h>
#include <string.h>

enum { NAME_MAX_BYTES = 64, GAP_MAX = 16 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
    return is_digit(c) || is_letter(c);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Sets are short: a loop is faster than strchr. */
static inline bool is_one_of(char c, const char *set)
{
    while (*set && *set != c)
        set++;
    return *set != 0;
}

size_t vs_base64_decode(const char *s, size_t n, char *to, size_t size)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t length = 0;
    for (size_t i = 0; i < n && length < size; i++) {
        char c = s[i];
        unsigned value = c >= 'A' && c <= 'Z' ? (unsigned)(c - 'A') : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a' + 26)
                         : is_digit(c) ? (unsigned)(c - '0' + 52) : c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : 64;
        if (value == 64)
            break;
        bits = bits << 6 | value;
        have += 6;
        if (have >= 8)
            to[length++] = (char)(bits >> (have -= 8));
    }
    return length;
}

/* ---- what stands for a secret ---- */

/* Lists of words by their first letter (26: others), each behind a capital letter that says what it is: the capitals of those that
 * are in s[0, n), a bit for each. Words have two characters at least: most are refused by the second one. */
#define HAS(letter) (1u << ((letter) - 'A'))
enum { KINDS = 27, WORDS = 256 };        /* of first characters: a to z, others; words of a list */

struct word { const char *s; uint8_t n; char what; };

struct words {
    const char *by_first[KINDS];
    uint16_t from[KINDS + 1];            /* into word: those of a first letter */
    uint32_t second[KINDS];              /* a bit for the low five of each second character */
    struct word word[WORDS];
};

static unsigned kind_of(char c)
{
    return c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') : KINDS - 1;
}

static void words_init(struct words *w)
{
    unsigned n = 0;
    for (unsigned k = 0; k < KINDS; k++) {
        w->from[k] = (uint16_t)n;
        for (const char *p = w->by_first[k], *s; p && *p; n++) {
            for (s = ++p; *p && !(*p >= 'A' && *p <= 'Z'); p++)
                ;
            assert(n < WORDS && p - s > 1);
            w->word[n] = (struct word){ s, (uint8_t)(p - s), s[-1] };
            w->second[k] |= UINT32_C(1) << (s[1] & 31);
        }
    }
    w->from[KINDS] = (uint16_t)n;
}

static unsigned words_in(const char *s, size_t n, const struct words *w)
{
    unsigned found = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        char second = lower(s[i + 1]);
        unsigned kind = kind_of(lower(s[i]));
        if (!(w->second[kind] >> (second & 31) & 1))
            continue;
        for (const struct word *word = w->word + w->from[kind], *end = w->word + w->from[kind + 1]; word < end; word++) {
            size_t k = word->s[1] == second && word->n <= n - i ? 0 : SIZE_MAX;
            while (k < word->n && word->s[k] == lower(s[i + k]))
                k++;
            found |= k == word->n ? HAS(word->what) : 0;
        }
    }
    return found;
}

/* What may stand anywhere in it. */
static struct words stand_ins = { {
    ['a' - 'a'] = "Xa1b2c3Xaccess_tokenXapi-keyXapi_keyXapikey",
    ['c' - 'a'] = "Xchange-meXchange_meXchangeitXchangeme",
    ['d' - 'a'] = "XdeadbeefXdummy",
    ['e' - 'a'] = "Xenter-Xenter_Xenv(Xenv.Xenv[Xexample",
    ['f' - 'a'] = "XfakeXfoobar",
    ['g' - 'a'] = "Xgetenv",
    ['i' - 'a'] = "Xinsert",
    ['l' - 'a'] = "Xlorem",
    ['m' - 'a'] = "XmockXmy-apiXmy-secretXmy-tokenXmy_apiXmy_secretXmy_tokenXmyapiXmytoken",
    ['n' - 'a'] = "Xnot-setXnot_setXnotset",
    ['o' - 'a'] = "Xos.environ",
    ['p' - 'a'] = "XplaceholderXprocess.env",
    ['r' - 'a'] = "XredactedXreplaceXrequired",
    ['s' - 'a'] = "XsampleXsecret-keyXsecret_key",
    ['t' - 'a'] = "Xtodo",
    ['u' - 'a'] = "Xundefined",
    ['x' - 'a'] = "Xxxxx",
    ['y' - 'a'] = "Xyour-Xyour.Xyour_XyourapiXyourkeyXyourpassXyoursecretXyourtoken",
    [26] = "X#{X$(X${X%(X****X...X<%X<yourX{%X{{",
}, { 0 }, { 0 }, { { 0 } } };

/* The whole of it. */
static const char *const stand_alone[] = {
    "password", "passwd", "pass", "pwd", "secret", "token", "key", "string", "value", "admin", "root", "user", "username",
    "test", "testing", "foo", "bar", "null", "none", "nil", "true", "false", "pw", "mypassword", "my_password", "mysecret",
    "hidden", "default", "empty", "passphrase", "test123", "user123", "pass123", "s3cret", "credentials", "hash", "text",
    "varchar",
};

static bool contains(const char *s, size_t n, const char *what)
{
    size_t length = strlen(what);
    for (size_t i = 0; i + length <= n; i++) {
        size_t k = 0;
        while (k < length && lower(s[i + k]) == what[k])
            k++;
        if (k == length)
            return true;
    }
    return false;
}

static bool is_same(const char *s, size_t n, const char *what)
{
    size_t k = 0;
    while (k < n && what[k] == lower(s[k]) && what[k])
        k++;
    return k == n && !what[k];
}

/* The longest run of one character (but A, which zeros are in base64), and of characters that count up. */
static void runs_of(const char *s, size_t n, size_t *ret_same, size_t *ret_up)
{
    size_t same = 1, up = 1;
    *ret_same = *ret_up = n > 0;
    for (size_t i = 1; i < n; i++) {
        same = s[i] == s[i - 1] && s[i] != 'A' ? same + 1 : 1;
        up = s[i] == s[i - 1] + 1 && is_alnum(s[i]) ? up + 1 : 1;
        *ret_same = same > *ret_same ? same : *ret_same;
        *ret_up = up > *ret_up ? up : *ret_up;
    }
}

static unsigned distinct(const char *s, size_t n)
{
    uint64_t seen[4] = { 0 };
    unsigned count = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        count += !(seen[c >> 6] >> (c & 63) & 1);
        seen[c >> 6] |= (uint64_t)1 << (c & 63);
    }
    return count;
}

bool vs_secret_is_placeholder(const char *s, size_t n)
{
    size_t same, up;
    runs_of(s, n, &same, &up);
    if (same >= 7 || up >= 8 || (n >= 12 && distinct(s, n) <= 4))
        return true;
    if (n >= 2 && ((s[0] == '<' && s[n - 1] == '>') || (s[0] == '[' && s[n - 1] == ']') || (s[0] == '%' && s[n - 1] == '%')))
        return true;
    if (words_in(s, n, &stand_ins))
        return true;
    for (size_t k = 0; k < sizeof stand_alone / sizeof *stand_alone; k++)
        if (is_same(s, n, stand_alone[k]))
            return true;
    return false;
}

struct mix { size_t digits, lowers, uppers, joints, signs, hex; };      /* joints: -_./:+= */

/* What a byte of a value is: a bit for each member of struct mix, in their order; ENDS: it ends a value that is in no quotes. */
enum { ENDS = 1 << 6 };
static uint8_t class_of[256];

static void classes_init(void)
{
    for (unsigned i = 0; i < 256; i++) {
        char c = (char)i;
        class_of[i] = (uint8_t)(is_digit(c) | (c >= 'a' && c <= 'z') << 1 | (c >= 'A' && c <= 'Z') << 2
                                | is_one_of(c, "-_./:+=") << 3 | is_one_of(c, "!@#$%^&*?~|;,`'\"\\") << 4
                                | (is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f')) << 5);
        class_of[i] |= i <= ' ' || is_one_of(c, "'\"`;,)]}<>&|") ? ENDS : 0;
    }
}

static struct mix mix_of(const char *s, size_t n)
{
    struct mix m = { 0 };
    for (size_t i = 0; i < n; i++) {
        unsigned class = class_of[(unsigned char)s[i]];
        m.digits += class & 1;
        m.lowers += class >> 1 & 1;
        m.uppers += class >> 2 & 1;
        m.joints += class >> 3 & 1;
        m.signs += class >> 4 & 1;
        m.hex += class >> 5 & 1;
    }
    return m;
}

bool vs_secret_is_random(const char *s, size_t n)
{
    struct mix m = mix_of(s, n);
    if (!vs_random_is(s, n) || m.digits == n)
        return false;
    return m.digits > 0 || n >= 16;
}

/* ---- names ---- */

/* What names say: P a password, S a secret, V who gives out keys. Small letters and digits alone. */
static struct words name_words = { {
    ['a' - 'a'] = "SaccesskeySaccountkeyVadafruitSadminkeyVadobeSaeskeyVairtableValgoliaValibabaValiyunVamplitudeVanthropic"
                  "SapikeySapipassVappcenterSappkeySapplicationkeyVartifactoryVasanaVassemblyaiVatlassianVauth0Sauthkey"
                  "SauthorizationSauthpassVawsVazure",
    ['b' - 'a'] = "VbeamerSbearerVbinanceVbitbucketVbitlyVbittrexVblynkVbraintreeVbugsnagVbuildkite",
    ['c' - 'a'] = "VcircleciVclearbitVclickupSclientkeyVcloudflareVcloudinaryVcodacyVcodeclimateVcodecovVcohereVcoinbase"
                  "VconfluentSconsumerkeyVcontentfulPcontrasenaVcoverallsScredentialScrumbScryptkey",
    ['d' - 'a'] = "VdatabricksVdatadogVdeepgramVdeepseekSdeploykeySdeveloperkeySdevicekeyVdigitaloceanVdiscordVdockerVdroneci"
                  "VdropboxVdynatrace",
    ['e' - 'a'] = "VelasticVelevenlabsSencryptionkeyVetherscanVetsy",
    ['f' - 'a'] = "VfacebookVfastlyVfbapiVfigmaVfinicityVfinnhubVfirebaseVflickrVflutterwaveVfoursquareVfreshbooksVfreshdesk",
    ['g' - 'a'] = "VgithubVgitlabVgitterVgocardlessVgoogleVgrafanaVgroq",
    ['h' - 'a'] = "VherokuShmackeyVhubspotVhuggingface",
    ['i' - 'a'] = "VinfuraSinsertkeySintegrationkeyVintercomVipstack",
    ['j' - 'a'] = "VjenkinsVjfrogVjiraSjwtkey",
    ['k' - 'a'] = "PkennwortSkeybase64VkrakenVkucoin",
    ['l' - 'a'] = "VlaunchdarklySlicensekeyVlinearVlinkedinVlinodeVlobVlogglyVlooker",
    ['m' - 'a'] = "VmailchimpVmailgunVmailjetVmandrillVmapboxSmasterkeyVmattermostVmaxmindVmessagebirdVmistralVmixpanel"
                  "Vmongodb",
    ['n' - 'a'] = "VnasaVnetlifyVnewrelicVngrokVnotionVnpmVnugetVnytimes",
    ['o' - 'a'] = "VoktaVonesignalVopenaiVopenweatherSoperatorunsealVopsgenie",
    ['p' - 'a'] = "VpagerdutyVpapertrailVparticlePpasscodePpassphrasePpasswdPpasswordPpasswortVpaypalVpaystackVperplexity"
                  "VpineconeVplaidVplanetscaleVpolygonVpostmarkSpresharedkeyVprivateaiSprivatekeyVpusherPpwdVpypi",
    ['q' - 'a'] = "Squerykey",
    ['r' - 'a'] = "VrapidapiVrazorpaySreadkeyVreplicateVrollbarSrootkeyVrubygems",
    ['s' - 'a'] = "VsalesforceVsauceSsecretVsegmentVsendbirdVsendgridVsentrySserverkeySservicekeySsessionkeySsharedkeyVshippo"
                  "VshodanVshopifyVsidekiqSsigningkeyVslackVsnykVsonarVsplunkVspotifyVsquareVstabilitySstoragekeySstreamkey"
                  "VstripeSsubscriptionkeyVsumologicVsupabase",
    ['t' - 'a'] = "VtelegramVthingsboardStokenVtravisVtrelloVtwilioVtwitchVtwitterVtypeform",
    ['u' - 'a'] = "SunsealkeyVunsplashSuserkey",
    ['v' - 'a'] = "VvaultVvercelVvirustotalVvultr",
    ['w' - 'a'] = "VwakatimeVwandbVweatherSwebhookkeySwritekey",
    ['y' - 'a'] = "Vyandex",
    ['z' - 'a'] = "VzendeskVzoom",
}, { 0 }, { 0 }, { { 0 } } };

/* N, anywhere in the last word of a name: what it names is known to all. */
static struct words public_words = { {
    ['a' - 'a'] = "Navatar",
    ['b' - 'a'] = "NblobNbuild_idNbuildid",
    ['c' - 'a'] = "Ncache-keyNcache_keyNcachekeyNcertificateNchecksumNcommitNcontent_hashNcsrf",
    ['d' - 'a'] = "Ndigest",
    ['e' - 'a'] = "Netag",
    ['f' - 'a'] = "NfingerprintNforeign_keyNforeignkey",
    ['g' - 'a'] = "NgitlensNguid",
    ['h' - 'a'] = "NhashedNhotkey",
    ['i' - 'a'] = "Ni18nNiconNidempotencyNimageNintegrity",
    ['k' - 'a'] = "Nkey-idNkey_idNkeyboardNkeyidNkeywordNkid",
    ['l' - 'a'] = "Nlogo",
    ['m' - 'a'] = "Nmd5Nmonkey",
    ['n' - 'a'] = "Nnonce",
    ['p' - 'a'] = "Npartition_keyNpartitionkeyNpk_NplaceholderNprimary_keyNprimarykeyNpubkeyNpublicNpublish",
    ['r' - 'a'] = "Nrecaptcha_siteNresolvedNrevision",
    ['s' - 'a'] = "Nsha1Nsha256Nsha384Nsha512NsignatureNsigning_certificateNsite_keyNsitekeyNsnapshotNsortkey",
    ['t' - 'a'] = "NthumbnailNthumbprintNtoken_typeNtoken_urlNtokenizerNtokentypeNtokenuriNtokenurlNtranslationNturkey",
    ['v' - 'a'] = "Nversion",
    ['x' - 'a'] = "Nxsrf",
}, { 0 }, { 0 }, { { 0 } } };

/* At its end: not the secret itself. */
static const char *const asides[] = {
    "name", "file", "path", "url", "uri", "type", "count", "length", "size", "field", "label", "hint", "regex", "pattern",
    "policy", "expiry", "expires", "expiration", "ttl", "error", "message", "help", "title", "algorithm", "header", "prefix",
    "hash", "sum", "uuid", "arn", "index", "format", "limit", "ref", "endpoint", "enabled", "timeout", "class", "role", "env",
    "digest", "ids", "expiresat", "createdat",
};

/* Before main, so that no value has to ask. */
__attribute__((constructor)) static void start(void)
{
    words_init(&stand_ins);
    words_init(&name_words);
    words_init(&public_words);
    classes_init();
}

struct name {
    char all[NAME_MAX_BYTES];            /* small letters and digits of up to three words */
    char last[NAME_MAX_BYTES];           /* the last word, small */
    size_t n_all, n_last;
};

/* The name that ends before text[j]. */
static bool name_before(const char *text, size_t j, struct name *ret)
{
    size_t k = j, spaces = 0, last = SIZE_MAX;
    while (k > 0 && j - k < NAME_MAX_BYTES - 1) {
        char c = text[k - 1];
        if (c == ' ' && k < j && k >= 2 && is_alnum(text[k - 2]) && spaces < 2) {
            spaces++;
            last = last == SIZE_MAX ? k : last;
        } else if (!is_alnum(c) && !is_one_of(c, "_-.$"))
            break;
        k--;
    }
    last = last == SIZE_MAX ? k : last;
    ret->n_all = ret->n_last = 0;
    for (size_t i = k; i < j; i++)
        if (is_alnum(text[i]))
            ret->all[ret->n_all++] = lower(text[i]);
    for (size_t i = last; i < j; i++)
        ret->last[ret->n_last++] = lower(text[i]);
    return ret->n_all >= 2;
}

static bool ends(const char *s, size_t n, const char *with)
{
    size_t length = strlen(with);
    return n >= length && memcmp(s + n - length, with, length) == 0;
}

static bool is_aside(const struct name *name)
{
    for (size_t i = 0; i < sizeof asides / sizeof *asides; i++)
        if (ends(name->all, name->n_all, asides[i]))
            return true;
    return false;
}

static bool judge_name(const struct name *name, struct vs_secret_place *ret)
{
    const char *s = name->all;
    size_t n = name->n_all;
    ret->is_set = ret->is_set && (ends(s, n, "password") || ends(s, n, "passwd") || ends(s, n, "pass") || ends(s, n, "pwd"));
    bool is_key = ends(s, n, "key") || ends(s, n, "keys") || ends(s, n, "auth") || ends(s, n, "api") || contains(s, n, "key");
    unsigned words = words_in(s, n, &name_words);
    if (words & HAS('P') || ends(s, n, "pass")) {
        ret->why = VS_WHY_PASSWORD, ret->rule = "password", ret->score = 700;
    } else if (words & HAS('S') || ends(s, n, "pat") || ends(s, n, "psk") || ends(s, n, "jwt")) {
        ret->why = VS_WHY_SECRET, ret->rule = "generic-secret", ret->score = 700;
    } else if (words & HAS('V')) {
        ret->why = is_key ? VS_WHY_SECRET : VS_WHY_VENDOR, ret->rule = "vendor-secret", ret->score = is_key ? 700 : 600;
    } else if (is_key) {
        ret->why = VS_WHY_KEY, ret->rule = "generic-key", ret->score = 500;
    } else
        return false;
    return !words_in(name->last, name->n_last, &public_words) && !is_aside(name);
}

/* ---- places ---- */

static size_t back_over(const char *text, size_t j, const char *set, size_t most)
{
    for (size_t k = 0; k < most && j > 0 && is_one_of(text[j - 1], set); k++)
        j--;
    return j;
}

static bool named(const char *text, size_t j, struct vs_secret_place *ret)
{
    struct name name;
    j = back_over(text, j, " \t", GAP_MAX);
    j = back_over(text, j, "'\"`])\\", 4);
    if (!name_before(text, j, &name))
        return false;
    if (is_same(name.last, name.n_last, "value")) {                    /* <add key="ApiKey" value="..."/> */
        size_t k = j - name.n_last, least = k > 80 ? k - 80 : 0;
        while (k > least && !is_one_of(text[k - 1], "<>\n=;"))
            k--;
        return k > least && text[k - 1] == '=' && (k = back_over(text, j - name.n_last, " \t", GAP_MAX)) > 0
               && is_one_of(text[k - 1], "'\"") && name_before(text, k - 1, &name) && judge_name(&name, ret);
    }
    return judge_name(&name, ret);
}

/* scheme://user: before text[j]. */
static bool is_url_user(const char *text, size_t j)
{
    size_t k = j - 1;                    /* the colon */
    while (k > 0 && j - k < 80 && (is_alnum(text[k - 1]) || is_one_of(text[k - 1], "_-.+%~$!*")))
        k--;
    return k >= 4 && text[k - 1] == '/' && text[k - 2] == '/' && text[k - 3] == ':' && is_alnum(text[k - 4]);
}

/* -u user: or --user user: */
static bool is_user_option(const char *text, size_t j)
{
    size_t k = j - 1;
    while (k > 0 && j - k < 80 && (is_alnum(text[k - 1]) || is_one_of(text[k - 1], "_-.@+")))
        k--;
    k = back_over(text, back_over(text, k, "'\"", 1), " =", 2);
    return (k >= 3 && memcmp(text + k - 2, "-u", 2) == 0 && is_one_of(text[k - 3], " \t\n"))
           || (k >= 6 && memcmp(text + k - 6, "--user", 6) == 0);
}

static bool set(struct vs_secret_place *ret, enum vs_secret_why why, const char *rule, unsigned score)
{
    ret->why = why;
    ret->rule = rule;
    ret->score = score;
    return true;
}

static bool has_before(const char *text, size_t j, const char *what)
{
    size_t least = j > 100 ? j - 100 : 0;
    return contains(text + least, j - least, what);
}

/* psexec -p X, sshpass -p X, docker login -p X */
static bool is_password_option(const char *text, size_t j)
{
    return has_before(text, j, "psexec") || has_before(text, j, "sshpass") || has_before(text, j, "login");
}

/* A word, not a sign, stands before: the password is X, Bearer X, --token X. */
static bool behind_word(const char *text, size_t j, struct vs_secret_place *ret)
{
    size_t k = j;
    while (k > 0 && j - k < 40 && (is_alnum(text[k - 1]) || text[k - 1] == '-' || text[k - 1] == '_'))
        k--;
    const char *word = text + k;
    size_t n = j - k;
    static const char *const firsts[] = { [2] = "ita-", [4] = "s", [5] = "bt", [6] = "bpua", [8] = "p" };
    bool is_known = n < sizeof firsts / sizeof *firsts && firsts[n] && is_one_of(lower(word[0]), firsts[n]);
    if (n == 0 || (!is_known && word[0] != '-'))
        return false;
    if (n == 6 && is_same(word, n, "bearer"))
        return set(ret, VS_WHY_BEARER, "bearer-token", 800);
    if (n == 5 && is_same(word, n, "basic"))
        return set(ret, VS_WHY_BASIC, "basic-auth", 900);
    if (n == 4 && is_same(word, n, "ssws"))
        return set(ret, VS_WHY_BEARER, "okta-token", 900);
    if (n == 2 && (is_same(word, n, "is") || is_same(word, n, "to") || is_same(word, n, "as"))) {
        struct name name;
        size_t end = back_over(text, k, " ", 1);
        ret->is_set = ret->quote;
        return end < k && name_before(text, end, &name) && judge_name(&name, ret) && ret->why <= VS_WHY_SECRET;
    }
    if (n > 2 && word[0] == '-') {
        struct name name;
        return name_before(text, j, &name) && judge_name(&name, ret);
    }
    if (n == 2 && memcmp(word, "-p", 2) == 0) {
        ret->is_set = true;
        return is_password_option(text, k) && set(ret, VS_WHY_PASSWORD, "password", 700);
    }
    if (is_same(word, n, "password") || is_same(word, n, "passwd"))         /* netrc: machine h login u password p */
        return (ret->quote || has_before(text, k, "login ") || has_before(text, k, "machine "))
               && set(ret, VS_WHY_PASSWORD, "password", 700);
    if (is_same(word, n, "token") || is_same(word, n, "unseal") || is_same(word, n, "apikey"))
        return set(ret, VS_WHY_BEARER, "generic-secret", 700);
    return false;
}

/* <password>X</password> */
static bool in_element(const char *text, size_t j, struct vs_secret_place *ret)
{
    struct name name;
    size_t end = j - 1, k = end;
    while (k > 0 && end - k < NAME_MAX_BYTES && (is_alnum(text[k - 1]) || is_one_of(text[k - 1], "_-.:")))
        k--;
    return k > 0 && k < end && text[k - 1] == '<' && name_before(text, end, &name) && judge_name(&name, ret);
}

bool vs_secret_place(const char *text, size_t i, struct vs_secret_place *ret)
{
    size_t j = i;
    ret->quote = 0;
    ret->is_set = false;
    if (i >= 2 && text[i - 1] == ' ' && is_letter(text[i - 2]))        /* a word behind a word */
        return behind_word(text, i - 1, ret);
    if (j > 0 && is_one_of(text[j - 1], "'\"`")) {
        ret->quote = text[--j];
        j = back_over(text, j, "\\'\"", 1);
    }
    size_t before = j;
    j = back_over(text, j, " \t", GAP_MAX);
    if (j > 0 && ret->quote && is_one_of(text[j - 1], "[{"))
        j = back_over(text, j - 1, " \t", GAP_MAX);
    if (j == 0)
        return false;
    switch (text[j - 1]) {
    case ':':
        if (j == i && is_url_user(text, j))
            return set(ret, VS_WHY_URL, "url-password", 900);
        if (j == i && is_user_option(text, j))
            return set(ret, VS_WHY_USER, "user-password", 700);
        return named(text, back_over(text, j, ":", 2), ret);
    case '=':
        ret->is_set = ret->quote || j == i;
        return named(text, back_over(text, j, "=:!?~+|<", 3), ret);
    case '>':
        ret->is_set = ret->quote;
        if (j >= 2 && is_one_of(text[j - 2], "=-"))
            return named(text, j - 2, ret);
        return before == j && in_element(text, j, ret);
    case ',':
        if (ret->quote && has_before(text, j, "credential("))
            return set(ret, VS_WHY_PASSWORD, "password", 700);
        return ret->quote && named(text, j - 1, ret);
    case '(':
        return ret->quote && named(text, j - 1, ret);
    default:
        return before > j && is_letter(text[j - 1]) && behind_word(text, j, ret);
    }
}

/* ---- values ---- */

static bool is_hex_or_uuid(const struct mix *m, const char *s, size_t n)
{
    return m->hex == n || (n == 36 && m->hex == 32 && s[8] == '-' && s[13] == '-');
}

/* What is public wherever it stands: images, certificates, hashes with their name, links. */
static bool is_known_public(const char *s, size_t n)
{
    static const char *const heads[] = {
        "sha1-", "sha256-", "sha384-", "sha512-", "sha256:", "sha512:", "md5:", "data:", "http:", "https:", "urn:", "arn:",
        "ssh-", "ecdsa-", "iVBORw0", "/9j/", "R0lGOD", "PHN2Zy", "UklGR", "MIIB", "MIIC", "MIID", "MIIE", "MIIF", "MIIG",
        "AAAAB3Nza", "AAAAC3Nza", "AAAAE2Vj", "LS0tLS1CRUdJTiBDRVJ", "LS0tLS1CRUdJTiBQVUJ", "age1", "file:", "ftp:", "git@",
        "./", "../", "~/", "npm:", "0x0000",
    };
    for (size_t k = 0; k < sizeof heads / sizeof *heads; k++)
        if (n >= strlen(heads[k]) && memcmp(s, heads[k], strlen(heads[k])) == 0)
            return true;
    return false;
}

/* Words pass for a password where one is surely set: NAME=word, "name" = "word". */
static bool is_password(const char *s, size_t n, const struct mix *m, const struct vs_secret_place *place)
{
    size_t odd = m->digits + m->signs, letters = m->lowers + m->uppers;
    bool is_variable = s[0] == '$' && n > 1 && is_letter(s[1]);
    if (n < 6 || letters == 0 || s[0] == '/' || is_variable || (s[0] == '#' && odd == 1))
        return false;
    if (vs_secret_is_random(s, n))
        return true;
    if (memchr(s, '/', n))
        return false;
    if (odd == 0)
        return place->is_set && m->uppers == 0 && !contains(s, n, "pass") && !ends(s, n, "pwd");
    return place->quote || n >= 8 || m->signs > 0;
}

static bool is_secret(const char *s, size_t n, const struct mix *m, const struct vs_secret_place *place)
{
    if (n < 8)
        return false;
    if (m->signs * 6 > n)
        return place->quote && n >= 16 && m->digits && m->lowers && m->uppers;
    return n >= 16 ? vs_secret_is_random(s, n) : m->digits && m->lowers + m->uppers && vs_secret_is_random(s, n);
}

static bool is_basic(const char *s, size_t n)
{
    char plain[VS_SECRET_VALUE_MAX];
    size_t length = vs_base64_decode(s, n, plain, sizeof plain);
    bool has_colon = false;
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)plain[i] < 32 || plain[i] == 127)
            return false;
        has_colon |= plain[i] == ':';
    }
    return length >= 5 && has_colon;
}

static bool is_of_its_kind(const char *s, size_t n, const struct vs_secret_place *place)
{
    struct mix m = mix_of(s, n);
    bool is_code = m.lowers + m.uppers + m.digits + m.joints + m.signs < n;        /* brackets, spaces, other scripts */
    if (is_known_public(s, n))
        return false;
    switch (place->why) {
    case VS_WHY_URL: return n >= 3;
    case VS_WHY_USER: return is_password(s, n, &m, place);
    case VS_WHY_BASIC: return is_basic(s, n);
    case VS_WHY_BEARER: return n >= 12 && !is_code && m.signs == 0 && m.digits && vs_secret_is_random(s, n);
    case VS_WHY_PASSWORD: return (!is_code || (place->quote && !contains(s, n, " "))) && is_password(s, n, &m, place);
    case VS_WHY_SECRET: return (!is_code || (place->quote && !contains(s, n, " "))) && is_secret(s, n, &m, place);
    case VS_WHY_VENDOR: return !is_code && n >= 16 && m.digits && is_secret(s, n, &m, place);
    default: return !is_code && n >= 20 && m.digits && !is_hex_or_uuid(&m, s, n) && is_secret(s, n, &m, place);
    }
}

static bool judge(const char *s, size_t n, const struct vs_secret_place *place)
{
    bool is_word = place->why == VS_WHY_URL && is_same(s, n, "secret");
    return is_of_its_kind(s, n, place) && (is_word || !vs_secret_is_placeholder(s, n));
}

static bool is_end(char c, const struct vs_secret_place *place)
{
    if (place->why == VS_WHY_URL)
        return c == '@' || c == '/' || (unsigned char)c <= ' ' || is_one_of(c, "'\"`<>");
    if (place->quote)
        return c == place->quote || c == '\n' || c == '\r';
    return class_of[(unsigned char)c] & ENDS;
}

enum vs_secret_answer vs_secret_value(const char *text, size_t n, size_t i, bool whole, const struct vs_secret_place *place,
                                      size_t *ret_end)
{
    const char *s = text + i;
    size_t most = n - i > VS_SECRET_VALUE_MAX ? VS_SECRET_VALUE_MAX : n - i, length = 0;
    while (length < most && !is_end(s[length], place))
        length++;
    *ret_end = i + length;
    if (length == VS_SECRET_VALUE_MAX) {
        struct mix m = mix_of(s, length);
        bool is_plain = m.lowers + m.uppers + m.digits + m.joints + m.signs == length && m.signs < 8;
        return is_plain && place->why <= VS_WHY_BEARER && judge(s, length, place) ? VS_VALUE_LONG : VS_VALUE_NONE;
    }
    if (i + length == n && !whole)
        return VS_VALUE_UNDECIDED;
    if (place->why == VS_WHY_URL && (i + length == n || s[length] != '@'))
        return VS_VALUE_NONE;
    if (!place->quote && place->why != VS_WHY_URL && length && s[length - 1] == '.')
        length--;
    if (place->quote && length && s[length - 1] == '\\')
        length--;
    *ret_end = i + length;
    return length && judge(s, length, place) ? VS_VALUE_FOUND : VS_VALUE_NONE;
}
