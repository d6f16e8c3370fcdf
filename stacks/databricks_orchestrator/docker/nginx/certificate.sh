#!/bin/sh
# Fills the volume /certificates for the reverse proxy: with your own certificate where there is one
# in /own (docker/nginx/ssl), else with a self-signed one for CERTIFICATE_HOST, renewed a month ahead.
set -eu
umask 077
cd /certificates

if [ -s /own/tls.crt ] && [ -s /own/tls.key ]; then
    cp /own/tls.crt /own/tls.key .
    echo "using the certificate of docker/nginx/ssl"
elif openssl x509 -in tls.crt -noout -checkend 2592000 >/dev/null 2>&1 &&
    openssl x509 -in tls.crt -noout -checkhost "$CERTIFICATE_HOST" | grep -q "does match"; then
    echo "keeping the self-signed certificate for $CERTIFICATE_HOST"
else
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
        -subj "/CN=$CERTIFICATE_HOST" \
        -addext "subjectAltName=DNS:$CERTIFICATE_HOST,DNS:localhost,IP:127.0.0.1" \
        -keyout tls.key.new -out tls.crt.new
    mv tls.key.new tls.key
    mv tls.crt.new tls.crt
    echo "made a self-signed certificate for $CERTIFICATE_HOST"
fi
chmod 644 tls.crt
