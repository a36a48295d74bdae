#include "node/smtp/smtpd.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/fsm.h"

#define IN_TRANSACTION (FSM_TO(SMTPD_MAIL) | FSM_TO(SMTPD_RCPT))
#define IDLE           (FSM_TO(SMTPD_HELO) | FSM_TO(SMTPD_READY))
#define ANY            (IDLE | IN_TRANSACTION)
#define REFUSAL_BYTES  500 /* shown of a refusal that policy gave */

static const struct fsm_state states[SMTPD_STATES] = {
    [SMTPD_OPEN] = {"OPEN", FSM_TO(SMTPD_HELO) | FSM_TO(SMTPD_CLOSED)},
    [SMTPD_HELO] = {"HELO", FSM_TO(SMTPD_READY) | FSM_TO(SMTPD_CLOSED)},
    [SMTPD_READY] = {"READY", FSM_TO(SMTPD_READY) | FSM_TO(SMTPD_MAIL) | FSM_TO(SMTPD_TLS) |
                                  FSM_TO(SMTPD_CLOSED)},
    [SMTPD_MAIL] = {"MAIL", FSM_TO(SMTPD_RCPT) | FSM_TO(SMTPD_READY) | FSM_TO(SMTPD_CLOSED)},
    [SMTPD_RCPT] = {"RCPT", FSM_TO(SMTPD_RCPT) | FSM_TO(SMTPD_BODY) | FSM_TO(SMTPD_READY) |
                                FSM_TO(SMTPD_CLOSED)},
    [SMTPD_TLS] = {"TLS", FSM_TO(SMTPD_HELO) | FSM_TO(SMTPD_CLOSED)},
    [SMTPD_BODY] = {"BODY", FSM_TO(SMTPD_COMMIT) | FSM_TO(SMTPD_READY) | FSM_TO(SMTPD_CLOSED)},
    [SMTPD_COMMIT] = {"COMMIT", FSM_TO(SMTPD_READY) | FSM_TO(SMTPD_CLOSED)},
    [SMTPD_CLOSED] = {"CLOSED", 0},
};

typedef void handler_fn(struct smtpd *, struct str arg, struct smtpd_out *);
static handler_fn on_ehlo, on_helo, on_mail, on_rcpt, on_data, on_rset, on_noop, on_vrfy,
    on_expn, on_help, on_quit, on_starttls, on_not_offered, on_bdat;

/* One row per command: the verb, its argument, the states it is legal in, whether it is legal
 * while TLS is required and not there (RFC 3207 4), what it does. */
enum arg { NO_ARG, MAY_ARG, MUST_ARG };
static const struct command {
    struct str verb;
    enum arg arg;
    uint32_t in;
    bool before_tls;
    handler_fn *run;
} commands[] = {
    {{"EHLO", 4}, MUST_ARG, ANY, true, on_ehlo},
    {{"HELO", 4}, MUST_ARG, ANY, true, on_helo},
    {{"MAIL", 4}, MUST_ARG, FSM_TO(SMTPD_READY), false, on_mail},
    {{"RCPT", 4}, MUST_ARG, IN_TRANSACTION, false, on_rcpt},
    {{"DATA", 4}, NO_ARG, IN_TRANSACTION, false, on_data},
    {{"RSET", 4}, NO_ARG, ANY, false, on_rset},
    {{"NOOP", 4}, MAY_ARG, ANY, true, on_noop},
    {{"VRFY", 4}, MAY_ARG, ANY, false, on_vrfy},
    {{"EXPN", 4}, MAY_ARG, ANY, false, on_expn},
    {{"HELP", 4}, MAY_ARG, ANY, false, on_help},
    {{"QUIT", 4}, NO_ARG, ANY, true, on_quit},
    {{"STARTTLS", 8}, NO_ARG, FSM_TO(SMTPD_READY), true, on_starttls},
    {{"AUTH", 4}, MAY_ARG, ANY, false, on_not_offered},
    {{"ETRN", 4}, MAY_ARG, ANY, false, on_not_offered},
    {{"TURN", 4}, MAY_ARG, ANY, false, on_not_offered},
    {{"BDAT", 4}, MAY_ARG, ANY, false, on_bdat},
};

/* First words of other protocols. A browser, a proxy or a confused client may be made to send
 * mail commands behind them, so the session ends with such a line. */
