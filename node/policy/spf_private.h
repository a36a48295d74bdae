/* What the parts of spf share: the grammar of records (spf_record.c), macros (spf_macro.c). */
#pragma once

#include "node/policy/spf.h"

/* Text that is put together; one that would pass its limit is marked, and not used. */
struct spf_text {
    char p[LIMIT_SPF_EXPANSION_BYTES];
    size_t n;
    bool is_long;
};

/* Cuts the next term off *rest; false: none is left. */
bool spf_cut_term(struct str *rest, struct str *text);

/* RFC 7208 12. False: not a term. */
bool spf_parse_term(struct str text, struct spf_term *t);

/* Parses all terms (4.6) and finds the modifiers. False: a syntax error. */
bool spf_parse_record(struct spf_frame *f);

/* The part behind the version, when the record is one of version spf1 (4.5). */
bool spf_cut_version(struct str *record);

/* macro-string (7.1); `is_exp`: of an explanation, where spaces and c, r, t may stand. */
bool spf_is_macro_string(struct str s, bool is_exp);

/* Whether the last part of a macro string is a macro. */
bool spf_ends_in_macro(struct str s);

/* Whether a macro string wants the validated name of the client. */
bool spf_wants_p(struct str spec);

/* Expands a string that spf_is_macro_string() has seen, in the frame on top (7.2 - 7.4). */
void spf_expand(const struct spf *s, struct str spec, struct spf_text *out);

/* Whether name is domain or a name below it. */
bool spf_is_below(struct str name, struct str domain);

/* The name that a PTR query for the client asks. */
void spf_reverse_name(const struct spf *s, char out[static LIMIT_SMTP_DOMAIN_BYTES + 1]);
