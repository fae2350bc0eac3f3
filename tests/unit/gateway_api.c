/* rooms: ipc base */
/* What each HTTP API makes of a request, and of what the daemon says: JSON in, our requests out; events in, bytes out. */
#include "ipc/json.h"
#include "ipc/message.h"
#include "prog/gateway/api_answer.h"
#include "prog/gateway/api_routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *no_header(const struct gw_http *http, const char *name)
{
    (void)http;
    (void)name;
    return NULL;
}

struct talk {
    struct gw_call call;
    struct gw_http http;
    struct gw_error err;
    struct vs_buf out;
    int rc;
};

/* body in single quotes instead of double ones, so that it can be read here. */
static json_t *json_of(const char *text)
{
    struct vs_buf b = { 0 };
    struct vs_error err;
    vs_buf_str(&b, text);
    for (size_t i = 0; i < b.n; i++)
        b.data[i] = b.data[i] == '\'' ? '"' : b.data[i];
    json_t *v = vs_json_parse(b.data, b.n, &err);
    if (!v)
        fail_msg("%s: %s", text, err.text);
    vs_buf_clear(&b);
    return v;
}

static void ask(struct talk *t, const struct gw_api *api, const char *body)
{
    *t = (struct talk){ .call = { .api = api, .id = "id", .created = 1700000000 } };
    t->http = (struct gw_http){ .method = "POST", .path = "/", .query = "", .rest = "", .header = no_header,
                                .body = body ? json_of(body) : NULL };
    t->rc = api->begin(&t->call, &t->http, &t->err);
}

static void end(struct talk *t)
{
    if (t->call.api->clear)
        t->call.api->clear(&t->call);
    for (size_t i = 0; i < t->call.n_asks; i++)
        json_decref(t->call.asks[i].request);
    free(t->call.asks);
    vs_buf_clear(&t->call.headers);
    json_decref(t->call.names);
    vs_buf_clear(&t->out);
    json_decref(t->http.body);
}

static void same_json(const json_t *v, const char *wanted)
{
    json_t *w = json_of(wanted);
    char *a = json_dumps(v, JSON_COMPACT), *b = json_dumps(w, JSON_COMPACT);
    if (!json_equal((json_t *)(uintptr_t)v, w))
        fail_msg("\n%s\nis not\n%s", a, b);
    free(a);
    free(b);
    json_decref(w);
}

/* A request becomes this request of ours. */
static void asks_for(const struct gw_api *api, const char *body, uint16_t type, const char *wanted)
{
    struct talk t;
    ask(&t, api, body);
    if (t.rc != VS_OK)
        fail_msg("%s: %s", body, t.err.message);
    assert_int_equal(t.call.n_asks, 1);
    assert_int_equal(t.call.asks[0].type, type);
    same_json(t.call.asks[0].request, wanted);
    end(&t);
}

static void refused(const struct gw_api *api, const char *body, int status, const char *param, const char *words)
{
    struct talk t;
    ask(&t, api, body);
    if (t.rc == VS_OK)
        fail_msg("%s: was taken", body);
    if (t.err.status != status || strcmp(t.err.param, param) != 0 || !strstr(t.err.message, words))
        fail_msg("%s: %d %s: %s", body, t.err.status, t.err.param, t.err.message);
    end(&t);
}

static void say(struct talk *t, uint32_t index, uint32_t part, uint32_t id, const char *text, const char *extra)
{
    json_t *json = extra ? json_of(extra) : NULL;
    struct gw_token token = { .index = index, .part = part, .id = id, .text = text, .n = strlen(text), .extra = json };
    t->call.api->token(&t->call, &token, &t->out);
    json_decref(json);
}

static void finish(struct talk *t, size_t ask_number, const char *result)
{
    json_t *v = json_of(result);
    t->call.api->done(&t->call, ask_number, v, &t->out);
    json_decref(v);
    assert_int_equal(t->out.status, VS_OK);
}

/* What was sent, with double quotes as single ones. */
static void sent(struct talk *t, const char *wanted)
{
    for (size_t i = 0; i < t->out.n; i++)
        t->out.data[i] = t->out.data[i] == '"' ? '\'' : t->out.data[i];
    assert_string_equal(t->out.data ? t->out.data : "", wanted);
    vs_buf_reset(&t->out);
}

#define RESULT "{'finish_reason':'stop','model_digest':'0123456789abcdef0123','usage':{'prompt_tokens':9,'completion_tokens':4," \
               "'cached_tokens':3,'drafted_tokens':5,'accepted_tokens':2}}"
#define CUT "{'finish_reason':'length','usage':{'prompt_tokens':9,'completion_tokens':4}}"
#define HI "'model':'m','messages':[{'role':'user','content':'Hi'}]"

/* ---- requests ---- */

