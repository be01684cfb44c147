// Runs a command while a tus server of Node.js listens on loopback: `node tus-server.mjs KIND COMMAND…`, where KIND is
// `node` (@tus/server), `node-relative` (the same with relativeLocation) or `uploadx` (@uploadx/core). The command is given the
// address in ENDPOINT; files are stored in `files`, and uploads that the server takes for complete are printed.
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import http from 'node:http';

const [kind, ...command] = process.argv.slice(2);
mkdirSync('files', { recursive: true });

let handler;
if (kind === 'uploadx') {
  const { DiskStorage, Tus } = await import('@uploadx/core');
  handler = new Tus({ storage: new DiskStorage({
    directory: 'files', path: '/files', logLevel: 'none', onComplete: ({ size }) => console.log(`  server: complete, ${size} bytes`),
  }) });
} else {
  const [{ Server }, { FileStore }] = await Promise.all([import('@tus/server'), import('@tus/file-store')]);
  handler = new Server({ path: '/files', relativeLocation: kind === 'node-relative', datastore: new FileStore({ directory: 'files' }) });
}
const server = http.createServer((request, response) => handler.handle(request, response)).listen(0, '127.0.0.1', () => {
  const env = { ...process.env, ENDPOINT: `http://127.0.0.1:${server.address().port}/files` };
  spawn(command[0], command.slice(1), { env, stdio: 'inherit' }).on('exit', (code) => process.exit(code ?? 1));
});