static const struct str foreign[] = {
    {"GET ", 4},     {"POST ", 5},  {"PUT ", 4},     {"HEAD ", 5},
    {"DELETE ", 7},  {"PATCH ", 6}, {"OPTIONS ", 8}, {"TRACE ", 6},
    {"CONNECT ", 8}, {"PRI ", 4},   {"PROXY ", 6},   {"SSH-", 4},
};

/* --- replies --- */

/* Appends one reply: text may hold inner CRLFs, the last one is added here. */
__attribute__((format(printf, 2, 3))) static void reply(struct smtpd_out *out,
                                                        const char *format, ...)
{
    size_t room = sizeof out->reply - out->reply_n;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(out->reply + out->reply_n, room, format, args);
    va_end(args);
    ASSERT(n > 0 && (size_t)n + 2 < room);
    out->reply_n += (size_t)n;
    memcpy(out->reply + out->reply_n, "\r\n", 2);
    out->reply_n += 2;
}

static void close_silently(struct smtpd *s, struct smtpd_out *out)
{
    out->close = true;
    s->waiting = false;
    fsm_move(&s->state, SMTPD_CLOSED, states);
}

static void close_with(struct smtpd *s, struct smtpd_out *out, const char *text)
{
    reply(out, "%s", text);
    close_silently(s, out);
}

/* An answer to a client's mistake; too many of them end the session. */
static void complain(struct smtpd *s, struct smtpd_out *out, const char *text)
{
    if (++s->errors < LIMIT_SMTP_ERRORS)
        reply(out, "%s", text);
    else
        close_with(s, out, "421 4.7.0 Too many errors");
}

/* An answer to a command that moves no mail; too many of them end the session. */
static void answer_idle(struct smtpd *s, struct smtpd_out *out, const char *text)
{
    if (++s->idle_commands <= LIMIT_SMTP_IDLE_COMMANDS)
        reply(out, "%s", text);
    else
        close_with(s, out, "421 4.7.0 Too many commands without mail");
}

static void ask(struct smtpd *s, struct smtpd_out *out, enum smtpd_act what)
{
    ASSERT(!s->waiting);
    s->waiting = true;
    s->asked = what;
    out->act = what;
}

static void end_transaction(struct smtpd *s, struct smtpd_out *out)
{
    if (s->state != SMTPD_READY)
        out->act = SMTPD_ACT_RESET;
    s->rcpts = 0;
    s->domain_n = 0;
    s->eight_bit = false;
    fsm_move(&s->state, SMTPD_READY, states);
}

/* --- commands --- */

static bool is_helo_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    return s.n > 0 && s.n <= LIMIT_SMTP_HELO_BYTES;
}

/* RFC 5321 4.1.4: a name that cannot be verified is no reason to refuse; what is not text is.
 * In mid-session it acts like RSET. */
static bool greet(struct smtpd *s, struct str name, bool esmtp, struct smtpd_out *out)
{
    if (!is_helo_name(name)) {
        complain(s, out, "501 5.5.4 Not a host name");
        return false;
    }
    if (++s->idle_commands > LIMIT_SMTP_IDLE_COMMANDS) {
        close_with(s, out, "421 4.7.0 Too many commands without mail");
        return false;
    }
    memcpy(s->helo, name.p, name.n);
    s->helo_n = (uint16_t)name.n;
    s->esmtp = esmtp;
    if (s->state == SMTPD_HELO)
        fsm_move(&s->state, SMTPD_READY, states);
    else
        end_transaction(s, out);
    return true;
}

static void on_ehlo(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    const struct smtpd_options *o = s->options;

    if (!greet(s, arg, true, out))
        return;
    reply(out,
          "250-" STR_FMT "\r\n"
          "250-PIPELINING\r\n"
          "250-SIZE %llu\r\n"
          "250-8BITMIME\r\n"
          "250-LIMITS RCPTDOMAINMAX=1 RCPTMAX=%d MAILMAX=%d\r\n"
          "%s%s"
          "250 ENHANCEDSTATUSCODES",
          STR_ARG(o->hostname), (unsigned long long)o->max_body_bytes, LIMIT_SMTP_RCPTS,
          LIMIT_SMTP_MESSAGES, o->smtputf8 ? "250-SMTPUTF8\r\n" : "",
          o->tls_offered && !s->tls ? "250-STARTTLS\r\n" : "");
}

static void on_helo(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    if (greet(s, arg, false, out))
        reply(out, "250 " STR_FMT, STR_ARG(s->options->hostname));
}

