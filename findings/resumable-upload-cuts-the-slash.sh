#!/usr/bin/env bash
# resumable-upload 0.3.0 (the client) with drf-tus 2.0.3 and Django 5.2.19, and the client tuspy 1.1.0 (PyPI)
#
# Expected: a client uses the address that it was given: /files/ and /files are two addresses, and the server may know
#   only one of them (RFC 3986, 6.2.3: only of an empty path and / it is said that they are the same).
# Actual: TusClient cuts the slashes off the end of its address. drf-tus, whose address is /files/, answers 404 to the
#   creation, with and without the slash in the program; tuspy uploads to the same address.
# Affected: servers made with Django, and behind proxies that have a location /files/: no upload can be started, and the
#   address in the program, which is right, is not the one in the log. Set the attribute `url` of the client again.
. "$(dirname "$0")/lib/common.sh"
. "$lib/tus.sh"

python_packages env drf-tus==2.0.3 Django==5.2.19 tuspy==1.1.0 resumable-upload==0.3.0
cat > probe.py <<'EOF'
import os
import resumable_upload
import tusclient.client

endpoint = os.environ['ENDPOINT']
open('a', 'w').write('hello')


def attempt(name, upload):
    try:
        upload()
        print('%s: stored' % name, flush=True)
    except Exception as error:
        print('%s: error, %s' % (name, error), flush=True)


print('given: /%s' % endpoint.split('/', 3)[3])
attempt('tuspy', tusclient.client.TusClient(endpoint).uploader('a', metadata={'filename': 'a'}).upload)
client = resumable_upload.TusClient(endpoint, checksum=False)
print('used: /%s' % client.url.split('/', 3)[3])
attempt('resumable-upload', lambda: client.upload_file('a'))
client.url = endpoint
attempt('resumable-upload, url set again', lambda: client.upload_file('a'))
EOF
env/bin/python tus-server.py drf env/bin/python -u probe.py 2> errors > seen
expect_seen <<'EOF'
given: /files/
  server: complete, 'hello'
tuspy: stored
used: /files
resumable-upload: error, Failed to create upload: HTTP Error 404: Not Found
  server: complete, 'hello'
resumable-upload, url set again: stored
EOF
