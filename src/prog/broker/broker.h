/* prog/broker/broker.h - the process between clients and workers.
 *
 *     clients --peer.c--> ask.c --> requests --line.c--> run.c: runs of a worker --> frames back to the clients
 *                                                               (through its guard, which we trust no more)
 *                                   model.c: the life of models and of their workers
 *                                   control.c: the supervisor, who starts and stops workers for us
 *                                   who.c: keys, and what who asks may ask
 *                                   audit.c: what happened, for the writer of the log; receipt.c: for who asked, signed
 *
 * It owns the client socket, decides who may connect, keeps the line of each model's requests, gives the worker as many as it takes
 * at once, and passes the worker's frames back. It keeps each request's body and the ids of its tokens until it ends, so that the
 * next worker can go on where one died. It reads frames and envelopes; it parses no model, no prompt and no result. It is
 * locked in and single-threaded: one poll loop, nothing blocks.
 *
 * What it must never do: wait for one party at the cost of another. So each party has its part: of places for connections and
 * requests, of memory (every buffer is counted before it is taken), of a turn of the loop; and each is given up on when it is
 * silent for too long, by a clock that runs only while we listen to it.
 *
 * Nothing is freed under a caller: what ends is marked (gone, ended), and sweep() frees it at the end of the loop's turn.
 */
#ifndef VS_BROKER_BROKER_H
#define VS_BROKER_BROKER_H
#include "base/files.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/status.h"
#include "identity/identity.h"
#include "identity/limits.h"
#include "identity/lockout.h"
#include "ipc/envelope.h"
#include "ipc/frame.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MS 1000000ull                   /* all times in here are vs_clock_ns() */
#define NEVER UINT64_MAX

enum {
    MAX_PEERS = 1024,                   /* connections with a place of their own, where nobody says otherwise; */
                                        /* three quarters of them for one process */
    MAX_GUESTS = 8,                     /* more, for what must always be possible: status, list, unload, shutdown */
    MAX_LEAVING = 16,                   /* refused ones that are still being told why */
    MAX_ATTACHED = 8,                   /* further connections of the client of a private daemon */
    MAX_MODELS = 16,                    /* loaded at once */
    MAX_PEER_REQUESTS = 128,            /* under way on one connection */
    MAX_QUEUE = 256,                    /* requests that wait for one model, where nobody says otherwise */
    MAX_DESCRIPTORS = 16,               /* connections with descriptors that wait for their LOAD, */
    MAX_SPARE = 4 * VS_MAX_FILES,       /* descriptors beyond one for each of these, and for each model to start */
    MAX_TURN = 8,                       /* frames of one client in a turn of the loop */
    MAX_WORKER_TURN = 64,               /* frames of one worker in a turn */
    MAX_LOG_LINES = 20,                 /* in a second */
    MAX_LOG_TEXT = 480, MAX_LOG_NAME = 160,     /* bytes of a line: with every one escaped, they fit into PIPE_BUF */
    MAX_PARALLEL = 256,                 /* requests in a worker's step */
    MAX_CHOICES = VS_MAX_CHOICES,
    MAX_DEATHS = 2,                     /* of workers that one request may see */
    MOST_PROMPT = 1000000000,           /* tokens of a prompt that count: a worker says them */
    MAX_PERSONS = 1024,                 /* for whom delegates ask, and who ask for nothing now; more of them are forgotten */
    MAX_REFUSED = 256,                  /* requests that ended two workers, remembered */
    N_ACCOUNT_LISTS = 256,
    MOST_LATE = 16,                     /* questions for keys that wait: more of them are told at once that nobody knows it */
    MAX_ASKED = 4,                      /* times that the supervisor is asked to start a model for which there was no room */
};
#define MAX_MEMORY (1u << 30)           /* bytes of all buffers: clients, and what 16 workers may need; */
#define MAX_CLIENTS_MEMORY (256u << 20) /* those of all clients, */
#define MAX_CLIENT_MEMORY (128u << 20)  /* those of one process, */
#define MAX_PEER_MEMORY (80u << 20)     /* those of one connection, */
#define OWN_MEMORY (256u << 10)         /* of which so many are its own, whatever others have taken */
#define MAX_LISTEN (1u << 20)           /* a client with so much unread is not listened to */
#define MAX_LOSSY (256u << 10)          /* progress is dropped when so much waits already */
#define NOBODY 65534                    /* what a user namespace shows of those who are not in it */
#define MAX_JSON (64u << 20)            /* memory of all JSON values */
#define FRAME_SILENCE (10000 * MS)      /* half a frame and no byte for so long */
#define FRAME_TIME (120000 * MS)        /* one frame may take so long at most */
#define PAUSE_TIME (1000 * MS)          /* so much later than asked for: we did not run, and the workers may not have run either */
#define LATE_KEY_TIME (2000 * MS)       /* a key that nobody knows may be a new one: to read 10,000 others takes half a second */
#define DESCRIPTOR_TIME (1000 * MS)     /* a descriptor waits so long for its frame */
#define TOGETHER_TIME (1 * MS)          /* the last tokens wait so long for the end of their answer, which the log has first */
#define CLOSE_TIME (1000 * MS)          /* a refused client has so long to read why */
#define DEATH_TIME (500 * MS)           /* the supervisor has so long to say how a worker died */
#define STALL_TIME (10000 * MS)         /* a request whose client takes nothing is stopped after so long, */
#define STALL_TIME_QUEUED (1000 * MS)   /* or so when others wait for the same worker, and it takes one request at a time */
#define RISE_TIME (30000 * MS)          /* who has waited so long rises one class of priority */
#define NAMED_IDLE_TIME (1000 * MS)     /* a name alone, of which nobody knows whether it is a model, drives out none used since */
#define CUT_TIME (500 * MS)             /* when all is to end at once a worker has so long to say what it had computed; after a */
                                        /* time to drain it has CANCEL_TIME: machines are busy, and this is their answer's proof */