static void on_mail(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    enum address_verdict v;

    if (!str_cut_nocase(&arg, STR("FROM:"))) {
        complain(s, out, "501 5.5.4 Syntax: MAIL FROM:<address>");
        return;
    }
    v = address_parse_mail(arg, &out->path, &out->params);
    if (v == ADDRESS_OK && out->params.smtputf8 && !s->options->smtputf8)
        v = ADDRESS_PARAM_UNKNOWN;
    if (v != ADDRESS_OK) {
        complain(s, out, address_reply(v, false));
    } else if (out->params.size_bytes > s->options->max_body_bytes) {
        reply(out, "552 5.3.4 Message too big, the limit is %llu bytes",
              (unsigned long long)s->options->max_body_bytes);
    } else if (s->messages >= LIMIT_SMTP_MESSAGES) {
        close_with(s, out, "421 4.7.0 Too many messages on one connection");
    } else {
        s->eight_bit = out->params.eight_bit;
        s->smtputf8 = out->params.smtputf8;
        ask(s, out, SMTPD_ACT_ASK_MAIL);
    }
}

/* One message goes to one domain, so that it has one holder and one plan: a recipient elsewhere
 * is put off to a transaction of its own, as RFC 9422 4.4 tells the client. */
static bool is_of_our_domain(struct smtpd *s, struct str domain)
{
    char buf[sizeof s->domain];
    struct str lower = str_lower(domain, buf, sizeof buf);

    if (s->rcpts > 0) /* of U-labels the shell knows what they stand for */
        return s->smtputf8 || str_eq(lower, smtpd_domain(s));
    if (lower.n > 0)
        memcpy(s->domain, lower.p, lower.n);
    s->domain_n = (uint16_t)lower.n;
    return true;
}

static void on_rcpt(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    enum address_verdict v;

    if (!str_cut_nocase(&arg, STR("TO:"))) {
        complain(s, out, "501 5.5.4 Syntax: RCPT TO:<address>");
        return;
    }
    v = address_parse_rcpt(arg, s->smtputf8, &out->path);
    if (v != ADDRESS_OK)
        complain(s, out, address_reply(v, true));
    else if (s->rcpts >= LIMIT_SMTP_RCPTS)
        reply(out, "452 4.5.3 Too many recipients"); /* RFC 5321 4.5.3.1.10 */
    else if (!is_of_our_domain(s, out->path.domain))
        reply(out, "452 4.5.3 One recipient domain per message");
    else
        ask(s, out, SMTPD_ACT_ASK_RCPT);
}

static void on_data(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    (void)arg;
    if (s->rcpts == 0) {
        /* RFC 2920 3.1: what a client that pipelines gets when all its recipients are refused
         */
        reply(out, "554 5.5.1 No valid recipients");
        return;
    }
    fsm_move(&s->state, SMTPD_BODY, states);
    reply(out, "354 End data with <CR><LF>.<CR><LF>");
    out->act = SMTPD_ACT_BODY;
}

static void on_rset(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    (void)arg;
    if (s->state != SMTPD_HELO)
        end_transaction(s, out);
    answer_idle(s, out, "250 2.0.0 Ok");
}

static void on_noop(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    (void)arg;
    answer_idle(s, out, "250 2.0.0 Ok");
}

/* RFC 5321 3.5.3: 252 for all, so that nobody learns which mailboxes exist. */
static void on_vrfy(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    (void)arg;
    answer_idle(s, out, "252 2.5.0 Not verified, send mail to try");
}

static void on_expn(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    (void)arg;
    answer_idle(s, out, "502 5.5.1 EXPN is not offered");
}

static void on_help(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    (void)arg;
    answer_idle(s, out, "214 2.0.0 RFC 5321");
}

static void on_quit(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    (void)arg;
    close_with(s, out, "221 2.0.0 Bye");
}

static void on_starttls(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    (void)arg;
    if (!s->options->tls_offered || s->tls) {
        complain(s, out,
                 s->tls ? "503 5.5.1 TLS is active already" : "502 5.5.1 TLS is not offered");
        return;
    }
    fsm_move(&s->state, SMTPD_TLS, states);
    reply(out, "220 2.0.0 Ready to start TLS");
    out->act = SMTPD_ACT_START_TLS;
}

static void on_not_offered(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    (void)arg;
    complain(s, out, "502 5.5.1 Command is not offered");
}

/* The octets of a chunk follow at once, whatever we answer: read as commands they would be mail
 * that somebody else wrote. */
static void on_bdat(struct smtpd *s, struct str arg, struct smtpd_out *out)
{
    (void)arg;
    close_with(s, out, "502 5.5.1 CHUNKING is not offered");
}

