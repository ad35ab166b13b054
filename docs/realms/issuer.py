"""Stands in for whoever authenticates a product's users.

issuer.py keys FOLDER                             makes a signing key and the key set jwks.json in a folder
issuer.py token FOLDER ISSUER AUDIENCE SUBJECT    prints an access token that holds for an hour
"""

import base64
import json
import pathlib
import sys
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def base64url(number):
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


command, folder, *rest = sys.argv[1:]
signing_key, key_set = (pathlib.Path(folder) / name for name in ("signing.pem", "jwks.json"))
if command == "keys":
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_numbers()
    public = {"kty": "EC", "crv": "P-256", "x": base64url(point.x), "y": base64url(point.y), "kid": "1", "alg": "ES256"}
    key_set.write_text(json.dumps({"keys": [public]}))
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    signing_key.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
else:
    issuer, audience, subject = rest
    claims = {"iss": issuer, "aud": audience, "sub": subject, "exp": int(time.time()) + 3600}
    print(jwt.encode(claims, signing_key.read_text(), algorithm="ES256", headers={"kid": "1"}))