#define CANCEL_TIME (VS_CANCEL_MS * MS) /* a worker has so long to stop a request; then the client hears of it anyway */
#define OBEY_TIME (60000 * MS)          /* and so long until it is stopped, though it lives */
#define SCANNER_IDLE (60000 * MS)       /* the guard that answers SCAN ends when nobody has asked for so long */
#define KILL_TIME (20000 * MS)          /* one that was stopped is gone after so long, or its requests wait no longer */

struct broker_settings {                /* what `veritas serve` says at the start: settings.c */
    unsigned queue;                     /* requests that may wait for one model */
    unsigned clients;                   /* connections with a place of their own */
    uint64_t memory;                    /* bytes that all workers may use together; UINT64_MAX: nobody said */
    uint64_t hang;                      /* a worker that works shows progress at least so often; in the unit of MS */
    enum vs_log_form log;
    json_t *delegates;                  /* uids whose programs may ask on behalf of others; NULL: none */
    json_t *aliases;                    /* an object: other names of models; NULL: none */
};

enum latency { LATENCY_QUEUE, LATENCY_FIRST_TOKEN, LATENCY_INTER_TOKEN, N_LATENCIES };
enum rate { RATE_PROMPT, RATE_GENERATED, N_RATES };
enum { N_BUCKETS = 112, N_SLICES = 6, N_SECONDS = 10, RATE_SECONDS = 8, RETRY_MS = 1000 };

struct measure {                        /* of a model, lately: measure.c */
    struct slice {
        uint64_t number;                /* of the ten seconds that it is about */
        uint32_t count[N_LATENCIES][N_BUCKETS];
        uint32_t n_ended;               /* requests */
    } slice[N_SLICES];
    struct second {
        uint64_t number, n[N_RATES];    /* tokens */
    } second[N_SECONDS];
    uint64_t since;                     /* so long requests have been ending, with no minute between */
};

enum count { COUNT_PROMPT, COUNT_CACHED, COUNT_GENERATED, COUNT_ACCEPTED, COUNT_REJECTED, COUNT_RESTARTS, N_COUNTS };
enum time { TIME_REQUEST, TIME_FIRST_TOKEN, TIME_INTER_TOKEN, TIME_QUEUE, N_TIMES };
enum { N_BOUNDS = 12 };

struct turn {                           /* whose it is: that of who was served fewest tokens, then of who was begun longest ago */
    uint64_t n_tokens, run_number;
};

/* What the line knows of who asks: of a connection, or of a person for whom a delegate asks. */
struct share {
    struct turn turn;
    unsigned n_requests;                /* that have not ended */
    unsigned n_waiting;                 /* for the model whose line is full */
};

struct who {                            /* who asks, and what he may */
    char name[VS_IDENTITY_NAME];        /* of his key; "": he has none, and is known by his uid */
    char id[VS_API_KEY_ID + 1];         /* of the key itself: a name may have two for a while */
    int64_t created;                    /* of the name */
    enum vs_role role;
    uint32_t scopes;
};

struct client {                         /* a process that has connections; or a person for whom a delegate asks, or a key */
    struct client *next;
    char person[VS_PERSON_BYTES];       /* "": a process */
    bool is_key;                        /* person is the name of a key */
    struct share share;                 /* of a person */
    pid_t pid;
    uint64_t number;                    /* tells the worker who shares places */
    unsigned n_peers, n_requests;       /* n_requests: of all its connections, that have not ended */
    unsigned n_counted;                 /* connections, when places are given */
    unsigned n_runs;                    /* of the model whose line moves; */
    unsigned n_of_class[VS_N_PRIORITIES];        /* of these, by the priority that was asked for */
    struct turn turn, last_turn;        /* last_turn: of the connection that was begun last */
    struct vs_budget memory;
};

