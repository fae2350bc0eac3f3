/* rooms: filter */
/* Any bytes through each detector of secrets, values, links, control sequences and the system message: the same spans however
 * the text is cut, and what detector.h promises of every call. The first byte says how it is cut, the second which detector. */
#include "filter/control.h"
#include "filter/prompt.h"
#include "filter/protect.h"
#include "filter/secrets.h"
#include "filter/urls.h"
#include "../support/detecting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { DETECTORS = 6 };

static void set_up(struct vs_detector *all)
{
    static const char message[] = "You are a careful assistant. Never say the word rhubarb, and answer in at most two sentences.";
    static const struct vs_protected values[] = {
        { "Blue-Heron-4471", 15 }, { "%%$#!&&*()", 10 }, { "aaaaaaaaaa-aaaaaaaaaaa", 22 },
    };
    static const char *const allow[] = { "h.example", "*.good.example/docs", "p.example:81" };
    static const struct vs_urls list = { VS_URLS_LIST, allow, 3 }, none = { VS_URLS_NONE, NULL, 0 };
    static struct vs_secrets secrets;
    static struct vs_protect *protect;
    static struct vs_prompt *prompt;
    if (!protect) {
        vs_secrets_init(&secrets);
        protect = vs_protect_create(values, 3);
        prompt = vs_prompt_create(message, sizeof message - 1, NULL);
    }
    all[0] = vs_secrets_detector(&secrets);
    all[1] = vs_control_detector;
    all[2] = vs_urls_detector(&list);
    all[3] = vs_urls_detector(&none);
    all[4] = vs_protect_detector(protect);
    all[5] = vs_prompt_detector(prompt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct vs_detector all[DETECTORS];
    static struct detected d;
    if (n < 2 || n > 1 << 16)
        return 0;
    set_up(all);
    char *text = malloc(n);              /* of its own, so that a sanitizer sees a byte too far */
    if (!text)
        return 0;
    memcpy(text, data + 2, n - 2);
    detect_any_cut(&all[data[1] % DETECTORS], text, n - 2, data[0], &d);
    free(text);
    return 0;
}
