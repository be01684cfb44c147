// The worker that `workerHasher` starts.

import type { Port, Reply, Request } from './protocol.js';
import { serveHasher } from './serve.js';

serveHasher(globalThis as unknown as Port<Reply, Request>);