struct peer {                           /* a connection */
    struct peer *next;
    struct client *client;
    struct vs_conn conn;
    struct vs_budget memory;
    uid_t uid;
    pid_t pid;
    int64_t owner;                      /* whose its requests are, for the worker: uid, or a number of its own */
    struct who who;
    char late_key[VS_API_KEY_LENGTH + 1];        /* its HELLO's, while that waits until the list has it, */
    uint64_t late_at;                   /* at most until then; "": it does not wait */
    char name[64];                      /* what it calls itself: only to show */
    bool is_private;                    /* of the client to whom the daemon belongs, */
    bool is_attached;                   /* and not its first one, as long as which the daemon lives */
    bool is_guest;                      /* has no place of its own */
    bool has_more;                      /* whole frames of it wait for the next turn */
    bool is_stalled;                    /* its socket took no more; until poll says that it takes some again */
    uint64_t together_until;            /* 0, or: what is said waits so long for the end of its request, and that for the log */
    bool gone;                          /* freed by sweep, its requests are cancelled there */
    uint64_t close_at;                  /* 0, or: refused; closed when its output is sent or at this time */
    uint64_t byte_at, frame_at;         /* last byte of, and begin of, an unfinished frame (or of the time before HELLO) */
    uint64_t descriptor_at;             /* 0, or since when a descriptor waits */
    uint64_t served_at;                 /* its last frame */
    struct share share;
    struct request *requests;
    unsigned n_requests;                /* that have not ended */
};

/* CLOSING: it has ended, and its client is told when the log has it. */
enum request_place { PLACE_NONE, PLACE_QUEUED, PLACE_RUNNING, PLACE_ASKED, PLACE_CLOSING, PLACE_ENDED };

struct request {                        /* of a client, from its frame to the one frame that ends it */
    struct request *next;               /* in its queue */
    struct request *peer_next;
    struct peer *peer;
    struct client *client;              /* who asks: the peer's, or a person */
    struct share *share;                /* its part of the line: the peer's, or the person's */
    int64_t owner;                      /* whose it is, for the worker */
    struct who who;
    char *late_key;                     /* of a WHOAMI, that waits until the list has it, at most until late_at; NULL */
    uint64_t late_at;
    struct account *account;            /* whose limits it counts against; NULL: nobody's */
    uint64_t charged;                   /* tokens, when it came */
    char remote[VS_PERSON_BYTES];       /* where who asks is, as a gateway says; "": here */
    struct model *model;
    struct run *run;                    /* PLACE_RUNNING */
    enum request_place place;
    uint16_t type;
    uint64_t id, asked_id;              /* the client's; PLACE_ASKED: the question to the supervisor that answers it */
    json_t *alias;                      /* LOAD: a name that the model is to have when it is loaded; NULL: none */
    bool began;                         /* a worker has or had it: its failure is an ERROR */
    bool gave_up;                       /* its place, for one whose process has fewer; until it has another */
    struct vs_buf body;                 /* as it came; kept until the request ends: another worker may have to read it */
    size_t body_bytes;                  /* of it, also when it is not kept any more */
    char trace[VS_TRACE_BYTES];         /* "": none */
    size_t counted;                     /* bytes taken of the peer's memory */
    unsigned priority;                  /* VS_PRIORITY_* as asked for */
    uint64_t arrived_at, deadline;      /* NEVER when none */
    uint32_t credit;                    /* while it waits: bytes of output that may come */
    struct sent {                       /* of each choice, the tokens that the client has; VS_NO_TOKEN for more text of one */
        uint32_t *id;
        uint32_t n, cap;
    } *sent;
    unsigned n_choices, n_tokens;       /* n_tokens: of all choices */
    unsigned n_prompt;                  /* tokens of its prompt, once a worker has read all of it; 0: not known */
    bool has_index;                     /* its tokens say of which choice they are */
    bool hides_ids;                     /* its ids are withheld: each of its frames is a token */
    bool is_lost;                       /* bytes of it went out that another worker could not go on behind */
    bool is_suspect;                    /* it may have ended a worker: it runs alone */
    unsigned n_deaths, n_crashes;       /* workers that died under it; of these, otherwise than by SIGKILL */
    unsigned n_resumed, n_since;        /* n_since: tokens since it was given to another worker */
    uint64_t lost_run;                  /* 0, or the run that it was of the worker that died: its guard remembers it */
    uint64_t token_at;                  /* 0, or when its last token came */
    uint64_t begun_at, first_at;        /* 0, or when a worker first had it; when its first token came */
    uint64_t number;                    /* in the log */
    bool is_recorded, waits_for_log;    /* the log hears of it; its first record is not there yet */
    struct vs_buf unhashed;             /* that record's fields, while the HMAC of a large body is under way; else empty */
    struct request *next_unhashed;
    struct vs_sha256 body_sum;
    size_t n_hashed;                    /* bytes of the body */
    char policy[65];                    /* digest of the one that held when it came; "": unknown */
    struct vs_sha256 text_sum;          /* of the text that went to the client: an HMAC that is under way */
    size_t text_bytes;
    uint64_t first_record;              /* of its records; 0: the log has none */
    struct record *begin_record, *end_record;   /* that it waits for (audit.c), or NULL: they point back */
    struct receipt *receipt;            /* receipt.c; NULL: none is wanted */
    unsigned n_awaited;                 /* PLACE_CLOSING: its record is to be written, its receipt to be signed */
    struct vs_usage usage;              /* as its end tells it, where has_usage: also when that cannot be logged or signed */
    bool has_usage;
    uint16_t closing_type;              /* the frame that ends it, */
    struct vs_buf closing;              /* and its payload */
};

struct queue {
    struct request *first, *last;
    unsigned n;
};

