"""A primary that knows its users."""
import contextlib
import socket
import threading
import time

import house


def most_in_a_minute(times):
    return max((sum(t - 60 < u <= t for u in times) for t in times), default=0)


class Primary:
    """A mail server that has the recipients it is told of; `refusal` is what it says to others. questions:
    (time, recipient) of those that were named by the null sender, as who only asks does."""

    def __init__(self, *users, port=None, address="127.0.0.1"):
        self.users, self.port, self.asked, self.taken = set(users), port or house.free_port(), [], []
        self.address, self.questions = address, []
        self.route = "%s:%d" % (address, self.port)
        self.refusal = "550 5.1.1 <%s> no such user"
        self.s, self.peers = None, set()

    def start(self):
        self.s = socket.create_server((self.address, self.port))
        threading.Thread(target=self.listen, args=(self.s,), daemon=True).start()
        return self

    def listen(self, s):
        while True:
            try:
                peer, _ = s.accept()
            except OSError:
                return
            self.peers.add(peer)
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with peer, contextlib.suppress(OSError), peer.makefile("rwb") as f:
            f.write(b"220 primary.test\r\n")
            f.flush()
            is_null = False
            for line in f:
                line = line.decode().strip()
                is_null = line.upper().startswith("MAIL FROM:<>") or (is_null and line[:4].upper() != "MAIL")
                if not self.answer(f, line, is_null):
                    return
                f.flush()

    def answer(self, f, line, is_null):
        word = line.upper().split(":")[0].split(" ")[0]
        say = "250 2.0.0 ok"
        if word == "RCPT":
            rcpt = line.split("<")[1].split(">")[0]
            self.asked.append(rcpt)
            if is_null:
                self.questions.append((time.monotonic(), rcpt))
            if rcpt.split("@")[0] not in self.users:
                say = self.refusal % rcpt if "%s" in self.refusal else self.refusal
        elif word == "DATA":
            f.write(b"354 go on\r\n")
            f.flush()
            body = b""
            while not body.endswith(b"\r\n.\r\n"):
                body += f.readline()
            self.taken.append(body)
        elif word == "QUIT":
            say = "221 2.0.0 bye"
        f.write(say.encode() + b"\r\n")
        return word != "QUIT"

    def most_in_a_minute(self):
        return most_in_a_minute([t for t, _ in self.questions])

    def stop(self):
        """The port refuses, and whoever is here is cut off."""
        if self.s is not None:
            self.s.shutdown(socket.SHUT_RDWR)
            self.s.close()
        self.s = None
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        self.peers.clear()
