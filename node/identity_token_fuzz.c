/* Any text: a token that is read comes out again as the same, byte for byte, and says nothing
 * that it may not. Bytes after a good prefix get their checksum first, so that what stands
 * behind it is reached. */
#include "node/identity.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_text(struct str in)
{
    char again[IDENTITY_TOKEN_BYTES];
    struct identity_token t;

    if (identity_token_parse(in, &t) != OK) {
        ASSERT(t.site == 0 && t.peer_count == 0);
        return;
    }
    ASSERT(t.site != 0 && t.incarnation != 0);
    ASSERT(t.peer_count >= 1 && t.peer_count <= LIMIT_CLUSTER_MEMBERS);
    for (uint32_t i = 0; i < t.peer_count; i++)
        ASSERT(t.peers[i].site != t.site &&
               member_address_check(str_of(t.peers[i].control)) == NULL &&
               member_address_check(str_of(t.peers[i].data)) == NULL);
    ASSERT(identity_token_text(&t, again) == OK);
    ASSERT(str_eq(str_of(again), in));
    t.peers[t.peer_count - 1].site = t.site;
    ASSERT(identity_token_text(&t, again) == E_PROTO && again[0] == 0);
}

static void try_bytes(const uint8_t *data, size_t size)
{
    static const char prefix[] = "trispool-join:";
    size_t room = sizeof prefix + BASE64_SIZE(size + 8);
    char *bytes = malloc(size + 8), *text = malloc(room);
    uint64_t sum = XXH3_64bits(data, size);

    ASSERT(bytes != NULL && text != NULL);
    memcpy(bytes, data, size);
    for (int i = 0; i < 8; i++)
        bytes[size + (size_t)i] = (char)(sum >> (56 - 8 * i));
    memcpy(text, prefix, sizeof prefix);
    base64_encode((struct str){bytes, size + 8}, text + sizeof prefix - 1);
    try_text(str_of(text));
    free(bytes);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);

    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    try_text((struct str){copy, size});
    free(copy);
    if (size > 0 && size < 4096)
        try_bytes(data, size);
    return 0;
}