struct run {                            /* of a worker, from the frame to it to the one that ends it */
    struct run *next;                   /* the one that was begun after it */
    struct request *request;            /* NULL: nobody waits for it any more */
    uint64_t id;
    uint16_t type;
    bool is_alone;                      /* no other is begun beside it */
    uint32_t credit, wants;             /* bytes of output that may still come; that the worker waits for */
    uint64_t blocked_at;                /* 0, or since when it waits for credit */
    bool is_taken_back;                 /* it goes back into the line as soon as the worker has let go of it */
    int cancel;                         /* VS_OK, or why the worker was told to stop, */
    const char *cancel_text;            /* in words */
    uint64_t cancel_at;
};

#define STATS_MAP(X) X(pages) X(used) X(cached) X(page_bytes) X(parked) X(preemptions) X(prompt_tokens)
enum {                                  /* numbers that a worker says of itself */
#define STATS_ENUM(name) STATS_##name,
    STATS_MAP(STATS_ENUM)
    N_STATS
};

enum model_state { MODEL_STARTING, MODEL_LOADING, MODEL_READY, MODEL_DEAD };

struct model {
    struct model *next;
    uint64_t id;                        /* between us and the supervisor */
    char *name;
    json_t *settings;                   /* as asked for; an object; once it was started, as the supervisor says */
    json_t *aliases;                    /* names that it got while it was loaded, beside that of its settings; NULL: none */
    bool by_descriptor, gone, has_more;
    bool by_request;                    /* a request's name brought it; nobody loaded it */
    bool is_scanner;                    /* no model: a guard of its own that answers SCAN. Nobody sees it, nothing counts it */
    struct vs_files files;              /* by_descriptor, until it is started; else none */
    bool is_asked;                      /* the supervisor was asked to start it */
    bool was_ready;                     /* its file can be loaded, and somebody relies on its settings */
    unsigned n_asked;
    uint64_t needed, room;              /* bytes that it will take, as far as its file tells; that it may take */
    uint64_t used_at;                   /* when somebody used it last */
    char file[VS_FILE_IDENTITY];        /* by_descriptor: which file it was */
    enum model_state state;
    struct vs_conn conn;
    struct vs_budget memory;
    pid_t pid;
    json_t *path, *bytes, *origin;      /* as the supervisor says */
    /* hex SHA-256 of the file, "" until its worker says it; only to show: results have their own */
    char digest[65];
    json_t *facts, *sandbox;            /* as the worker says; they do not change */
    json_t *guard, *guard_sandbox;      /* the process between: as the supervisor says, NULL: there is none; as it says itself */
    struct queue queue;
    struct run *runs;                   /* that the worker has, in the order in which they were begun */
    unsigned n_runs, parallel;          /* parallel: so many in a step, as the worker says */
    bool can_go_on;                     /* the worker takes tokens that were sent already */
    uint64_t heard_at;                  /* the worker's last sign of life, or when it was last to begin something */
    struct {
        uint64_t since;                 /* the first answer: they had no processor for so long, which is no silence of theirs, */
        uint64_t worker, guard;         /* of what the supervisor says: since they were started */
        uint64_t first, at;             /* 0, or when it first and last said so */
        bool is_asked;
    } waited;
    char killed_for[128];               /* "", or why it was stopped; soon the supervisor says that it ended */
    bool is_dead;                       /* it has ended: nothing is given to it any more */
    int64_t stats[N_STATS];
    struct measure measure;
    bool is_suspicious;                 /* what it was stopped for may be a request's doing */
    uint64_t killed_at, dead_at, log_second;
    struct death {
        int code;
        char text[512];
        char call[64];                  /* "", or the system call that it tried */
        bool by_sigkill;                /* from outside: no request's doing */
        bool is_last;                   /* there will be no other worker */
        bool by_guard;                  /* it was the guard that died, and took its worker along */
    } death;                            /* how its worker ended, while its guard still tells what it said */
    uint64_t told_at;                   /* 0, or since when that is so */
    unsigned n_logs, n_served, n_restarts;
};

struct audit {                          /* the log: audit.c */
    bool is_on, continues;              /* there is one; requests are answered also when it can't be written */
    bool is_failed;                     /* it can't */
    bool is_known;                      /* this writer has said what is written */
    struct vs_conn conn;
    struct vs_budget memory;
    uint8_t key[32];                    /* of the HMAC of texts */
    char source[17];                    /* who we are */
    uint64_t n_made, n_requests, n_missed;      /* records; requests that were numbered; records that were not kept */
    struct record *first, *last, *unsent;       /* made, and not known to be written; the first that is not sent yet */
    unsigned n_kept;
    uint64_t gone_at;                   /* 0, or since when nobody writes */
    uint64_t ask_at;                    /* gone: when the supervisor is asked for another link */
    struct request *unhashed;           /* whose bodies are being hashed, the first that came first */
    char policy[65];                    /* digest of the one that holds */
    struct receipt *unhashed_receipts;  /* of requests whose bodies are being hashed */
    struct made *unsigned_first;        /* receipts that are to be signed, */
    uint64_t n_receipts;                /* the last of them by number */
};

enum receipts { RECEIPTS_OFF, RECEIPTS_ON_REQUEST, RECEIPTS_ALWAYS };  /* as policy/policy.h has them */

