/* prog/guard/guard.h - the process between broker and worker: what goes in and what comes out passes here.
 *
 *     broker --front.c--> passes (pass.c) --> worker
 *     broker <----------- passes <--back.c--- worker
 *                 control.c: the supervisor, who hands us the sockets of each new worker
 *
 * One guard for each worker. It is the worker's only peer, and it is locked in like one: it opens nothing, connects to nothing, and
 * has the sockets that the supervisor hands it. The worker is not trusted (it has read a model), and the broker trusts us no more
 * than a worker: each hop has a table of its own (ipc/message.h), ids of its own and credit of its own.
 *
 * When the worker dies we live on. What is under way keeps the ids that the worker gave, so that its successor can go on behind
 * them; the broker says which pass a request was (`resumes`), and has as many frames as we told it, for it reads to the end of the
 * old socket before it asks again. When we die nobody knows these ids: running requests end, and the supervisor starts both anew.
 *
 * One thread, one poll loop, nothing blocks. While a long request is looked at the worker is heard every few milliseconds
 * (back_rest), so that the answers of others go on; the broker and the supervisor wait. Frames of a turn go out together. Nothing
 * is allocated for a token that passes.
 */
#ifndef VS_GUARD_GUARD_H
#define VS_GUARD_GUARD_H
#include "base/buf.h"
#include "base/status.h"
#include "ipc/envelope.h"
#include "ipc/frame.h"
#include "prog/guard/screen.h"
#include "receipt/statement.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MAX_TURN = 64,                      /* frames of one side in a turn of the loop */
    MAX_CHOICES = VS_MAX_CHOICES,
    MAX_TOKENS = 4 << 20,               /* tokens that a pass may tell of a choice, */
    MAX_SILENT = 4096,                  /* that wait for a text behind them, */
    MAX_EXTRAS = 1 << 20,               /* and bytes of their JSON */
    MAX_LOST = 1024,                    /* passes that wait for the next worker; the oldest are forgotten */
    SCANS = 4,                          /* requests to scan, or twice as many, wait here */
    ALIVE_NS = 250000000,               /* so often the broker hears of us while we look at something long */
    FRAME_HEAD = 8,                     /* of a frame that waits for credit: u32 bytes, u16 type, u16 flags */
};
#define MAX_TO_BROKER (1u << 20)        /* with so many bytes that the broker has not read, we do not listen to the worker; */
#define MAX_TO_WORKER (64u << 20)       /* with so many for the worker, not to the broker */
#define MAX_JSON (512u << 20)           /* memory of all JSON values */
#define MAX_MEMORY (1536ull << 20)      /* of all */
#define GRANT (16u << 10)               /* credit that our changes of lengths set free goes to the worker in pieces of so much */

struct told {                           /* of one choice */
    uint32_t *id;                       /* as the worker gave them; VS_NO_TOKEN: more text of the token before */
    uint32_t n, cap;
    uint32_t n_frames;                  /* TOKEN frames that the broker has */
    uint32_t part;                      /* the last of its parts so far */
};

/* A request, from the broker's frame to the one that ends it. */
struct pass {
    struct pass *next;                  /* the one that came before it */
    uint64_t id;                        /* the broker's; when is_lost, what it was */
    uint64_t far;                       /* ours, for the worker; 0: the worker does not have it, or has ended it */
    uint16_t type;
    bool is_lost;                       /* its worker died, and no other has it */
    int stop;                           /* VS_OK, or why the broker told it to stop */
    bool is_wanted_back;                /* the broker would have it again, as if it had never come, unless something was said */
    uint32_t credit, far_credit;        /* bytes of output: that the broker takes, that the worker may still send */
    uint32_t asked;                     /* bytes that the broker was told we wait for; 0: none */
    uint32_t wanted;                    /* bytes of the next frame, for which the worker said that it waits; 0: none */
    size_t n_held;                      /* bytes of its frames whose text is not decided */
    struct vs_buf out;                  /* frames that wait for credit: FRAME_HEAD, payload */
    size_t out_done;
    uint16_t end_type;                  /* 0, or: the worker has ended it, and this is to be said when `out` is empty */
    struct vs_buf end;                  /* the payload of that */
    struct told choice[MAX_CHOICES];
    bool has_index, has_data;           /* its tokens say of which choice they are; DATA went out */
    struct vs_buf data;                 /* DATA that waits for what the next frame has */
    bool cannot_resume;                 /* there was no memory for its ids */
    struct screen *screen;              /* under which it began */
    struct vs_buf system;               /* its system messages, while its input is looked at */
    bool is_formed;                     /* it asks for a form that the answer keeps to the letter: control characters stay in it */
    bool is_json;                       /* and that form is JSON */
    struct prompted *prompted;          /* NULL: no system message that could come out again */
    struct verdict verdict;
    struct output *output[MAX_CHOICES]; /* output.c; NULL: nothing came of this choice, or nothing is looked for */
    bool is_asking;                     /* `far` is our question what its ids mean; it waits: */
    struct vs_buf request;              /* its payload, */
    uint16_t told_type;                 /* 0, or: the answer came while another request was looked at: this frame, */
    struct vs_buf told;                 /* and its payload */
    bool has_begun;                     /* its input has been looked at */
    bool is_cut;                        /* a finding ends the answer: what the worker still says of it is not heard */
    int64_t n_tokens;                   /* that came before that */
};

