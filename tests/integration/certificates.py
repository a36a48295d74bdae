"""Certificates made on the spot, by the openssl program. For tests."""
import subprocess
from pathlib import Path


class Certificate:
    """PEM files: .certificate and .key. Signed by `authority`, else by itself."""

    def __init__(self, folder, name, subject="DNS:mx1.example.net", authority=None,
                 key=("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")):
        self.certificate = Path(folder) / (name + ".pem")
        self.key = Path(folder) / (name + ".key")
        signer = ["-CA", authority.certificate, "-CAkey", authority.key] if authority else []
        kind = ["-addext", "basicConstraints=critical,CA:FALSE"] if authority else []
        done = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-days", "30", "-subj",
             "/CN=" + name, "-addext", "subjectAltName=" + subject, "-keyout", self.key, "-out",
             self.certificate, *kind, *signer],
            capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