struct broker {
    struct broker_settings settings;
    unsigned spare_files;               /* of MAX_SPARE, what the limit on open files leaves: half for each */
    int listen_fd;                      /* -1: private */
    struct vs_conn control;             /* the supervisor */
    struct vs_budget control_memory;
    uid_t uid;                          /* who may connect, beside root and, where has_group, whom the socket lets in */
    struct vs_identities keys;
    bool require_key, has_group;
    struct vs_lockout lockout;
    unsigned n_late;                    /* requests with a late_key */
    struct account *accounts[N_ACCOUNT_LISTS];
    json_t *limits;                     /* {"default", "keys"}; NULL: none */
    struct client *clients;
    struct peer *peers;
    struct model *models;
    struct queue asked;                 /* LIST requests that wait for the supervisor */
    struct queue asked_each;            /* and those with a question of their own: AUDITLOG, LOAD that gives another name */
    uint64_t asked_id;                  /* the question that is under way, or 0 */
    unsigned n_peers, n_models, n_persons;
    struct vs_budget memory, clients_memory;
    uint64_t last_id, last_run, last_peer, last_client, now, started_at;
    struct turn last_turn;              /* of the process that was begun last: who comes back has at least so many tokens */
    uint64_t accept_at;                 /* accept failed: not before */
    bool is_open;                       /* the supervisor lets clients in */
    bool draining, ending;
    uint64_t drained_at;                /* draining: when what is still being answered is cut off */
    uint64_t cut_time;                  /* CUT_TIME or CANCEL_TIME: after that nobody waits for a receipt's part */
    bool quiet;                         /* a private daemon's client says itself what went wrong */
    uint64_t log_second;
    unsigned n_logs, n_left_out, n_ends_left_out;          /* lines; of these, lines of requests that ended */
    json_t *sandbox;
    struct metrics *metrics;            /* metrics.c; NULL: nothing was counted yet */
    struct refused *refused;            /* refused.c; NULL: none */
    struct audit audit;
    unsigned receipts;                  /* RECEIPTS_*: who gets one */
    bool keeps;                         /* what is withheld from clients goes to the operator's file */
    unsigned n_refused;
    struct pollfd *polls;               /* of the turn; room for n_polls */
    void **polled;
    size_t n_polls;
};

