"""Runs a command while a tus server of Python listens on loopback: `python tus-server.py KIND COMMAND…`, where KIND is
`tuspyserver` or `aiohttp` (aiohttp-tus). The command is given the address in ENDPOINT; files are stored in the folder `files`,
and uploads that the server takes for complete are printed with their contents."""
import asyncio
import logging
import os
import pathlib
import socket
import sys

kind, *command = sys.argv[1:]
listening = socket.create_server(('127.0.0.1', 0))
files = pathlib.Path('files').absolute()
files.mkdir(exist_ok=True)
logging.disable(logging.CRITICAL)


def complete(path):
    print('  server: complete, %r' % pathlib.Path(path).read_bytes().decode(), flush=True)


async def client():
    env = {**os.environ, 'ENDPOINT': 'http://127.0.0.1:%d/files' % listening.getsockname()[1]}
    return await (await asyncio.create_subprocess_exec(*command, env=env)).wait()


async def tuspyserver():
    import uvicorn
    from fastapi import FastAPI
    from tuspyserver import create_tus_router
    app = FastAPI()
    app.include_router(create_tus_router(files_dir=str(files), prefix='files', on_upload_complete=lambda path, metadata: complete(path)))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    code = await client()
    server.should_exit = True
    await serving
    return code


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

sys.exit(asyncio.run({'tuspyserver': tuspyserver, 'aiohttp': aiohttp}[kind]()))
