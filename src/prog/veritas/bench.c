/* prog/veritas/bench.c - `veritas bench`: the worker measures, this prints. */
#include "prog/veritas/command.h"
#include "prog/veritas/session.h"

#include <math.h>
#include <stdio.h>

static void print_row(const json_t *row)
{
    const json_t *list = json_object_get(row, "tokens_per_second");
    size_t n = json_array_size(list);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += json_number_value(json_array_get(list, i));
    double mean = n ? sum / (double)n : 0;
    for (size_t i = 0; i < n; i++) {
        double d = json_number_value(json_array_get(list, i)) - mean;
        squares += d * d;
    }
    const char *test = json_string_value(json_object_get(row, "test"));
    printf("%-10s %8lld %14.2f %10.2f\n", vs_shown(test).text, (long long)json_integer_value(json_object_get(row, "depth")), mean,
           n > 1 ? sqrt(squares / (double)(n - 1)) : 0);
}

int vs_command_bench(const struct vs_args *args)
{
    static const enum vs_option_id lists[] = { VS_OPT_PP, VS_OPT_TG, VS_OPT_DEPTH, VS_OPT_BATCH };
    struct vs_error err = { 0 };
    struct vs_session s = { 0 };
    json_t *request = json_object(), *result = NULL, *row;
    size_t i;
    /* Naming one kind of test leaves the other out. */
    bool some = vs_args_given(args, VS_OPT_PP) || vs_args_given(args, VS_OPT_TG);
    for (i = 0; i < sizeof lists / sizeof *lists; i++) {
        bool leave = some && i < 2 && !vs_args_given(args, lists[i]);
        json_object_set_new(request, vs_options[lists[i]].key, leave ? json_array() : vs_args_ints(args, lists[i]));
    }
    json_object_set_new(request, "reps", json_integer(vs_args_int(args, VS_OPT_REPS)));
    int rc = vs_session_open(&s, args, vs_args_text(args, VS_OPT_MODEL), VS_SESSION_PRIVATE | VS_SESSION_LOUD, &err);
    if (rc == VS_OK)
        rc = vs_session_call(&s, VS_MSG_BENCH, request, -1, NULL, NULL, &result, &err);
    if (rc == VS_OK && vs_args_given(args, VS_OPT_JSON)) {
        json_object_set_new(result, "model", json_string(s.model));
        vs_answer_json(result, JSON_COMPACT);
    } else if (rc == VS_OK) {
        printf("%-10s %8s %14s %10s\n", "test", "depth", "tokens/s", "+-");
        json_array_foreach(json_object_get(result, "results"), i, row)
            print_row(row);
    }
    json_decref(result);
    json_decref(request);
    vs_session_close(&s);
    return rc == VS_OK ? 0 : vs_fail(&err);
}