/* loop.c */
void broker_init(struct broker *b);
void broker_loop(struct broker *b);
void broker_turn(struct broker *b, bool wait);
void broker_sweep(struct broker *b);    /* frees what has ended or is gone */
void broker_clear(struct broker *b);    /* what is left, when all connections and models are gone */
unsigned broker_connections(const struct broker *b);   /* that may be there at once */
#define VS_EVENT_REQUEST_END "request_end"
/* One line on stderr, in words; with _event fields for machines too, and words NULL where the fields say it all (base/log.h). */
void broker_log(struct broker *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void broker_log_event(struct broker *b, enum vs_log_level level, const char *event, const struct vs_log_field *fields, size_t n,
                      const char *words);

/* settings.c */
void settings_init(struct broker_settings *s);                 /* the defaults */
int settings_read(struct broker_settings *s, int fd, struct vs_error *err);     /* JSON, keys serve.*; VS_E_INVALID */

/* peer.c: who may come, what it costs us */
uint16_t peer_unhandled(void);          /* 0, or a message without handler or row */
struct peer *peer_add(struct broker *b, int fd, bool is_private);     /* takes fd over; NULL: it is none, or no memory */
bool peer_is_delegate(const struct broker *b, const struct peer *p);    /* may it say for whom it asks? */
void peer_accept(struct broker *b);
bool peer_is_heard(const struct peer *p);                      /* do we listen to it now? */
void peer_ready(struct broker *b, struct peer *p, short events);
uint64_t peer_timers(struct broker *b, struct peer *p);        /* acts on what is due; when it is to be asked again */
void peer_refuse(struct broker *b, struct peer *p, int code, const char *text);   /* ERROR 0, then it is closed */
void peer_refuse_for(struct broker *b, struct peer *p, const struct vs_error *why);        /* with its retry_after_ms */
/* What is sent in a turn of the loop goes out together at its end (_flush). Sending only marks a peer that can't be reached.
 * _parts: a payload in two pieces; VS_E_LIMIT: no room, nothing was sent. */
void peer_flush(struct peer *p);
void peer_judge_late(struct broker *b, struct peer *p);        /* its late_key is looked at again */
void ask_judge_late(struct broker *b, struct request *r);      /* the same */
void ask_forget_late(struct broker *b, struct request *r);
void peer_send(struct broker *b, struct peer *p, uint16_t type, uint16_t flags, uint64_t id, const void *data, size_t n);
/* With descriptors, which stay the caller's. VS_E_BUSY: earlier ones have not gone out yet. */
int peer_send_files(struct peer *p, uint16_t type, uint64_t id, const void *data, size_t n, const struct vs_files *files);
int peer_send_parts(struct broker *b, struct peer *p, uint16_t type, uint64_t id, const void *head, size_t n, const void *body,
                    size_t m);
bool peer_has_place(struct broker *b, struct peer *p);         /* for more than a guest may ask; finds one where there is one */

/* ask.c: what clients ask for */
uint16_t ask_unhandled(void);
void ask_request(struct broker *b, struct peer *p, struct vs_frame *f);
void ask_models_known(struct broker *b);                       /* the supervisor answered; asks again for those who came since */
void ask_log_known(struct broker *b, struct vs_frame *f, const json_t *message);       /* the supervisor's FILES */

/* who.c: keys, and what who asks may ask */
void who_read(struct broker *b, int fd);                       /* the supervisor's list, as it is from now on */
json_t *who_keys_json(const struct broker *b);         /* which keys there are, as a number and a digest; a new reference */
/* HELLO: sets p->who. key NULL: it has none. VS_E_KEY: it is needed, or no good; VS_E_BUSY: too many were tried. */
int who_of_peer(struct broker *b, struct peer *p, const char *key, struct vs_error *err);
int who_of_request(struct broker *b, struct request *r, const struct vs_head *head, struct vs_error *err);     /* sets r->who */
bool who_may_come(const struct broker *b, const struct peer *p, const char *key);      /* nobody's, but it may be a new one */
bool who_may(const struct who *w, uint32_t scope);
uint32_t who_scope_of(uint16_t type);                          /* VS_SCOPE_* that a request needs; 0: none */
int64_t who_owner(const struct who *w, int64_t owner);         /* for the worker: of the key, else `owner` */
json_t *who_json(const struct who *w);

/* limits.c: how much he may ask */
/* It comes, and wants to ask m (NULL: it is not there yet). false: it has been answered. */
bool limits_begin(struct broker *b, struct request *r, size_t body_bytes, const struct model *m);
unsigned limits_priority(const struct request *r, unsigned asked);     /* the class that it gets */
void limits_grow(struct request *r);                           /* by a token */
void limits_end(struct broker *b, struct request *r, const struct vs_outcome *o);
void limits_changed(struct broker *b, const json_t *limits);   /* borrowed; what was used stays used */
void limits_free(struct broker *b);

/* alias.c */
const char *alias_resolve(struct broker *b, const char *name);     /* the model that a client means; name when it is no alias */
/* May the model `name` have this alias (a string; NULL: none)? VS_E_INVALID. */
int alias_check(struct broker *b, const char *name, const json_t *alias, struct vs_error *err);
bool alias_is_given(struct broker *b, const struct model *m, const char *alias);
/* The supervisor is asked whether a model that is loaded may have the name that r brought; r ends with its answer. */
void alias_ask(struct broker *b, struct model *m, struct request *r);
void alias_told(struct broker *b, struct vs_frame *f, const json_t *message);
/* r waits for that answer no more: unless the model has the name, or another one asks for it, the supervisor takes it back. */
void alias_withdraw(struct broker *b, const struct request *r);
json_t *alias_json(const struct broker *b);                    /* all: a new object, the model's name by the other one */

/* request.c */
struct request *request_create(struct broker *b, struct peer *p, uint16_t type, uint64_t id);
struct request *request_find(const struct peer *p, uint64_t id);
/* It is this person's, and the peer asks for it. False: no memory. */
bool request_speak_for(struct broker *b, struct request *r, const char *person);
bool request_speak_as(struct broker *b, struct request *r);    /* as the key that r->who names */
/* Its worker stops, and it ends now, or, where it is to have a receipt, when its worker has said what was computed. The text must
 * stay. */
void request_withdraw(struct broker *b, struct request *r, int code, const char *text);
/* It ends now, for what it was withdrawn for, if it was. */
void request_cut(struct broker *b, struct request *r, int code, const char *text);
bool request_keep(struct request *r, size_t n);                /* counts n bytes of the peer's memory for it */
/* A TOKEN frame goes to the client. Is it a token, rather than more text of one? */
bool request_note(struct request *r, const struct vs_token_view *t, bool has_index);
void request_lose(struct request *r);                          /* what goes out now no other worker could go on behind */
bool request_can_go_on(const struct request *r);               /* in another worker */
/* The terminal frame: outcome, and the bytes of a body (may be NULL). r is freed by sweep. */
void request_end(struct broker *b, struct request *r, uint16_t type, const struct vs_outcome *outcome, const void *body, size_t n);
/* Its record is written, or a receipt of it signed: when all are, the client is told. A failure (NULL: none): it is told that. */
void request_deliver(struct broker *b, struct request *r, const char *failure);
/* Of an answer whose end does not say it: what the worker took of the prompt, when we know, and what came of it. */
void request_usage(const struct request *r, struct vs_outcome *o);
/* REJECTED or ERROR, as its place says; VS_E_BUSY says when to come again. */
void request_fail(struct broker *b, struct request *r, int code, const char *text);
void request_fail_hints(struct broker *b, struct request *r, int code, const char *text, const struct vs_outcome_hints *hints);
void request_complete(struct broker *b, struct request *r, json_t *result);            /* steals result */
void queue_add(struct queue *q, struct request *r);
void queue_remove(struct queue *q, struct request *r);
struct request *queue_find_asked(const struct queue *q, uint64_t asked_id);     /* NULL: none */

/* measure.c: times are in the unit of MS; JSON is a new reference */
void measure_latency(struct measure *m, uint64_t now, enum latency kind, uint64_t time);
void measure_tokens(struct measure *m, uint64_t now, enum rate kind, uint64_t n);
void measure_end(struct measure *m, uint64_t now);             /* a request ended */
uint64_t measure_retry_ms(const struct measure *m, uint64_t now, unsigned n_waiting);  /* until so many have had their turn */
/* Until one of the model's n_there requests ends that is there for `age`. m NULL: nothing was measured. */
uint64_t measure_end_ms(const struct measure *m, uint64_t now, unsigned n_there, uint64_t age);
json_t *measure_latency_json(const struct measure *m, uint64_t now);
json_t *measure_rate_json(const struct measure *m, uint64_t now);

/* metrics.c: counts since the start, by the model's name; JSON is a new reference */
void metrics_count(struct broker *b, const struct model *m, enum count kind, int64_t n);
void metrics_time(struct broker *b, const struct model *m, enum time kind, uint64_t ns);
void metrics_usage(struct broker *b, const struct model *m, const struct request *r, const struct vs_outcome *o);
void metrics_end(struct broker *b, const struct request *r, const struct vs_outcome *o);      /* a request of a model has ended */
json_t *metrics_json(struct broker *b);
json_t *metrics_traces_json(struct broker *b);                 /* each traced request is told once */
void metrics_free(struct broker *b);

/* receipt.c */
/* Where one is wanted: from here on. VS_E_DENIED, VS_E_NOMEM: it can't be. */
int receipt_begin(struct broker *b, struct request *r, const struct vs_head *head, const struct vs_payload *p,
                  struct vs_error *err);
void receipt_head(const struct request *r, struct vs_head *ret);       /* what its worker is told */
void receipt_token(struct request *r, const struct vs_token_view *t);  /* goes to its client */
void receipt_on_part(struct broker *b, struct model *m, struct vs_frame *f);
void receipt_on_kept(struct broker *b, struct model *m, struct vs_frame *f);   /* content, of which the operator keeps some */
/* How it ended. So many are to be signed before its client is told (request_deliver). */
unsigned receipt_end(struct broker *b, struct request *r, const struct vs_outcome *o);
json_t *receipt_chains(const struct request *r);               /* of its answers, for the log: a new list */
void receipt_opens(const struct request *r, struct vs_outcome *ret);   /* what the client needs to read it */
void receipt_tell(struct broker *b, struct request *r);       /* the client gets what is signed */
size_t receipt_bound(const struct request *r);                 /* bytes of the frames that tell it */
size_t receipt_kept_bytes(const struct request *r);            /* of its KEPT frames, until they are signed and it is freed */
void receipt_free(struct broker *b, struct request *r);
void receipts_hash(struct broker *b);                          /* a slice of a large body, where one is to be hashed */
void receipt_lose_body(struct request *r);                     /* its body goes away */
uint64_t receipts_since(const struct broker *b);               /* when the oldest was to be signed; 0: none waits */
void receipts_send(struct broker *b);                          /* to who signs, as far as he is there */
void receipts_unsend(struct broker *b);                        /* he is another one */
void receipts_on_signed(struct broker *b, const struct vs_frame *f);
void receipts_fail(struct broker *b, const char *why);         /* nobody signs */

/* audit.c */
void audit_failed(struct broker *b, const json_t *message);            /* the supervisor says why there is no writer */
uint16_t audit_unhandled(void);
void audit_open(struct broker *b, int fd, const json_t *settings);     /* a writer is there; takes over fd */
void audit_ready(struct broker *b, short events);
void audit_flush(struct broker *b);                                    /* what was said in this turn goes out together */
uint64_t audit_timers(struct broker *b);
/* Records a request that has come, when there is a log. False: it can't be, and so nobody may have it. */
bool audit_begin(struct broker *b, struct request *r, const struct vs_head *head, const struct vs_payload *p);
void audit_text(struct broker *b, struct request *r, const char *text, size_t n);      /* goes to its client */
/* Records how it ended. Its client is told now; when that is written (request_deliver); not this, for it cannot be recorded. */
enum audit_ends { AUDIT_TELL, AUDIT_WAIT, AUDIT_LOST };
enum audit_ends audit_end(struct broker *b, struct request *r, const struct vs_outcome *o);
void audit_hash(struct broker *b);      /* a slice of a large body, where one is to be hashed */
/* Its client does not get what the record of its end says. */
void audit_undelivered(struct broker *b, struct request *r, const char *why);
void audit_forget(struct request *r);   /* it is freed */
void audit_note(struct broker *b, const char *event, json_t *fields);  /* anything else; steals fields */
void audit_clear(struct broker *b);

/* refused.c */
void refused_add(struct broker *b, const struct request *r);
void refused_restore(struct broker *b, const json_t *message);     /* of the time before a broker died */
bool refused_has(const struct broker *b, const struct request *r);
void refused_free(struct broker *b);

/* ledger.c */
uint64_t ledger_bytes(const struct model *m);                  /* that it takes, or will take */
uint64_t ledger_used(const struct broker *b);
void ledger_start_next(struct broker *b);                      /* asks the supervisor for the next model that is to come */
/* The supervisor says that m needs more than there is room: room is made, or its requests fail. */
void ledger_refused(struct broker *b, struct model *m, uint64_t needed, const struct vs_error *why);
/* Unloads a model that nobody loaded and nobody has used for so long; false: there is none. */
bool ledger_give_up_one(struct broker *b, uint64_t idle);

/* line.c: who waits for a model, and who is next */
void line_enter(struct broker *b, struct model *m, struct request *r);
/* Who is to be begun next, when there is a place; NULL: nobody. Of one client no more than fit into a step. Counts the places of
 * each client that has one or waits (n_runs). */
struct request *line_next(struct broker *b, const struct model *m);
unsigned line_priority(const struct broker *b, const struct request *r);       /* as it is after its wait */
void line_begun(struct broker *b, struct request *r, uint64_t run);
void line_served(struct request *r, uint64_t n);               /* n tokens of work were done for it */

/* run.c: requests that a worker has, and what it says of them */
void run_pump(struct broker *b, struct model *m);              /* begins what may be begun */
struct run *run_find(const struct model *m, uint64_t id);
void run_end_all(struct broker *b, struct model *m, int code, const char *text);
void run_end_lost(struct broker *b, struct model *m, int code, const char *text);      /* and those that wait to go on */
/* Their worker is gone: they go on in the next one, those that can. is_suspicious: one of them may have ended it. */
void run_lose_all(struct broker *b, struct model *m, int code, const char *text, bool is_suspicious);
void run_forget(struct model *m, uint64_t run);                /* nobody goes on with what it was */
bool run_is_working(const struct model *m);                    /* not when all of them wait for credit: that is for us to give */
void run_cancel(struct broker *b, struct model *m, struct run *run, int code);
void run_withdraw(struct broker *b, struct model *m, struct run *run, int code, const char *text);     /* for a reason of ours */
void run_leave(struct broker *b, struct model *m, struct run *run);    /* nobody hears its end; the worker keeps it until then */
void run_timers(struct broker *b, struct model *m, uint64_t *next);
void run_on_stream(struct broker *b, struct model *m, struct vs_frame *f);
void run_on_blocked(struct broker *b, struct model *m, struct vs_frame *f);
void run_on_terminal(struct broker *b, struct model *m, struct vs_frame *f);

/* model.c */
uint16_t model_unhandled(void);
struct model *model_find(struct broker *b, const char *name);
struct model *model_find_id(struct broker *b, uint64_t id);
/* Starts one (files: borrowed, may be none; file: their identity); NULL and err when it can't. settings is borrowed. */
struct model *model_create(struct broker *b, const char *name, const json_t *settings, const struct vs_files *files,
                           const char *file, struct vs_error *err);
struct model *model_scanner(struct broker *b, struct vs_error *err);           /* starts it when it isn't there */
void model_enqueue(struct broker *b, struct model *m, struct request *r);
void model_tell_loaded(struct broker *b, struct model *m, struct request *r);  /* a LOAD ends */
/* Its worker is there; takes over fd. _restore: a model of the time before a broker died. */
void model_started(struct broker *b, struct model *m, int fd, const json_t *message);
struct model *model_restore(struct broker *b, uint64_t id, const json_t *message);
/* Its worker, or its guard, has ended: why, and the supervisor's message with `sigkill`, `last`, `guard`. */
void model_exited(struct broker *b, struct model *m, const struct vs_error *why, const json_t *message);
void model_ready(struct broker *b, struct model *m, short events);
uint64_t model_timers(struct broker *b, struct model *m);
void model_heard(const struct broker *b, struct model *m);     /* a sign of life, or it is only now to do something */
/* So long both have waited for a processor since they were started, as the supervisor says. */
void model_waited(const struct broker *b, struct model *m, uint64_t worker, uint64_t guard);
/* This process was stopped for a while (a paused container, a machine without time): the silence of workers says nothing. */
void model_forgive_pause(struct broker *b);
void model_cancel(struct broker *b, struct request *r, int code);      /* wherever it is */
void model_credit(struct broker *b, struct request *r, uint32_t n);
bool model_is_answering(const struct model *m);                /* somebody waits for it */
/* All its requests end with this error; the worker is stopped. */
void model_drop(struct broker *b, struct model *m, int code, const char *text);
/* The worker is ended and started again; who waits for it waits on. */
void model_stop_worker(struct broker *b, struct model *m, const char *text, bool is_suspicious);
void model_violation(struct broker *b, struct model *m, const char *what);     /* its worker broke the protocol */
void model_count(const struct model *m, unsigned *ret_running, unsigned *ret_waiting);     /* requests in a step, and not in one */
/* As they took effect: what was given, and what the worker made of the rest, which its facts tell. A new reference. */
json_t *model_settings(const struct model *m);
json_t *model_describe(const struct broker *b, const struct model *m);         /* describe.c */
bool due(const struct broker *b, uint64_t at, uint64_t *next); /* is it time? else next is no later than at */

/* control.c */
uint16_t control_unhandled(void);
void control_open(struct broker *b, int fd);
/* VS_OK, or VS_E_BUSY: not now. value may be NULL, and is stolen; files are borrowed; NULL: none. */
int control_send(struct broker *b, uint16_t type, uint64_t id, json_t *value, const struct vs_files *files);
void control_ready(struct broker *b, short events);
#endif