static void test_chat_requests(void **state)
{
    (void)state;
    const struct gw_api *a = &gw_api_chat;
    asks_for(a, "{" HI "}", VS_MSG_CHAT, "{" HI ",'parts':true}");
    asks_for(a, "{" HI ",'temperature':0.5,'top_p':1,'top_k':-1,'min_p':0,'presence_penalty':1,'frequency_penalty':-1,'seed':7,"
             "'logit_bias':{'5':-100,'6':2.5},'stop':'x','max_tokens':4,'n':2,'logprobs':true,"
             "'top_logprobs':2,'user':'u','metadata':{},'service_tier':'flex','store':false,'tools':null}", VS_MSG_CHAT,
             "{" HI ",'parts':true,'sampling':{'temperature':0.5,'top_p':1,'top_k':0,'min_p':0,'presence_penalty':1,"
             "'frequency_penalty':-1,'seed':7,'logit_bias':[[5,'-inf'],[6,2.5]]},'stop':['x'],'max_tokens':4,'n':2,'logprobs':2,"
             "'priority':'low'}");
    asks_for(a, "{'model':'m','messages':[{'role':'developer','content':[{'type':'text','text':'a'},{'type':'refusal',"
             "'refusal':'b'}]},"
             "{'role':'assistant','content':null,'refusal':null,'annotations':[],'tool_calls':[{'id':'1'}],'reasoning':'r'},"
             "{'role':'assistant','content':null},{'role':'tool','tool_call_id':'1','content':'c'}]}", VS_MSG_CHAT,
             "{'model':'m','parts':true,'messages':[{'role':'system','content':[{'type':'text','text':'a'},{'type':'text',"
             "'text':'b'}]},"
             "{'role':'assistant','tool_calls':[{'id':'1'}],'reasoning_content':'r'},{'role':'assistant','content':''},"
             "{'role':'tool','tool_call_id':'1','content':'c'}]}");
    asks_for(a, "{" HI ",'tools':[{'type':'function','function':{'name':'f','strict':true}}],'tool_choice':'required',"
             "'parallel_tool_calls':false,'reasoning_effort':'low','chat_template_kwargs':{'x':1,'enable_thinking':false}"
             "}", VS_MSG_CHAT,
             "{" HI ",'parts':true,'strict_calls':true,'tools':[{'type':'function','function':{'name':'f'}}],"
             "'tool_choice':'required','parallel_tool_calls':false,"
             "'template_args':{'x':1,'enable_thinking':false,'reasoning_effort':'low'}}");
    asks_for(a, "{" HI ",'response_format':{'type':'json_schema','json_schema':{'name':'n','schema':{'type':'object'}}}}",
             VS_MSG_CHAT,
             "{" HI ",'parts':true,'constraint':{'json_schema':{'type':'object'}}}");
    asks_for(a, "{" HI ",'response_format':{'type':'json_object'}}", VS_MSG_CHAT, "{" HI ",'parts':true,"
             "'constraint':{'json_object':true}}");
    asks_for(a, "{" HI ",'response_format':{'type':'text'},'structured_outputs':{'choice':['a','b']}}", VS_MSG_CHAT,
             "{" HI ",'parts':true,'constraint':{'choice':['a','b']}}");
    asks_for(&gw_api_chat_tokens, "{" HI ",'temperature':0.5,'stream':true,'priority':'low'}", VS_MSG_TOKENIZE,
             "{" HI ",'parts':true}");

    refused(a, "{" HI ",'n':0}", 400, "n", "a whole number from 1 to 16 is needed, this is 0");
    refused(a, "{" HI ",'temperature':'hot'}", 400, "temperature", "a number from 0 to 100 is needed, this is the string 'hot'");
    refused(a, "{" HI ",'stop':['']}", 400, "stop", "entry 0");
    refused(a, "{" HI ",'stop':3}", 400, "stop", "a string or a list");
    refused(a, "{" HI ",'logit_bias':{'x':1}}", 400, "logit_bias", "token ids");
    refused(a, "{" HI ",'logit_bias':{'1':2,'01':1}}", 400, "logit_bias", "token ids");
    refused(a, "{" HI ",'top_logprobs':3}", 400, "top_logprobs", "logprobs must be true");
    refused(a, "{" HI ",'functions':[]}", 400, "functions", "use tools");
    refused(a, "{" HI ",'structured_outputs':{}}", 400, "structured_outputs", "is needed");
    refused(a, "{" HI ",'structured_outputs':{'regex':null,'other':1}}", 400, "structured_outputs", "is needed");
    refused(a, "{" HI ",'tools':[{'type':'function','function':{'name':'f'}},{'type':'function','function':{'name':'f'}}]}", 400,
            "tools[1].function.name", "another tool");
    refused(a, "{" HI ",'guided_json':{}}", 400, "guided_json", "use structured_outputs");
    refused(a, "{" HI ",'modalities':['audio']}", 400, "modalities", "text");
    refused(a, "{" HI ",'tool_choice':'required'}", 400, "tool_choice", "no tools");
    asks_for(a, "{" HI ",'tools':[{'type':'function','function':{'name':'f'}}],'response_format':{'type':'json_object'}}",
             VS_MSG_CHAT, "{" HI ",'parts':true,'tools':[{'type':'function','function':{'name':'f'}}],"
             "'constraint':{'json_object':true,'or_calls':true}}");
    asks_for(a, "{" HI ",'tools':[{'type':'function','function':{'name':'f'}}],'response_format':{'type':'json_object'},"
             "'tool_choice':'required'}", VS_MSG_CHAT,
             "{" HI ",'parts':true,'tools':[{'type':'function','function':{'name':'f'}}],'tool_choice':'required'}");
    asks_for(a, "{" HI ",'tools':[{'type':'function','function':{'name':'f'}}],'structured_outputs':{'regex':'a'}}", VS_MSG_CHAT,
             "{" HI ",'parts':true,'tools':[{'type':'function','function':{'name':'f'}}],'constraint':{'regex':'a'}}");
    refused(a, "{" HI ",'tools':[{'type':7}]}", 400, "tools[0].type", "a string");
    refused(a, "{" HI ",'tools':[{'type':'web_search'}],'tool_choice':'required'}", 400, "tool_choice", "no tools");
    refused(a, "{" HI ",'tools':[{'type':'function','function':{'name':'a\\nb'}}]}", 400, "tools[0].function.name", "A-Z");
    refused(a, "{" HI ",'grammar':'x','structured_outputs':{'regex':'y'}}", 400, "structured_outputs.regex", "second");
    refused(a, "{" HI ",'response_format':{'type':'json_schema'}}", 400, "response_format.schema", "what is the schema");
    refused(a, "{" HI ",'response_format':{'type':'xml'}}", 400, "response_format.type", "json_schema is needed");
    refused(a, "{'model':'m','messages':[]}", 400, "messages", "at least one");
    refused(a, "{'model':'m'}", 400, "messages", "is needed");
    refused(a, "{'messages':[{'role':'user','content':'x'}]}", 400, "model", "which model");
    refused(a, "{'model':'A/B','messages':[{'role':'user','content':'x'}]}", 404, "model", "no model");
    refused(a, "{'model':'m','messages':[{'role':'user','content':[{'type':'image_url','image_url':{}}]}]}", 400,
            "messages[0].content[0]", "images");
    refused(a, "{'model':'m','messages':[{'content':'x'}]}", 400, "messages[0]", "role");
}

static void test_headers(void **state)
{
    struct talk t;
    (void)state;
    ask(&t, &gw_api_chat, "{" HI ",'bloom':1,'a b\\r\\nx: y':2,'\\u00e9':3,'stream_options':{'z':1}}");
    assert_int_equal(t.rc, VS_OK);
    assert_string_equal(t.call.headers.data, "x-veritas-ignored: bloom, a?b??x:?y, ??, stream_options.z\r\n");
    end(&t);
    ask(&t, &gw_api_chat, "{" HI ",'seed':-1}");
    long long seed;
    assert_int_equal(sscanf(t.call.headers.data, "x-veritas-seed: %lld\r\n", &seed), 1);
    assert_true(seed == json_integer_value(json_object_get(json_object_get(t.call.asks[0].request, "sampling"), "seed")));
    assert_true(seed > 0 && seed < 1ll << 53);
    end(&t);
}

