"""S22 and S16 over the wire: no form of a recipient makes a relay at any of three sites, and nobody
learns who has a mailbox. (A million generated forms, against an oracle: node/smtp/relay_test.)"""
import pytest

import fleet
import house

REFUSED = {
    "another domain": b"b@other.test",
    "percent hack": b"b%other.test@example.test",
    "percent hack, twice": b"b%other.test%third.test@example.test",
    "percent hack at nobody": b"b%other.test",
    "bang path": b"other.test!b",
    "bang path with a domain": b"other.test!b@example.test",
    "bang and percent": b"other.test!b%third.test@example.test",
    "source route": b"@example.test:b@other.test",
    "source route to us": b"@other.test:b@example.test",
    "source route, long": b"@example.test,@third.test:b@other.test",
    "quoted local part with an at sign": b'"b@other.test"@example.test',
    "quoted local part with a percent": b'"b%other.test"@example.test',
    "quoted local part alone": b'"b@other.test"',
    "quoted at sign, escaped": b'"b\\@other.test"@example.test',
    "our address": b"b@[127.0.0.1]",
    "IPv6 literal": b"b@[IPv6:::1]",
    "address without brackets": b"b@127.0.0.1",
    "number": b"b@#2130706433",
    "sub-domain": b"b@sub.example.test",
    "longer name": b"b@notexample.test",
    "our name in front": b"b@example.test.other.test",
    "parent": b"b@test",
    "trailing dot": b"b@example.test.",
    "trailing dot of another": b"b@other.test.",
    "two at signs": b"b@other.test@example.test",
    "two at signs, the other way": b"b@example.test@other.test",
    "comma list": b"b@example.test,c@other.test",
    "list of paths": b"b@example.test>,<c@other.test",
    "semicolon list": b"b@example.test;c@other.test",
    "NUL cut": b"b@other.test\0@example.test",
    "NUL cut of the domain": b"b@example.test\0.other.test",
    "IDN look-alike, A-label": b"b@xn--exmple-cua.test",
    "IDN look-alike, UTF-8": "b@ex\u0430mple.test".encode(),
    "full-width dot": "b@example\uff0etest".encode(),
    "8-bit local part": "b\u00e4@example.test".encode(),
    "comment": b"b(other.test)@example.test",
    "comment in the domain": b"b@example.test(other.test)",
    "blank in the domain": b"b@example.test other.test",
    "tab": b"b\t@example.test",
    "no domain": b"b",
    "empty local part": b"@other.test",
    "UUCP domain": b"b@other.uucp",
    "colon": b"other.test:b@third.test",
    "parameter": b"b@example.test> ORCPT=rfc822;c@other.test <",
    "our host": b"b@mx1.example.net",
}
TAKEN = [b"b@example.test", b"B@EXAMPLE.Test", b'"b c"@example.test', b"o'b+c=d@example.test"]


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    f = fleet.on_loopback(tmp_path_factory.mktemp("sites"))
    f.form()
    f.add_domain("example.test", "127.0.0.1:%d" % house.free_port())
    yield f
    f.stop()
    assert not f.broken()


def session(member):
    c = house.Client(member.port).hello()
    assert c.code("MAIL FROM:<a@sender.example>") == 250
    return c


def test_s22_no_form_of_address_makes_a_relay_at_any_site(sites):
    for member in sites.members:
        for what, path in REFUSED.items():
            c = session(member)
            c.raw(b"RCPT TO:<" + path + b">\r\n")
            code, lines = c.reply()
            assert code in (501, 550, 553, 555), (member.site, what, lines)
            assert c.code("DATA") in (503, 554), (member.site, what)
            c.close()
    assert sites.queued() == 0


def test_s22_what_is_well_formed_and_not_ours_is_told_so(sites):
    for member in sites.members:
        for path in (b"b@other.test", b"b%other.test@example.test", b"other.test!b@example.test",
                     b'"b@other.test"@example.test', b"b@[127.0.0.1]", b"b@sub.example.test",
                     b"b@xn--exmple-cua.test"):
            code, lines = session(member).say("RCPT TO:<%s>" % path.decode())
            assert code == 550 and lines[0].startswith("550 5.7.1 Relaying denied"), (path, lines)


def test_s22_beside_them_mail_for_a_served_domain_is_taken(sites):
    for member in sites.members:
        for path in TAKEN:
            c = session(member)
            assert c.code("RCPT TO:<b@other.test>") == 550
            assert c.code("RCPT TO:<%s>" % path.decode()) == 250, path
    c = session(sites[2])
    for path in list(REFUSED.values())[:10]:
        c.raw(b"RCPT TO:<" + path + b">\r\n")
        c.reply()
    assert c.code("RCPT TO:<b@example.test>") == 250 and c.code("DATA") == 354
    c.raw(b"To: b%other.test@example.test, c@other.test\r\n\r\n.\r\n")
    assert c.reply()[0] == 250
    taken = [l for l in sites[2].events("message_accepted")]
    assert len(taken) == 1 and "domain=example.test" in taken[0] and "rcpts=1" in taken[0]


def test_s16_nobody_learns_who_has_a_mailbox(sites):
    """All get the same words, served or not, at all sites."""
    heard = set()
    for member in sites.members:
        c = session(member)
        for name in ("b@example.test", "nobody@example.test", "b@other.test", "postmaster", "<b@[::1]>"):
            heard.add(tuple(c.say("VRFY " + name)[1]))
            heard.add(tuple(c.say("EXPN " + name)[1]))
        for name in ("b", "nobody", "x" * 60):
            heard.add(tuple(c.say("RCPT TO:<%s@example.test>" % name)[1]))
    assert heard == {("252 2.5.0 Not verified, send mail to try",), ("502 5.5.1 EXPN is not offered",),
                     ("250 2.1.5 Ok",)}
