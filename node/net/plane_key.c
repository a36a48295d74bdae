#include <string.h>
#include <zmq.h>

#include "base/assert.h"
#include "node/net/plane.h"

enum err plane_key_new(uint8_t public_key[PLANE_KEY_BYTES], uint8_t secret_key[PLANE_KEY_BYTES])
{
    char public_text[PLANE_KEY_TEXT], secret_text[PLANE_KEY_TEXT];
    enum err e = zmq_curve_keypair(public_text, secret_text) == 0 ? OK : E_IO;

    if (e == OK && (zmq_z85_decode(public_key, public_text) == NULL ||
                    zmq_z85_decode(secret_key, secret_text) == NULL))
        e = E_IO;
    explicit_bzero(secret_text, sizeof secret_text);
    return e;
}

void plane_key_text(const uint8_t key[PLANE_KEY_BYTES], char out[PLANE_KEY_TEXT])
{
    char *text = zmq_z85_encode(out, key, PLANE_KEY_BYTES);

    ASSERT(text != NULL); /* 32 is a multiple of 4 */
}

bool plane_key_parse(struct str text, uint8_t out[PLANE_KEY_BYTES])
{
    char z[PLANE_KEY_TEXT], again[PLANE_KEY_TEXT];
    bool ok = text.n == PLANE_KEY_TEXT - 1 && str_to_z(text, z, sizeof z) &&
              zmq_z85_decode(out, z) != NULL;

    /* libzmq takes groups above 2^32 for what is left of them. */
    ok = ok && strcmp(zmq_z85_encode(again, out, PLANE_KEY_BYTES), z) == 0;
    explicit_bzero(z, sizeof z);
    explicit_bzero(again, sizeof again);
    if (!ok)
        memset(out, 0, PLANE_KEY_BYTES);
    return ok;
}

enum err plane_key_public(const uint8_t secret_key[PLANE_KEY_BYTES],
                          uint8_t public_key[PLANE_KEY_BYTES])
{
    char public_text[PLANE_KEY_TEXT], secret_text[PLANE_KEY_TEXT];
    enum err e;

    plane_key_text(secret_key, secret_text);
    e = zmq_curve_public(public_text, secret_text) == 0 &&
                zmq_z85_decode(public_key, public_text) != NULL
            ? OK
            : E_IO;
    explicit_bzero(secret_text, sizeof secret_text);
    return e;
}