/* What the daemon finds wrong is told by the name that the request had for it. */
static void test_places(void **state)
{
    static const struct { const char *message, *param; } rows[] = {
        { "constraint.choice: entry 0 is not a string", "structured_outputs.choice" },
        { "stop_tokens: number 1", "stop_token_ids" }, { "logit_bias names token 9", "logit_bias" },
        { "max_tokens: the shortest", "max_completion_tokens" }, { "the model has no such template", "" }, { "stop", "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct talk t;
        ask(&t, &gw_api_chat, "{" HI ",'structured_outputs':{'choice':[1]},'stop_token_ids':[1],'logit_bias':{'9':1},"
            "'max_completion_tokens':1}");
        gw_error_of(&t.err, VS_E_INVALID, rows[i].message, 0);
        gw_error_place(&t.call, &t.err);
        assert_string_equal(t.err.param, rows[i].param);
        end(&t);
    }
}

static void test_other_requests(void **state)
{
    (void)state;
    const struct gw_api *a = &gw_api_completions;
    asks_for(a, "{'model':'m','prompt':'x'}", VS_MSG_GENERATE, "{'model':'m','prompt':'x','raw':true,'max_tokens':16}");
    asks_for(a, "{'model':'m','prompt':[1,2],'max_tokens':5,'echo':false,'best_of':1,'suffix':''}", VS_MSG_GENERATE,
             "{'model':'m','tokens':[1,2],'max_tokens':5}");
    refused(a, "{'model':'m','prompt':'x','echo':true}", 400, "echo", "only false");
    refused(a, "{'model':'m','prompt':'x','suffix':'y'}", 400, "suffix", "not supported");
    refused(a, "{'model':'m','prompt':'x','best_of':2}", 400, "best_of", "value of n");
    refused(a, "{'model':'m','prompt':[]}", 400, "prompt", "is needed");
    refused(a, "{'model':'m','prompt':[[]]}", 400, "prompt", "is needed");

    a = &gw_api_messages;
    asks_for(a, "{'model':'m','max_tokens':9,'system':[{'type':'text','text':'s'}],'stop_sequences':['q'],'messages':["
             "{'role':'user','content':'a'},{'role':'assistant','content':[{'type':'thinking','thinking':'t','signature':''},"
             "{'type':'text','text':'b'},{'type':'tool_use','id':'1','name':'f','input':{'x':1}}]},"
             "{'role':'user','content':[{'type':'tool_result','tool_use_id':'1','content':[{'type':'text','text':'r'}]},"
             "{'type':'text','text':'c'}]}],'tools':[{'name':'f','description':'d','input_schema':{'type':'object'}}],"
             "'tool_choice':{'type':'auto','disable_parallel_tool_use':true},'thinking':{'type':'enabled','budget_tokens':1024},"
             "'output_config':{'format':{'type':'json_schema','schema':{'type':'array'}}}}", VS_MSG_CHAT,
             "{'model':'m','max_tokens':9,'stop':['q'],'parts':true,'messages':[{'role':'system','content':'s'},"
             "{'role':'user','content':'a'},{'role':'assistant','content':'b','reasoning_content':'t','tool_calls':["
             "{'id':'1','type':'function','function':{'name':'f','arguments':'{\\u0022x\\u0022:1}'}}]},"
             "{'role':'tool','content':'r','tool_call_id':'1','name':'f'},{'role':'user','content':'c'}],"
             "'tools':[{'type':'function','function':{'name':'f','description':'d','parameters':{'type':'object'}}}],"
             "'tool_choice':'auto','parallel_tool_calls':false,'template_args':{'enable_thinking':true},"
             "'constraint':{'json_schema':{'type':'array'},'or_calls':true}}");
    asks_for(&gw_api_messages_tokens, "{" HI ",'system':'s'}", VS_MSG_TOKENIZE,
             "{'model':'m','messages':[{'role':'system','content':'s'},{'role':'user','content':'Hi'}],'parts':true}");
    refused(a, "{" HI "}", 400, "max_tokens", "is needed");
    refused(a, "{'model':'m','max_tokens':1,'messages':[{'role':'assistant','content':'x'}]}", 400, "messages", "last message");
    refused(a, "{'model':'m','max_tokens':1,'messages':[{'role':'user','content':[{'type':'image'}]}]}", 400,
            "messages.0.content.0",
            "images");

    a = &gw_api_responses;
    asks_for(a, "{'model':'m','input':'Hi','instructions':'s','max_output_tokens':9,'text':{'format':{'type':'json_schema',"
             "'name':'n',"
             "'schema':{'type':'object'}}},'reasoning':{'effort':'none'},'store':false}", VS_MSG_CHAT,
             "{'model':'m','max_tokens':9,'parts':true,'messages':[{'role':'system','content':'s'},{'role':'user','content':'Hi'}],"
             "'constraint':{'json_schema':{'type':'object'}},'template_args':{'enable_thinking':false}}");
    asks_for(a, "{'model':'m','input':[{'role':'user','content':[{'type':'input_text','text':'a'}]},{'type':'reasoning',"
             "'summary':[],"
             "'content':[{'type':'reasoning_text','text':'t'}]},{'type':'function_call','call_id':'1','name':'f','arguments':'{}'},"
             "{'type':'function_call','call_id':'2','name':'g','arguments':'{}'},{'type':'function_call_output','call_id':'1',"
             "'output':'o'},{'type':'message','role':'assistant','content':[{'type':'output_text','text':'b'}]}],"
             "'tools':[{'type':'function','name':'f','parameters':{}}],'tool_choice':{'type':'function','name':'f'}}", VS_MSG_CHAT,
             "{'model':'m','parts':true,'messages':[{'role':'user','content':'a'},{'role':'assistant','reasoning_content':'t',"
             "'tool_calls':["
             "{'id':'1','type':'function','function':{'name':'f','arguments':'{}'}},{'id':'2','type':'function',"
             "'function':{'name':'g',"
             "'arguments':'{}'}}]},{'role':'tool','content':'o','tool_call_id':'1'},{'role':'assistant','content':'b'}],"
             "'tools':[{'type':'function','function':{'name':'f','parameters':{}}}],"
             "'tool_choice':{'type':'function','function':{'name':'f'}}}");
    refused(a, "{'model':'m','input':'x','previous_response_id':'r'}", 400, "previous_response_id", "whole conversation");
    refused(a, "{'model':'m','input':[{'type':'item_reference','id':'x'}]}", 400, "input[0]", "items are");

    asks_for(&gw_api_tokenize, "{'model':'m','content':'x','add_special':false}", VS_MSG_TOKENIZE, "{'model':'m','text':'x',"
             "'no_bos':true}");
    asks_for(&gw_api_template, "{" HI "}", VS_MSG_TOKENIZE, "{" HI ",'parts':true,'render':true}");
    refused(&gw_api_tokenize, "{'model':'m'}", 400, "prompt", "is needed");
    asks_for(&gw_api_detokenize, "{'model':'m','tokens':[1]}", VS_MSG_DETOKENIZE, "{'model':'m','tokens':[1]}");
    asks_for(&gw_api_embeddings, "{'model':'m','input':'x','encoding_format':'base64','dimensions':4,'user':'u'}", VS_MSG_EMBED,
             "{'model':'m','input':['x'],'dimensions':4}");
    asks_for(&gw_api_embeddings, "{'model':'m','input':['x','y']}", VS_MSG_EMBED, "{'model':'m','input':['x','y']}");
    asks_for(&gw_api_embeddings, "{'model':'m','input':[1,2]}", VS_MSG_EMBED, "{'model':'m','tokens':[[1,2]]}");
    asks_for(&gw_api_embeddings, "{'model':'m','input':[[1],[2]]}", VS_MSG_EMBED, "{'model':'m','tokens':[[1],[2]]}");
    refused(&gw_api_embeddings, "{'model':'m','input':[]}", 400, "input", "empty");
    refused(&gw_api_embeddings, "{'model':'m','input':{}}", 400, "input", "is needed");
    refused(&gw_api_embeddings, "{'model':'m'}", 400, "input", "is needed");
    refused(&gw_api_embeddings, "{'model':'m','input':'x','encoding_format':'int8'}", 400, "encoding_format", "float or base64");
    refused(&gw_api_embeddings, "{'model':'m','input':'x','dimensions':0}", 400, "dimensions", "from 1");
    asks_for(&gw_api_rerank, "{'model':'m','query':'q','documents':['a',{'text':'b'}],'top_n':1}", VS_MSG_RERANK,
             "{'model':'m','query':'q','documents':['a',{'text':'b'}]}");
    refused(&gw_api_rerank, "{'model':'m','query':'q'}", 400, "documents", "is needed");
    refused(&gw_api_rerank, "{'model':'m','query':'q','documents':['a'],'top_n':-1}", 400, "top_n", "0 to 1024");
    asks_for(&gw_api_ollama_embed, "{'model':'m:latest','input':'x','truncate':false,'keep_alive':1}", VS_MSG_EMBED,
             "{'model':'m','input':['x']}");
    refused(&gw_api_ollama_embed, "{'model':'m','input':'x','truncate':true}", 400, "truncate", "false");

    asks_for(&gw_api_ollama_chat, "{'model':'m:latest','messages':[{'role':'user','content':'Hi','images':[]}],'format':'json',"
             "'options':{'seed':3,'num_predict':-1,'stop':['x'],'top_k':4}}", VS_MSG_CHAT,
             "{'model':'m','messages':[{'role':'user','content':'Hi'}],'constraint':{'json_object':true},'parts':true,"
             "'sampling':{'seed':3,'top_k':4},'stop':['x']}");
    asks_for(&gw_api_ollama_generate, "{'model':'m','prompt':'a','raw':true,'template':'','options':{'num_predict':2}}",
             VS_MSG_GENERATE,
             "{'model':'m','prompt':'a','raw':true,'max_tokens':2}");
    asks_for(&gw_api_ollama_generate, "{'model':'m'}", VS_MSG_LOAD, "{'model':'m'}");
}

/* ---- answers ---- */

#define CHUNK "data: {'id':'chatcmpl-id','object':'chat.completion.chunk','created':1700000000,'model':'m',"
#define CHOICE "'choices':[{'index':0,'delta':"
#define REST ",'logprobs':null,'finish_reason':null}]}\n\n"

static void test_chat_stream(void **state)
{
    struct talk t;
    (void)state;
    ask(&t, &gw_api_chat, "{" HI ",'stream':true}");
    assert_true(t.call.stream);
    say(&t, 0, VS_PART_CONTENT, 5, "Good \"", NULL);
    sent(&t, CHUNK CHOICE "{'role':'assistant','content':''}" REST CHUNK CHOICE "{'content':'Good \\''}" REST);
    say(&t, 0, VS_PART_CONTENT, 6, "", NULL);
    sent(&t, "");
    finish(&t, 0, RESULT);
    sent(&t, CHUNK "'system_fingerprint':'fp_0123456789abcdef','choices':[{'index':0,'delta':{},'logprobs':null,"
         "'finish_reason':'stop'}]}"
         "\n\ndata: [DONE]\n\n");
    end(&t);

    ask(&t, &gw_api_chat, "{" HI ",'stream':true,'stream_options':{'include_usage':true},'logprobs':true,'top_logprobs':1}");
    say(&t, 0, VS_PART_CONTENT, 5, "a", "{'logprob':-0.5,'text':'a','top':[{'id':5,'logprob':-0.5,'text':'?','bytes':[195]}]}");
    sent(&t, CHUNK CHOICE "{'role':'assistant','content':''},'logprobs':null,'finish_reason':null}],'usage':null}\n\n" CHUNK CHOICE
         "{'content':'a'},'logprobs':{'content':[{'token':'a','logprob':-0.5,'bytes':[97],'top_logprobs':[{'token':'?',"
         "'logprob':-0.5,"
         "'bytes':[195]}]}],'refusal':null},'finish_reason':null}],'usage':null}\n\n");
    finish(&t, 0, RESULT);
    t.out.data[0] = ' ';
    assert_non_null(strstr(t.out.data, "\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13,"
                           "\"prompt_tokens_details\":{\"cached_tokens\":3},\"completion_tokens_details\":{\"reasoning_tokens\":0,"
                           "\"accepted_prediction_tokens\":2,\"rejected_prediction_tokens\":3}}}\n\ndata: [DONE]\n\n"));
    end(&t);
}

/* Reasoning, text and two calls; the name of the second is cut in two. The stream, put together, is the whole answer. */
static void play(struct talk *t)
{
    say(t, 0, VS_PART_REASONING, 1, "hm", NULL);
    say(t, 0, VS_PART_CONTENT, UINT32_MAX, "So", NULL);
    say(t, 0, VS_PART_CALL, 2, "f\n{\"a\"", NULL);
    say(t, 0, VS_PART_CALL, 3, ":1}", NULL);
    say(t, 0, VS_PART_CALL + 1, 4, "g", NULL);
    say(t, 0, VS_PART_CALL + 1, 5, "h\n", NULL);
    say(t, 0, VS_PART_CALL + 1, 6, "{}", NULL);
}
#define CALLED "{'finish_reason':'tool_calls','usage':{'prompt_tokens':9,'completion_tokens':4}}"

static void test_parts(void **state)
{
    struct talk t;
    (void)state;
    ask(&t, &gw_api_chat, "{" HI "}");
    play(&t);
    sent(&t, "");
    finish(&t, 0, CALLED);
    sent(&t, "{'id':'chatcmpl-id','object':'chat.completion','created':1700000000,'model':'m','system_fingerprint':null,'choices':["
         "{'index':0,'message':{'role':'assistant','content':'So','refusal':null,'reasoning_content':'hm','tool_calls':["
         "{'id':'call_id1','type':'function','function':{'name':'f','arguments':'{\\'a\\':1}'}},"
         "{'id':'call_id2','type':'function','function':{'name':'gh','arguments':'{}'}}]},'logprobs':null,"
         "'finish_reason':'tool_calls'}],"
         "'usage':{'prompt_tokens':9,'completion_tokens':4,'total_tokens':13,'prompt_tokens_details':{'cached_tokens':0},"
         "'completion_tokens_details':{'reasoning_tokens':1,'accepted_prediction_tokens':0,'rejected_prediction_tokens':0}}}");
    end(&t);

    ask(&t, &gw_api_chat, "{" HI ",'stream':true}");
    play(&t);
    sent(&t, CHUNK CHOICE "{'role':'assistant','content':''}" REST CHUNK CHOICE "{'reasoning_content':'hm'}" REST
         CHUNK CHOICE "{'content':'So'}" REST
         CHUNK CHOICE "{'tool_calls':[{'index':0,'id':'call_id1','type':'function','function':{'name':'f','arguments':'{\\'a\\''}"
         "}]}" REST
         CHUNK CHOICE "{'tool_calls':[{'index':0,'function':{'arguments':':1}'}}]}" REST
         CHUNK CHOICE "{'tool_calls':[{'index':1,'id':'call_id2','type':'function','function':{'name':'gh','arguments':''}}]}" REST
         CHUNK CHOICE "{'tool_calls':[{'index':1,'function':{'arguments':'{}'}}]}" REST);
    end(&t);
}

static void test_messages(void **state)
{
    struct talk t;
    (void)state;
    ask(&t, &gw_api_messages, "{" HI ",'max_tokens':9}");
    play(&t);
    finish(&t, 0, CALLED);
    sent(&t, "{'id':'msg_id','type':'message','role':'assistant','model':'m','content':[{'type':'thinking','thinking':'hm',"
         "'signature':''},"
         "{'type':'text','text':'So'},{'type':'tool_use','id':'toolu_id3','name':'f','input':{'a':1}},"
         "{'type':'tool_use','id':'toolu_id4','name':'gh','input':{}}],'stop_reason':'tool_use','stop_sequence':null,"
         "'usage':{'input_tokens':9,'cache_creation_input_tokens':0,'cache_read_input_tokens':0,'output_tokens':4}}");
    end(&t);
    ask(&t, &gw_api_messages, "{" HI ",'max_tokens':9}");           /* a model that says a key twice: nothing is lost in silence */
    say(&t, 0, VS_PART_CALL, 2, "f\n{\"a\":1,\"a\":2}", NULL);
    finish(&t, 0, CALLED);
    vs_buf_char(&t.out, 0);
    assert_non_null(strstr(t.out.data, "\"input\":{\"a\":2}"));
    end(&t);

    ask(&t, &gw_api_messages, "{" HI ",'max_tokens':9,'stream':true}");
    gw_api_messages.ping(&t.call, &t.out);
    sent(&t, "event: message_start\ndata: {'type':'message_start','message':{'id':'msg_id','type':'message','role':'assistant',"
         "'model':'m',"
         "'content':[],'stop_reason':null,'stop_sequence':null,'usage':{'input_tokens':0,'cache_creation_input_tokens':0,"
         "'cache_read_input_tokens':0,'output_tokens':0}}}\n\nevent: ping\ndata: {'type':'ping'}\n\n");
    say(&t, 0, VS_PART_CONTENT, 1, "So", NULL);
    say(&t, 0, VS_PART_CALL, 2, "f", NULL);
    say(&t, 0, VS_PART_CALL, 3, "\n{}", NULL);
    finish(&t, 0, "{'finish_reason':'stop','stop_sequence':'q','usage':{'prompt_tokens':9,'completion_tokens':4,"
           "'cached_tokens':3}}");
    sent(&t, "event: content_block_start\ndata: {'type':'content_block_start','index':0,'content_block':{'type':'text','text':''}"
         "}\n\n"
         "event: content_block_delta\ndata: {'type':'content_block_delta','index':0,'delta':{'type':'text_delta','text':'So'}}\n\n"
         "event: content_block_stop\ndata: {'type':'content_block_stop','index':0}\n\n"
         "event: content_block_start\ndata: {'type':'content_block_start','index':1,'content_block':{'type':'tool_use',"
         "'id':'toolu_id2',"
         "'name':'f','input':{}}}\n\n"
         "event: content_block_delta\ndata: {'type':'content_block_delta','index':1,'delta':{'type':'input_json_delta',"
         "'partial_json':'{}'}}\n\n"
         "event: content_block_stop\ndata: {'type':'content_block_stop','index':1}\n\n"
         "event: message_delta\ndata: {'type':'message_delta','delta':{'stop_reason':'stop_sequence','stop_sequence':'q'},'usage':"
         "{'input_tokens':6,'cache_creation_input_tokens':0,'cache_read_input_tokens':3,'output_tokens':4}}\n\n"
         "event: message_stop\ndata: {'type':'message_stop'}\n\n");
    end(&t);

    ask(&t, &gw_api_messages, "{" HI ",'max_tokens':9,'stream':true}");
    gw_error_set(&t.err, 429, "", "", "no \"place\"");
    (gw_api_messages.fail)(&t.call, &t.err, true, &t.out);
    sent(&t, "event: error\ndata: {'type':'error','error':{'type':'rate_limit_error','message':'no \\'place\\''},"
         "'request_id':'id'}\n\n");
    end(&t);
}

/* Every event of a stream of responses has the next number, and its last response is the whole answer of one that is not streamed.
 * */
static void test_responses(void **state)
{
    struct talk t, s;
    (void)state;
    ask(&t, &gw_api_responses, "{'model':'m','input':'Hi'}");
    play(&t);
    finish(&t, 0, CUT);
    ask(&s, &gw_api_responses, "{'model':'m','input':'Hi','stream':true}");
    play(&s);
    finish(&s, 0, CUT);
    static const char *const order[] = {
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.reasoning_text.delta", "response.reasoning_text.done", "response.content_part.done", "response.output_item.done",
        "response.output_item.added", "response.content_part.added", "response.output_text.delta", "response.output_text.done",
        "response.content_part.done", "response.output_item.done", "response.output_item.added",
        "response.function_call_arguments.delta", "response.function_call_arguments.delta", "response.function_call_arguments.done",
        "response.output_item.done", "response.output_item.added", "response.function_call_arguments.delta",
        "response.function_call_arguments.done", "response.output_item.done", "response.incomplete",
    };
    char *at = s.out.data, *stop;
    json_t *last = NULL;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++, at = stop + 2) {
        struct vs_error err;
        stop = strstr(at, "\n\n");
        assert_non_null(stop);
        char *data = strstr(at, "data: ");
        json_decref(last);
        last = vs_json_parse(data + 6, (size_t)(stop - data - 6), &err);
        assert_non_null(last);
        assert_string_equal(json_string_value(json_object_get(last, "type")), order[i]);
        assert_int_equal(json_integer_value(json_object_get(last, "sequence_number")), i);
        assert_int_equal(strncmp(at + 7, order[i], strlen(order[i])), 0);
    }
    assert_string_equal(at, "");
    vs_buf_char(&t.out, 0);
    struct vs_error err;
    json_t *whole = vs_json_parse(t.out.data, strlen(t.out.data), &err);
    assert_true(json_equal(whole, json_object_get(last, "response")));
    const json_t *output = json_object_get(whole, "output");
    same_json(json_array_get(output, 2), "{'id':'fc_id3','type':'function_call','status':'completed','call_id':'call_id3',"
              "'name':'f',"
              "'arguments':'{\\u0022a\\u0022:1}'}");
    assert_string_equal(json_string_value(json_object_get(json_array_get(output, 3), "status")), "incomplete");
    assert_string_equal(json_string_value(json_object_get(whole, "status")), "incomplete");
    json_decref(whole);
    json_decref(last);
    end(&t);
    end(&s);
}

