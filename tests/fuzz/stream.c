/* rooms: filter unicode base */
/* A text through the stream engine, whole and cut: two bytes of options and cuts, then the text. See support/stream.h. */
#include "../support/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    struct vs_stream_config config = { .detectors = toy_list, .n_detectors = N_TOYS, .json = data[0] & 1,
                                       .style = (enum vs_redact_style)((data[0] >> 1) % 3) };
    memcpy(config.action, toy_action, sizeof toy_action);
    for (int k = 0; k < VS_N_FOUND; k++)
        if (k != VS_FOUND_PROTECTED)
            config.action[k] = (enum vs_stream_action)((toy_action[k] + (data[0] >> 3)) % 3);
    if (!stream_cut_is_whole(&config, (const char *)data + 2, n - 2, 1) ||
        !stream_cut_is_whole(&config, (const char *)data + 2, n - 2, 2 + data[1]))
        abort();
    return 0;
}
