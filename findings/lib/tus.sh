# What findings about tus servers share: the two programs that run a server. Sourced after common.sh.

cp "$lib/tus-server.mjs" "$lib/tus-server.py" .