static void test_completions(void **state)
{
    struct talk t;
    (void)state;
    ask(&t, &gw_api_completions, "{'model':'m','prompt':['x','y'],'n':2,'logprobs':1}");
    assert_int_equal(t.call.n_asks, 2);
    struct gw_token token = { .ask = 1, .index = 1, .id = 4, .text = "é!", .n = 3 };
    token.extra = json_of("{'logprob':-1,'text':'\xc3\xa9','top':[{'logprob':-2,'text':'?','bytes':[195]}]}");
    gw_api_completions.token(&t.call, &token, &t.out);
    gw_api_completions.token(&t.call, &token, &t.out);
    json_decref(token.extra);
    finish(&t, 1, "{'choices':[{'finish_reason':'stop'},{'finish_reason':'length'}],'usage':{'prompt_tokens':1,"
           "'completion_tokens':2}}");
    sent(&t, "");
    finish(&t, 0, "{'choices':[{'finish_reason':'stop'},{'finish_reason':'stop'}],'usage':{'prompt_tokens':3,"
           "'completion_tokens':4}}");
    json_t *v = json_of(t.out.data);
    const json_t *choices = json_object_get(v, "choices");
    assert_int_equal(json_array_size(choices), 4);
    same_json(json_array_get(choices, 3), "{'index':3,'text':'é!é!','finish_reason':'length','logprobs':{'tokens':['é','é'],"
              "'token_logprobs':[-1.0,-1.0],'top_logprobs':[{'bytes:\\\\xc3':-2.0},{'bytes:\\\\xc3':-2.0}],'text_offset':[0,1]}}");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(v, "usage"), "total_tokens")), 10);
    json_decref(v);
    end(&t);
}