struct guard {
    struct vs_conn control, broker, worker;
    bool broker_has_more, worker_has_more;
    int worker_came;                    /* -1, or the socket to a worker whose other socket is still to come */
    bool is_alone;                      /* there is no worker: only SCAN is answered */
    bool is_broken;                     /* the worker broke a rule: nothing it says counts */
    bool may_rest, is_resting;          /* a request is looked at, within which others' answers may pass; they pass now */
    struct vs_check rest;               /* asks for that */
    uint64_t alive_ns;                  /* when the broker was told last that we work */
    bool is_leaving;                    /* the worker is gone: the broker hears the rest, then its socket is closed */
    struct pass *passes;                /* the newest first */
    unsigned n_lost;
    uint64_t last_far;
    struct sent {                       /* SENT frames came for the request to come */
        uint64_t id;
        uint32_t n[MAX_CHOICES];
    } sent;
    json_t *sandbox;                    /* ours, for READY */
    char digest[65];                    /* of the model, when the worker has said it */
    struct screen *screen;              /* for requests that come */
    struct vs_scan *scan;               /* NULL: this build has no rules */
    uint8_t key[VS_REDACT_KEY];         /* of marks of the style hash */
};

/* main.c: we can't go on. Requests end with VS_E_DIED, and guard and worker start anew. */
_Noreturn void guard_leave(const char *why);

/* control.c */
uint16_t control_unhandled(void);
void control_ready(struct guard *g, short events);

struct screen *policy_read(struct guard *g, int fd);          /* a new one */

/* input.c: a request's texts, through the policy */
enum passage { PASSAGE_AS_IT_IS, PASSAGE_CHANGED, PASSAGE_REFUSED, PASSAGE_FAILED };
/* CHANGED: *out is the body that the worker gets. What is no JSON object passes: the worker says what is wrong with it. FAILED: it
 * could not be looked at, or is too long with what the policy replaces, so it does not pass; *why. */
enum passage input_screen(struct pass *p, const char *body, size_t n, struct vs_buf *out, struct vs_error *why);
/* Does it bring ids in place of text, at which the policy looks? Then *ret_question is the body of the DETOKENIZE that tells. Not
 * VS_OK: there is no such body, *why. */
int input_ask_ids(const struct pass *p, const char *body, size_t n, struct vs_buf *ret_question, struct vs_error *why);
enum passage input_screen_ids(struct pass *p, const char *result, size_t n, struct vs_error *why);     /* of the answer to that */
bool input_may_refuse(const struct pass *p);     /* could the policy refuse or change what it brings? */

extern const char *const zone_names[VS_N_ZONES];
bool zone_named(const json_t *value, enum vs_zone *ret);
enum vs_zone zone_of_message(const json_t *message);          /* what it says, or by its role */

/* talk.c: injections that are split over several messages, or documents, of a body. _hear: what the body says, before anything in
 * it is replaced; ret is empty, and ended by _clear. _screen is false where one blocks, or there was no memory. */
void talk_hear(const json_t *body, struct vs_buf *ret);
bool talk_screen(const struct screen *s, const struct vs_buf *talk, struct verdict *v);
void talk_clear(struct vs_buf *talk);

/* scan.c: SCAN, which we answer ourselves */
void scan_answer(struct guard *g, struct pass *p, const char *body, size_t n);

