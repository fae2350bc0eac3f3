/* rooms: filter unicode base */
/* Views of any bytes: each byte of a view came from somewhere in the block. */
#include "base/status.h"
#include "filter/views.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct vs_views views;
    if (n > VS_VIEWS_BLOCK || vs_views_make(&views, (const char *)data, n, NULL) != VS_OK)
        return 0;
    for (unsigned i = 0; i < views.n; i++)
        for (size_t k = 0; k < views.view[i].text.n; k++)
            if (views.view[i].from[k] > views.view[i].to[k] || views.view[i].to[k] > n
                || views.view[i].step[k] >= VS_N_READING_STEPS)
                abort();
    return 0;
}