static void test_ollama(void **state)
{
    struct talk t;
    (void)state;
#define LINE "{'model':'m','created_at':'2023-11-14T22:13:20Z',"
    ask(&t, &gw_api_ollama_chat, "{" HI "}");
    assert_true(t.call.stream);
    play(&t);
    t.call.took_ns = 7000000;           /* 3 ms of which no worker had it; that it once took 900 to load does not count */
    finish(&t, 0, "{'finish_reason':'stop','usage':{'prompt_tokens':9,'completion_tokens':4},'timings':{'load_ms':900.0,"
           "'queue_ms':0.5,'prompt_ms':1.5,'decode_ms':2}}");
    sent(&t, LINE "'message':{'role':'assistant','content':'','thinking':'hm'},'done':false}\n"
         LINE "'message':{'role':'assistant','content':'So'},'done':false}\n"
         LINE "'message':{'role':'assistant','content':'','tool_calls':[{'function':{'name':'f','arguments':{'a':1}}}]},"
         "'done':false}\n"
         LINE "'message':{'role':'assistant','content':'','tool_calls':[{'function':{'name':'gh','arguments':{}}}]},'done':false}\n"
         LINE "'message':{'role':'assistant','content':''},'done':true,'done_reason':'stop','total_duration':7000000,"
         "'load_duration':3000000,"
         "'prompt_eval_count':9,'prompt_eval_duration':1500000,'eval_count':4,'eval_duration':2000000}\n");
    end(&t);
    ask(&t, &gw_api_ollama_generate, "{'model':'m','prompt':'x','stream':false}");
    say(&t, 0, VS_PART_CONTENT, 1, "a", NULL);
    say(&t, 0, VS_PART_CONTENT, 2, "b", NULL);
    finish(&t, 0, CUT);
    assert_non_null(strstr(t.out.data, "\"response\":\"ab\",\"done\":true,\"done_reason\":\"length\""));
    end(&t);
}