/* checked.c: what a worker says that is no text, judged and said again. False, NULL: it can't be said; *ret is the caller's. */
bool checked_progress(const struct vs_frame *f, json_t **ret);
bool checked_stats(const struct vs_frame *f, json_t **ret);
json_t *checked_failure(const struct guard *g, const struct vs_frame *f);
void checked_message(const struct screen *s, struct verdict *v, struct vs_error *error);
bool checked_outcome(const struct vs_outcome *o);
bool checked_statement(const struct vs_statement *s);

/* data.c: numbers. What it returns is why they can't be, or NULL. */
const char *data_take(struct guard *g, struct pass *p, const struct vs_frame *f);
void data_end(struct guard *g, struct pass *p);                     /* no more come: all that is held goes */

/* output.c: text that comes in tokens, through the policy; ids and what is said of them leave with their text */
void output_token(struct guard *g, struct pass *p, const struct vs_token_view *t, const struct vs_frame *f);
void output_cut(struct guard *g, struct pass *p);                   /* a finding ends it: what was decided before goes out */
/* What is found is told, no more; the frame goes its own way. */
void output_watch(struct guard *g, struct pass *p, const struct vs_token_view *t, uint16_t flags);
const struct looking *pass_looking(const struct pass *p, enum side side);          /* STREAM or WATCH */
void output_end(struct guard *g, struct pass *p);                   /* no more tokens come: all that is held goes */
void output_free(struct pass *p);
/* The end of an answer that a finding has cut off: COMPLETE, with finish_reason filtered; o: what else is known. The broker's own
 * reason to stop it comes first. */
void output_end_cut(struct guard *g, struct pass *p, struct vs_outcome *o);
/* The frame that ends it, as the policy leaves it; p may be gone afterwards. */
void output_terminal(struct guard *g, struct pass *p, const struct vs_frame *f);

/* front.c: what the broker says */
uint16_t front_unhandled(void);
void front_ready(struct guard *g, short events);
void front_send(struct guard *g, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n);
void front_close(struct guard *g);

/* The worker has told what the ids of a request mean, or why it can't. */
void front_ids_told(struct guard *g, struct pass *p, const struct vs_frame *f);

/* back.c: what the worker says */
uint16_t back_unhandled(void);
void back_ready(struct guard *g, short events);
int back_rest(void *guard);             /* within a long piece of work: what the worker says meanwhile goes on its way */
void back_catch_up(struct guard *g);    /* afterwards: what had to wait */
void back_send_u32(struct guard *g, uint16_t type, uint64_t far, uint32_t value);
void back_break(struct guard *g, const char *why);                    /* the worker broke a rule: it is not heard any more */
void back_open(struct guard *g, int worker_fd, int broker_fd);      /* a new worker; takes over both */

/* pass.c */
struct pass *pass_find(const struct guard *g, uint64_t id);         /* of the broker's id, not a lost one; NULL: none */
struct pass *pass_find_far(const struct guard *g, uint64_t far);
struct pass *pass_find_lost(const struct guard *g, uint64_t id);
struct pass *pass_add(struct guard *g, uint16_t type, uint64_t id);
void pass_free(struct guard *g, struct pass *p);
void pass_lose_all(struct guard *g);    /* the worker is gone: they wait for the next, those that can go on */
/* The worker gave a token: its id is kept. False: it has given more than an answer can have. */
bool pass_note(struct pass *p, const struct vs_token_view *t, bool has_index);
/* A frame of output for the broker: now, or when there is credit. */
void pass_emit(struct guard *g, struct pass *p, uint16_t type, uint16_t flags, const void *data, size_t n);
/* The worker has ended it: so do we, behind what waits. */
void pass_end(struct guard *g, struct pass *p, uint16_t type, const void *payload, size_t n);
void pass_log(struct guard *g, const struct pass *p);               /* what was found, for the daemon's log */
/* It never began: REJECTED, FILTERED. */
void pass_refuse(struct guard *g, struct pass *p);
void pass_fail(struct guard *g, struct pass *p, uint16_t type, int code, const char *text);      /* REJECTED or ERROR */
/* Sends what there is credit for, or says how much lacks: for that, or for what the worker waits for. p may be gone afterwards. */
void pass_pump(struct guard *g, struct pass *p);
void pass_grant(struct guard *g, struct pass *p, uint32_t least);   /* the worker may send more, when that is `least` bytes */
uint32_t pass_may_send(const struct pass *p);                        /* bytes that a worker may have credit for in all */
#endif
