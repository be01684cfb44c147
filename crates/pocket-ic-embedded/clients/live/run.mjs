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

const network = await startNetwork();
try {
  await agentTests(network, test);
  console.log(`npm agent: ${passed} passed, ${failed} failed`);
  const without = missing();
  if (without) {
    console.log(`this machine lacks ${without}`);
  } else {
    passed = 0;
    await icpTests(network, test);
    console.log(`icp-cli: ${passed} passed, ${failed} failed in all`);
    await dayTests(test);
    console.log(`icp-cli and an operator's day: ${passed} passed, ${failed} failed in all`);
    await adoptionTests(test);
    console.log(`icp-cli, an operator's day and an adoption: ${passed} passed, ${failed} failed in all`);
  }
} finally {
  await network.stop();
}
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