/* Documents and zones reach the daemon; what a filter cut off is called as each API calls it. */
static void test_filters(void **state)
{
    struct talk t;
    struct gw_error err;
    (void)state;
#define DOCUMENTS "'documents':[{'title':'t','text':'x'}]"
    asks_for(&gw_api_chat, "{'model':'m'," DOCUMENTS ",'messages':[{'role':'tool','content':'a','zone':'retrieved'},"
             "{'role':'user','zone':null,'content':[{'type':'text','text':'b','zone':'tool','x':1}]}]}", VS_MSG_CHAT,
             "{'model':'m'," DOCUMENTS ",'parts':true,'messages':[{'role':'tool','content':'a','zone':'retrieved'},"
             "{'role':'user','content':[{'type':'text','text':'b','zone':'tool'}]}]}");
    asks_for(&gw_api_messages, "{'model':'m','max_tokens':9," DOCUMENTS ",'messages':[{'role':'user','zone':'retrieved','content':"
             "[{'type':'text','text':'b'},{'type':'tool_result','tool_use_id':'1','content':'c','zone':'user'}]}]}", VS_MSG_CHAT,
             "{'model':'m','max_tokens':9," DOCUMENTS ",'parts':true,'messages':[{'role':'user','content':'b','zone':'retrieved'},"
             "{'role':'tool','content':'c','tool_call_id':'1','zone':'user'}]}");
    asks_for(&gw_api_responses, "{'model':'m'," DOCUMENTS ",'input':[{'role':'user','content':'a','zone':'retrieved'},"
             "{'type':'function_call_output','call_id':'1','output':'c','zone':'user'}]}", VS_MSG_CHAT,
             "{'model':'m'," DOCUMENTS ",'parts':true,'messages':[{'role':'user','content':'a','zone':'retrieved'},"
             "{'role':'tool','content':'c','tool_call_id':'1','zone':'user'}]}");
    asks_for(&gw_api_ollama_chat, "{'model':'m'," DOCUMENTS ",'messages':[{'role':'user','content':'a','zone':'tool'}]}",
             VS_MSG_CHAT,
             "{'model':'m'," DOCUMENTS ",'parts':true,'messages':[{'role':'user','content':'a','zone':'tool'}]}");
    refused(&gw_api_chat, "{" HI ",'documents':{}}", 400, "documents", "a list of at most 1024");
    asks_for(&gw_api_messages, "{'model':'m','max_tokens':9,'messages':[{'role':'user','content':[{'type':'text','text':'a'},"
             "{'type':'text','text':'b','zone':'tool','x':1},"
             "{'type':'tool_result','tool_use_id':'1','content':[{'type':'text','text':'c','zone':'user'}]},"
             "{'type':'text','text':'d'},{'type':'text','text':'e'}]}]}", VS_MSG_CHAT,
             "{'model':'m','max_tokens':9,'parts':true,'messages':[{'role':'user','content':[{'type':'text','text':'a'},"
             "{'type':'text','text':'b','zone':'tool'}]},{'role':'tool','content':[{'type':'text','text':'c','zone':'user'}],"
             "'tool_call_id':'1'},{'role':'user','content':'d\\ne'}]}");
    asks_for(&gw_api_messages, "{'model':'m','max_tokens':9,'messages':[{'role':'user','content':[{'type':'document','title':'t',"
             "'context':'c','source':{'type':'text','media_type':'text/plain','data':'d'}},{'type':'text','text':'a'}]}]}",
             VS_MSG_CHAT,
             "{'model':'m','max_tokens':9,'parts':true,'messages':[{'role':'user','content':[{'type':'text','text':'t\\nc\\nd',"
             "'zone':'retrieved'},{'type':'text','text':'a'}]}]}");
    refused(&gw_api_messages, "{'model':'m','max_tokens':9,'messages':[{'role':'user','content':[{'type':'document','source':{"
            "'type':'url','url':'x'}}]}]}", 400, "messages.0.content.0", "of documents only those");
    refused(&gw_api_messages, "{'model':'m','max_tokens':9,'messages':[{'role':'user','content':'a'},{'role':'assistant','content':"
            "'b'},{'role':'user','content':'c'},{'role':'assistant','content':[]}]}", 400, "messages", "text to go on from");
    asks_for(&gw_api_responses, "{'model':'m','input':[{'role':'user','content':[{'type':'input_json','data':{'k':1}},{'type':"
             "'input_text','text':'b','zone':'tool'}]}]}", VS_MSG_CHAT,
             "{'model':'m','parts':true,'messages':[{'role':'user','content':[{'type':'text','text':'{\\\"k\\\":1}'},"
             "{'type':'text','text':'b','zone':'tool'}]}]}");
    refused(&gw_api_messages, "{'model':'m','max_tokens':9,'system':[{'type':'text','text':'b','zone':'tool'}],'messages':[{'role':"
            "'user','content':'a'}]}", 400, "system", "zone is said of a message");
    refused(&gw_api_responses, "{'model':'m','input':[{'type':'reasoning','content':[{'type':'reasoning_text','text':'b','zone':"
            "'tool'}]}]}", 400, "input[0]", "reasoning has no zone");
    refused(&gw_api_chat, "{" HI ",'zone':'tool'}", 400, "zone", "a message or a part of its content");
    refused(&gw_api_ollama_chat, "{" HI ",'zone':'tool'}", 400, "zone", "a message says it");
    refused(&gw_api_completions, "{'model':'m','prompt':'a','zone':'tool'}", 400, "zone", "a message or a part");
    refused(&gw_api_completions, "{'model':'m','prompt':'a'," DOCUMENTS "}", 400, "documents", "chat, responses");
    static const struct { const struct gw_api *api; const char *body, *said; } ends[] = {
        { &gw_api_chat, "{" HI "}", "\"finish_reason\":\"content_filter\"" },
        { &gw_api_chat, "{" HI ",'stream':true}", "\"finish_reason\":\"content_filter\"" },
        { &gw_api_completions, "{'model':'m','prompt':'x'}", "\"finish_reason\":\"content_filter\"" },
        { &gw_api_messages, "{" HI ",'max_tokens':9}", "\"stop_reason\":\"refusal\"" },
        { &gw_api_messages, "{" HI ",'max_tokens':9,'stream':true}", "\"stop_reason\":\"refusal\"" },
        { &gw_api_responses, "{'model':'m','input':'x'}", "\"incomplete_details\":{\"reason\":\"content_filter\"}" },
        { &gw_api_ollama_chat, "{" HI "}", "\"done_reason\":\"content_filter\"" },
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        ask(&t, ends[i].api, ends[i].body);
        assert_int_equal(t.rc, VS_OK);
        say(&t, 0, VS_PART_CONTENT, 1, "a", NULL);
        finish(&t, 0, "{'finish_reason':'filtered','usage':{'prompt_tokens':9,'completion_tokens':4}}");
        vs_buf_char(&t.out, 0);
        if (!strstr(t.out.data, ends[i].said))
            fail_msg("%s is not in %s", ends[i].said, t.out.data);
        end(&t);
    }
    gw_error_of(&err, VS_E_FILTERED, "refused", 0);
    assert_int_equal(err.status, 400);
    assert_string_equal(err.code, "content_filter");
    assert_string_equal(err.type, "invalid_request_error");
    assert_false(err.again);
}