/* --- lines --- */

static bool takes_lines(const struct smtpd *s)
{
    return !s->waiting && (FSM_TO(s->state) & ANY) != 0;
}

static const struct command *find_command(struct str line, struct str *arg)
{
    struct str verb;

    *arg = line;
    verb = str_split(arg, ' ');
    str_skip(arg, ' ');
    while (str_ends(*arg, ' '))
        arg->n--; /* RFC 5321 4.1.1: white space before the CRLF is to be tolerated */
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (str_eq_nocase(verb, commands[i].verb))
            return &commands[i];
    return NULL;
}

static bool is_foreign(struct str line)
{
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
        if (str_starts_nocase(line, foreign[i]))
            return true;
    return false;
}

/* What is wrong with this command here, or NULL. */
static const char *find_fault(const struct smtpd *s, const struct command *c, struct str arg)
{
    if (c == NULL)
        return "500 5.5.2 Command not recognised";
    if (s->options->tls_required && !s->tls && !c->before_tls)
        return "530 5.7.0 Must issue a STARTTLS command first";
    if (!(c->in & FSM_TO(s->state)))
        return s->state == SMTPD_HELO ? "503 5.5.1 Say EHLO first"
                                      : "503 5.5.1 Bad sequence of commands";
    if (c->arg != MAY_ARG && (arg.n > 0) != (c->arg == MUST_ARG))
        return "501 5.5.4 Argument missing or not allowed";
    return NULL;
}

static void on_line(struct smtpd *s, struct str line, struct smtpd_out *out)
{
    struct str arg;
    const struct command *c = find_command(line, &arg);
    const char *fault = find_fault(s, c, arg);

    ASSERT(takes_lines(s));
    if (c == NULL && is_foreign(line))
        close_with(s, out, "421 4.7.0 This is an SMTP server");
    else if (fault != NULL)
        complain(s, out, fault);
    else
        c->run(s, arg, out);
}

static void on_bad_line(struct smtpd *s, enum wire_kind kind, struct smtpd_out *out)
{
    ASSERT(takes_lines(s));
    switch (kind) {
    case WIRE_NUL:
        complain(s, out, "501 5.5.2 NUL in a command");
        break;
    case WIRE_TOO_LONG:
        close_with(s, out, "500 5.5.2 Line too long");
        break;
    case WIRE_BARE_CR:
    case WIRE_BARE_LF:
        close_with(s, out, "500 5.5.2 Lines end with <CR><LF>");
        break;
    case WIRE_TLS: /* it would not understand a reply */
        close_silently(s, out);
        break;
    case WIRE_LINE:
    case WIRE_MORE:
        ASSERT(kind != WIRE_LINE && kind != WIRE_MORE);
    }
}

/* --- answers of the shell --- */

static void reply_refusal(struct smtpd_out *out, struct str r)
{
    char text[REFUSAL_BYTES];
    size_t n = r.n < sizeof text ? r.n : sizeof text;

    ASSERT(r.n > 3 && (r.p[0] == '4' || r.p[0] == '5'));
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(r.p[i] < ' ' || r.p[i] > '~' ? '?' : r.p[i]);
    reply(out, STR_FMT, (int)n, text);
}

static void refuse(struct smtpd *s, const struct smtpd_event *ev, struct smtpd_out *out)
{
    struct str r = ev->refusal;

    reply_refusal(out, r);
    if (s->asked == SMTPD_ACT_ASK_CONNECT || ev->refusal_closes)
        close_silently(s, out);
    else if (s->asked == SMTPD_ACT_ASK_RCPT && r.p[0] == '5' &&
             ++s->refused_rcpts >= LIMIT_SMTP_REFUSED_RCPTS)
        close_with(s, out, "421 4.7.0 Too many refused recipients");
}

static void on_verdict(struct smtpd *s, const struct smtpd_event *ev, struct smtpd_out *out)
{
    ASSERT(s->waiting);
    s->waiting = false;
    if (ev->refusal.n > 0) {
        refuse(s, ev, out);
    } else if (s->asked == SMTPD_ACT_ASK_CONNECT) {
        fsm_move(&s->state, SMTPD_HELO, states);
        reply(out, "220 " STR_FMT " ESMTP trispool", STR_ARG(s->options->hostname));
    } else if (s->asked == SMTPD_ACT_ASK_MAIL) {
        fsm_move(&s->state, SMTPD_MAIL, states);
        s->messages++;
        reply(out, "250 2.1.0 Ok");
    } else {
        fsm_move(&s->state, SMTPD_RCPT, states);
        s->rcpts++;
        reply(out, "250 2.1.5 Ok");
    }
}

