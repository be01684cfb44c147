"""Runs a command while a tus server of Python listens on loopback: `python tus-server.py KIND COMMAND…`, where KIND is
`tuspyserver`, `aiohttp` (aiohttp-tus), `fastapi` (fastapi-tusd), `resumable-upload`, `drf` (drf-tus) or `tuswsgi`. The
command is given the address in ENDPOINT; files are stored in the folder `files`, and uploads that the server takes for
complete are printed with their contents."""
import asyncio
import logging
import os
import pathlib
import socket
import sys
import threading

kind, *command = sys.argv[1:]
listening = socket.create_server(('127.0.0.1', 0))
files = pathlib.Path('files').absolute()
files.mkdir(exist_ok=True)
logging.disable(logging.CRITICAL)


def complete(path):
    print('  server: complete, %r' % pathlib.Path(path).read_bytes().decode(), flush=True)


async def client():
    env = {**os.environ, 'ENDPOINT': 'http://127.0.0.1:%d/files%s' % (listening.getsockname()[1], '/' if kind == 'drf' else '')}
    return await (await asyncio.create_subprocess_exec(*command, env=env)).wait()


async def serve_asgi(app):
    import uvicorn
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    code = await client()
    server.should_exit = True
    await serving
    return code


async def serve_threads(server):
    server.socket.close()
    server.socket = listening
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = await client()
    server.shutdown()
    return code


async def serve_wsgi(app):
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_):
            pass
    server = WSGIServer(listening.getsockname(), Quiet, bind_and_activate=False)
    server.server_name, server.server_port = listening.getsockname()
    server.setup_environ()
    server.set_app(app)
    return await serve_threads(server)


async def tuspyserver():
    from fastapi import FastAPI
    from tuspyserver import create_tus_router
    app = FastAPI()
    app.include_router(create_tus_router(files_dir=str(files), prefix='files', on_upload_complete=lambda path, metadata: complete(path)))
    return await serve_asgi(app)


async def fastapi():
    from fastapi import FastAPI
    from fastapi_tusd import TusRouter
    app = FastAPI()
    app.include_router(TusRouter(store_dir=str(files), location='http://127.0.0.1:%d/files' % listening.getsockname()[1]), prefix='/files')
    return await serve_asgi(app)


async def resumable_upload():
    from http.server import ThreadingHTTPServer
    from resumable_upload import SQLiteStorage, TusHTTPRequestHandler, TusServer
    storage = SQLiteStorage(db_path='uploads.db', upload_dir=str(files))

    class Handler(TusHTTPRequestHandler):
        tus_server = TusServer(storage=storage, base_path='/files', on_upload_complete=lambda name, *_: complete(files / name))

        def log_message(self, *_):
            pass
    return await serve_threads(ThreadingHTTPServer(listening.getsockname(), Handler, bind_and_activate=False))


async def drf():
    import types
    import django
    os.environ['DJANGO_ALLOW_ASYNC_UNSAFE'] = 'true'
    from django.conf import settings
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    settings.configure(
        SECRET_KEY='of a test', ALLOWED_HOSTS=['*'], ROOT_URLCONF='routes', BASE_DIR=os.getcwd(), MEDIA_ROOT=str(files),
        DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'uploads.db'}},
        INSTALLED_APPS=['django.contrib.contenttypes', 'django.contrib.auth', 'rest_framework', 'rest_framework_tus'],
        MIDDLEWARE=['rest_framework_tus.middleware.TusMiddleware'], REST_FRAMEWORK={'DEFAULT_AUTHENTICATION_CLASSES': []})
    django.setup()
    call_command('migrate', verbosity=0)
    from django.urls import include, path
    from rest_framework_tus.signals import saved
    routes = sys.modules['routes'] = types.ModuleType('routes')
    routes.urlpatterns = [path('', include('rest_framework_tus.urls'))]

    def done(sender, instance, **_):
        complete(instance.upload.uploaded_file.path)
    saved.connect(done)
    return await serve_wsgi(get_wsgi_application())


async def tuswsgi():
    from tuswsgi import TusMiddleware

    def app(environ, start_response):
        complete(environ['wsgi.input'].read(int(environ['CONTENT_LENGTH'])).decode())
        start_response('200 OK', [])
        return [b'']
    return await serve_wsgi(TusMiddleware(app, '/files', tmp_dir=str(files)))


async def aiohttp():
    from aiohttp import web
    from aiohttp_tus import setup_tus

    async def done(request, resource, path):
        complete(path)
    app = setup_tus(web.Application(), upload_path=files, upload_url='/files', on_upload_done=done)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    code = await client()
    await runner.cleanup()
    return code

kinds = {
    'tuspyserver': tuspyserver, 'aiohttp': aiohttp, 'fastapi': fastapi, 'resumable-upload': resumable_upload, 'drf': drf,
    'tuswsgi': tuswsgi,
}
sys.exit(asyncio.run(kinds[kind]()))
