/* rooms: filter unicode base */
/* A text through the stream with the detector of personal data, whole and cut: a byte of options, one of cuts, then the text. */
#include "../support/stream.h"

#include "filter/pii.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct vs_pii_state state;
    if (n < 2)
        return 0;
    if (!state.types)
        vs_pii_init(&state, VS_PII_BIT(VS_N_PII) - 1);
    struct vs_detector detector = vs_pii_detector(&state);
    const struct vs_detector *const list[] = { &detector };
    struct vs_stream_config config = { .detectors = list, .n_detectors = 1, .json = data[0] & 1,
                                       .style = (enum vs_redact_style)((data[0] >> 1) % 3),
                                       .action = { [VS_FOUND_PII] = (enum vs_stream_action)((data[0] >> 4) % 3) } };
    if (!stream_cut_is_whole(&config, (const char *)data + 2, n - 2, 1 + data[1]))
        abort();
    return 0;
}