static void on_open(struct smtpd *s, const struct smtpd_event *ev, struct smtpd_out *out)
{
    ASSERT(s->state == SMTPD_OPEN && !s->waiting);
    s->envelope_deadline_ms = ev->now_ms + LIMIT_SMTP_ENVELOPE_MS;
    if (ev->shutting_down)
        close_with(s, out, "421 4.3.2 Service not available, try another host");
    else
        ask(s, out, SMTPD_ACT_ASK_CONNECT);
}

/* RFC 3207 4.2: what was learned before TLS is forgotten. */
static void on_tls(struct smtpd *s, const struct smtpd_event *ev, struct smtpd_out *out)
{
    if (!ev->tls_ok) {
        close_silently(s, out);
        return;
    }
    fsm_move(&s->state, SMTPD_HELO, states);
    s->tls = true;
    s->esmtp = false;
    s->helo_n = 0;
    s->tls_text_n =
        (uint16_t)(ev->tls_text.n < sizeof s->tls_text ? ev->tls_text.n : sizeof s->tls_text);
    if (s->tls_text_n > 0)
        memcpy(s->tls_text, ev->tls_text.p, s->tls_text_n);
}

/* The reply that refuses a body, or NULL. */
static const char *body_refusal(const struct smtpd_event *ev)
{
    static const char *const by_violation[] = {
        [BODY_CLEAN] = NULL,
        [BODY_TOO_BIG] = "552 5.3.4 Message too big",
        [BODY_LINE_TOO_LONG] = "554 5.6.0 Line too long in message",
        [BODY_NUL] = "554 5.6.0 NUL byte in message",
        [BODY_BARE_CR] = "550 5.6.11 Bare <CR> in message",
        [BODY_BARE_LF] = "550 5.6.11 Bare <LF> in message",
    };
    static const char *const by_header[] = {
        [HEADER_OK] = NULL,
        [HEADER_TOO_BIG] = "552 5.3.4 Message header too big",
        [HEADER_LOOP] = "554 5.4.6 Mail loop: too many hops",
        [HEADER_OWN_LOOP] = "554 5.4.6 Mail loop: passed here before",
    };
    const char *text = by_violation[ev->violation];

    return text != NULL ? text : by_header[ev->header];
}

static void on_body_end(struct smtpd *s, const struct smtpd_event *ev, struct smtpd_out *out)
{
    const char *refusal = body_refusal(ev);

    ASSERT(s->state == SMTPD_BODY);
    ASSERT(!ev->endless || ev->violation != BODY_CLEAN);
    s->idle_commands = 0;
    s->envelope_deadline_ms = ev->now_ms + LIMIT_SMTP_ENVELOPE_MS;
    if (refusal == NULL && ev->refusal.n > 0) {
        reply_refusal(out, ev->refusal);
        end_transaction(s, out);
        return;
    }
    if (refusal == NULL) {
        fsm_move(&s->state, SMTPD_COMMIT, states);
        out->act = SMTPD_ACT_COMMIT;
        return;
    }
    reply(out, "%s", refusal);
    end_transaction(s, out);
    /* behind a smuggling attempt stand commands that the client may not know it sent */
    if (ev->endless || ev->violation >= BODY_BARE_CR)
        close_silently(s, out);
}

/* The one place where a storage outcome becomes a promise to a client (INV-1). */
static void on_commit(struct smtpd *s, const struct smtpd_event *ev, struct smtpd_out *out)
{
    char id[MID_TEXT_SIZE];

    ASSERT(s->state == SMTPD_COMMIT);
    end_transaction(s, out);
    s->envelope_deadline_ms = ev->now_ms + LIMIT_SMTP_ENVELOPE_MS;
    switch (ev->err) {
    case OK:
        reply(out, "250 2.0.0 Ok: queued as %s", mid_text(ev->mid, id));
        break;
    case E_FULL:
        reply(out, "452 4.3.1 No room for this message now");
        break;
    case E_TIMEOUT: /* aborted, and the abort is durable: the client keeps the message */
        reply(out, "451 4.3.0 Not stored, try again");
        break;
    default: /* undecided: any reply could turn out to be a lie, so the client gets none */
        close_silently(s, out);
    }
}

