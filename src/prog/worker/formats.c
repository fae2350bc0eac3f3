/* prog/worker/formats.c - see formats.h */
#include "prog/worker/formats.h"

#include "import/llm.h"
#include "tensor/dtype.h"
#include "tokenizer/tokenizer.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 100 };

static const char *type_name(size_t i)          /* the i-th that is computed with */
{
    const struct vs_dtype_info *info;
    for (size_t row = 0; (info = vs_dtype_at(row)) != NULL; row++)
        if (info->computable && !i--)
            return info->name;
    return NULL;
}

static const struct {
    const char *key, *title;
    const char *(*name)(size_t i);
} lists[] = {
    { "architectures", "architectures (general.architecture)", vs_llm_architecture },
    { "types", "types of weights", type_name },
    { "tokenizers", "tokenizers (tokenizer.ggml.model)", vs_tokenizer_model_name },
    { "pre", "rules by which a gpt2 tokenizer cuts text (tokenizer.ggml.pre)", vs_tokenizer_pre_name },
};
enum { N_LISTS = sizeof lists / sizeof *lists };

static void print_text(void)
{
    for (size_t k = 0; k < N_LISTS; k++) {
        size_t column = COLUMNS;
        printf("%s%s:", k ? "\n" : "", lists[k].title);
        for (size_t i = 0; lists[k].name(i); i++) {
            const char *name = lists[k].name(i);
            if (column + strlen(name) + 1 > COLUMNS)
                column = (size_t)printf("\n  %s", name) - 1;
            else
                column += (size_t)printf(" %s", name);
        }
        printf("\n");
    }
}

static void print_json(void)
{
    json_t *all = json_object();
    for (size_t k = 0; k < N_LISTS; k++) {
        json_t *list = json_array();
        for (size_t i = 0; lists[k].name(i); i++)
            json_array_append_new(list, json_string(lists[k].name(i)));
        json_object_set_new(all, lists[k].key, list);
    }
    json_dumpf(all, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(all);
}

int vs_formats(int argc, char *const *argv)
{
    if (argc > 2 && strcmp(argv[2], "--json") == 0)
        print_json();
    else
        print_text();
    return fflush(stdout) == 0 ? 0 : 1;
}
