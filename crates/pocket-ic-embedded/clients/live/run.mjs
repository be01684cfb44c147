// The published JavaScript agent and icp-cli on one network; then an operator's day with icp-cli on another, and an adoption
// of the first public release.

import { adoptionTests } from './adoption.mjs';
import { agentTests } from './agent.mjs';
import { dayTests } from './day.mjs';
import { icpTests, missing } from './icp.mjs';
import { startNetwork } from './network.mjs';

let passed = 0;
let failed = 0;
async function test(name, body) {
  try {
    await body();
    passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}\n${error.stdout ?? ''}${error.stderr ?? ''}`);
  }
}

/** Runs the tests of one part, and prints how many of them passed. */
async function part(name, tests) {
  const before = { passed, failed };
  await tests();
  console.log(`${name}: ${passed - before.passed} passed, ${failed - before.failed} failed`);
}

const network = await startNetwork();
try {
  await part('npm agent', () => agentTests(network, test));
  const without = missing();
  if (without) {
    console.log(`this machine lacks ${without}`);
  } else {
    await part('icp-cli', () => icpTests(network, test));
    await part("an operator's day", () => dayTests(test));
    await part('an adoption', () => adoptionTests(test));
  }
  console.log(`in all: ${passed} passed, ${failed} failed`);
} finally {
  await network.stop();
}
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