static void on_timeout(struct smtpd *s, struct smtpd_out *out)
{
    if (s->state == SMTPD_COMMIT)
        return; /* between the dot and the commit only EV_COMMIT answers */
    if (s->state == SMTPD_TLS)
        close_silently(s, out);
    else
        close_with(s, out, "421 4.4.2 Timed out");
}

/* --- the machine --- */

void smtpd_init(struct smtpd *s, const struct smtpd_options *options)
{
    ASSERT(options->hostname.n > 0 && options->hostname.n <= LIMIT_SMTP_DOMAIN_BYTES);
    ASSERT(options->max_body_bytes <= LIMIT_BODY_BYTES);
    ASSERT(options->tls_offered || !options->tls_required);
    *s = (struct smtpd){.options = options, .state = SMTPD_OPEN};
}

uint64_t smtpd_body_deadline(const struct smtpd *s, uint64_t input_bytes)
{
    const uint64_t most = LIMIT_BODY_BYTES + LIMIT_BODY_SWALLOW_BYTES;

    ASSERT(s->state == SMTPD_BODY);
    return s->body_start_ms + LIMIT_SMTP_DATA_MS +
           (input_bytes < most ? input_bytes : most) * 1000 / LIMIT_SMTP_DATA_MIN_RATE;
}

static void dispatch(struct smtpd *s, const struct smtpd_event *ev, struct smtpd_out *out)
{
    switch (ev->type) {
    case SMTPD_EV_OPEN:
        on_open(s, ev, out);
        break;
    case SMTPD_EV_LINE:
        on_line(s, ev->line, out);
        break;
    case SMTPD_EV_BAD_LINE:
        on_bad_line(s, ev->bad_line, out);
        break;
    case SMTPD_EV_VERDICT:
        on_verdict(s, ev, out);
        break;
    case SMTPD_EV_TLS:
        on_tls(s, ev, out);
        break;
    case SMTPD_EV_BODY_END:
        on_body_end(s, ev, out);
        break;
    case SMTPD_EV_COMMIT:
        on_commit(s, ev, out);
        break;
    case SMTPD_EV_TIMEOUT:
        on_timeout(s, out);
        break;
    case SMTPD_EV_SHUTDOWN:
        s->shutting_down = true;
        break;
    }
}

/* Says goodbye when the node stops and no transaction is open: a message that is under way, and
 * the question whether one may begin, are answered first. */
static void leave_if_stopping(struct smtpd *s, struct smtpd_out *out)
{
    bool unasked = s->state == SMTPD_OPEN || !s->waiting;

    if (s->shutting_down && unasked && (FSM_TO(s->state) & (IDLE | FSM_TO(SMTPD_OPEN)))) {
        out->act = out->act == SMTPD_ACT_RESET ? SMTPD_ACT_RESET : SMTPD_ACT_NONE;
        close_with(s, out, "421 4.3.2 Service shutting down");
    }
}

static uint64_t deadline(struct smtpd *s, const struct smtpd_event *ev)
{
    /* what the client did not cause does not give it more time */
    if (ev->type != SMTPD_EV_SHUTDOWN && ev->type != SMTPD_EV_TIMEOUT)
        s->command_deadline_ms =
            ev->now_ms + (s->state == SMTPD_TLS ? LIMIT_SMTP_TLS_MS : LIMIT_SMTP_COMMAND_MS);
    if (s->state == SMTPD_COMMIT || s->state == SMTPD_CLOSED)
        return 0;
    if (s->state == SMTPD_BODY)
        return smtpd_body_deadline(s, 0);
    if (s->state == SMTPD_TLS || s->command_deadline_ms < s->envelope_deadline_ms)
        return s->command_deadline_ms;
    return s->envelope_deadline_ms;
}

void smtpd_step(struct smtpd *s, const struct smtpd_event *ev, struct smtpd_out *out)
{
    int before = s->state;

    ASSERT(s->state != SMTPD_CLOSED);
    *out = (struct smtpd_out){.act = SMTPD_ACT_NONE};
    dispatch(s, ev, out);
    leave_if_stopping(s, out);
    if (s->state == SMTPD_BODY && before != SMTPD_BODY)
        s->body_start_ms = ev->now_ms;
    out->deadline_ms = deadline(s, ev);
    ASSERT((s->state != SMTPD_RCPT && s->state != SMTPD_BODY) || s->rcpts > 0);
    ASSERT(out->close == (s->state == SMTPD_CLOSED));
}

const char *smtpd_state_name(const struct smtpd *s)
{
    return states[s->state].name;
}
