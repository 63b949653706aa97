#!/usr/bin/env bash
# Makes the certificates of the TLS tests anew: an authority, a server on localhost, a client. Valid for 100 years.
set -euo pipefail
cd "$(dirname "$0")"
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
new_key ca-key.pem
openssl req -x509 -new -key ca-key.pem -days 36500 -subj '/CN=lock-inc test authority' -out ca.pem
sign() { # name, extensions
  new_key "$1-key.pem"
  openssl req -new -key "$1-key.pem" -subj "/CN=lock-inc test $1" |
    openssl x509 -req -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 36500 -extfile <(printf '%s' "$2") -out "$1.pem" 2>/dev/null
}
sign server 'subjectAltName=DNS:localhost,IP:127.0.0.1'
sign client 'extendedKeyUsage=clientAuth'
rm ca-key.pem ca.srl