static void test_decisions(void **state)
{
    struct talk t;
    (void)state;
    asks_for(&gw_api_decisions, "{'model':'m','state':{'a':1},'questions':{'q':{'type':'noul','instructions':'Is it?'}}}",
             VS_MSG_CHAT,
             "{'model':'m','messages':[{'role':'user','content':'{\\u0022a\\u0022:1}\\n\\nIs it?\\nA. false\\nB. true\\nAnswer "
             "with the "
             "letter alone.'}],'max_tokens':1,'logprobs':100,'sampling':{'temperature':0},"
             "'template_args':{'enable_thinking':false}}");
    refused(&gw_api_decisions, "{'model':'m','questions':{}}", 400, "state", "is needed");
    asks_for(&gw_api_decisions, "{'model':'m','input':[{'role':'user','content':[{'type':'input_text','text':'s'},"
             "{'type':'input_json','data':{'a':1}}]}],'questions':[{'type':'choice','instructions':[{'type':'input_text',"
             "'text':'i'}],'choices':[{'value':true},{'value':'no','description':'d'}]}]}", VS_MSG_CHAT,
             "{'model':'m','messages':[{'role':'user','content':'s\\n{\\u0022a\\u0022:1}\\n\\ni\\nA. true\\nB. d\\nAnswer with the "
             "letter alone.'}],'max_tokens':1,'logprobs':100,'sampling':{'temperature':0},"
             "'template_args':{'enable_thinking':false}}");
    refused(&gw_api_decisions, "{'model':'m','questions':[{'type':'predicate','instructions':'i'}]}", 400, "input", "is needed");
    refused(&gw_api_decisions, "{'model':'m','input':'s','questions':[{'type':'noul','instructions':'i'}]}", 400, "questions",
            "predicate");
    refused(&gw_api_decisions, "{'model':'m','input':'s','questions':[{'type':'choice','instructions':'i','choices':"
            "[{'value':1}]}]}", 400, "questions", "choices[0].value");
    ask(&t, &gw_api_decisions, "{'model':'m','input':'s','questions':[{'type':'predicate','instructions':'i','name':'p'},"
        "{'type':'choice','instructions':'i','choices':[{'value':true},{'value':'true'}]},"
        "{'type':'score','instructions':'i','levels':[{'label':'low'},{'label':'high'}]}]}");
    say(&t, 0, VS_PART_CONTENT, 1, "B", "{'logprob':0,'text':'B','top':[{'logprob':0,'text':'B'}]}");
    for (size_t i = 0; i < 3; i++)
        finish(&t, i, RESULT);
    sent(&t, "{'model':'m','answers':[{'name':'p','type':'predicate','probability':1.0},{'name':null,'type':'choice',"
         "'choice':true,'probabilities':[{'probability':0.5,'value':true},{'probability':0.5,'value':'true'}],'confidence':0.0},"
         "{'name':null,'type':'score','score':0.5,'probabilities':[{'label':'low','probability':0.5,'value':0},"
         "{'label':'high','probability':0.5,'value':1}],'confidence':0.0}],'usage':{'input_tokens':27,"
         "'input_tokens_details':{'cached_tokens':9,'cache_write_tokens':0},'output_tokens':12,"
         "'output_tokens_details':{'reasoning_tokens':0},'total_tokens':39}}");
    end(&t);
    refused(&gw_api_decisions, "{'model':'m','state':'s','questions':{'q':{'type':'choice','instructions':'i',"
            "'criteria':{'a':null}}}}", 400,
            "questions", "at least two");
    ask(&t, &gw_api_decisions, "{'model':'m','state':'s','questions':{'c':{'type':'choice','instructions':'i',"
        "'criteria':{'x':null,'y':'d'}},"
        "'s':{'type':'score','instructions':'i','criteria':['low','high']},'n':{'type':'noul','instructions':'i'}}}");
    assert_int_equal(t.call.n_asks, 3);
    say(&t, 0, VS_PART_CONTENT, 1, "B", "{'logprob':0,'text':'B','top':[{'logprob':0,'text':'B'},{'logprob':0,'text':' A'},"
        "{'logprob':0,'text':'B'},"
        "{'logprob':0,'text':' B'},{'logprob':0,'text':'C'}]}");
    finish(&t, 0, RESULT);
    finish(&t, 2, RESULT);
    sent(&t, "");
    finish(&t, 1, RESULT);
    sent(&t, "{'model':'m','answers':{'c':{'type':'choice','choice':'y','probabilities':{'x':0.25,'y':0.75},'confidence':0.75},"
         "'s':{'type':'score','score':0.5,'legend':{'0':'low','1':'high'},'probabilities':{'0':0.5,'1':0.5},'confidence':0.0},"
         "'n':{'type':'noul','noul':0.5}},'usage':{'input_tokens':27,'output_tokens':12}}");
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat_requests),  cmocka_unit_test(test_headers),     cmocka_unit_test(test_places),
        cmocka_unit_test(test_other_requests), cmocka_unit_test(test_chat_stream), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_messages),       cmocka_unit_test(test_responses),   cmocka_unit_test(test_completions),
        cmocka_unit_test(test_ollama),         cmocka_unit_test(test_filters), cmocka_unit_test(test_decisions),
    };
    vs_json_setup(0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
