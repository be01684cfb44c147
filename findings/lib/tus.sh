# Shared by findings about tus servers: the two programs that run a server. Sourced after common.sh.

cp "$lib/tus-server.mjs" "$lib/tus-server.py" .
