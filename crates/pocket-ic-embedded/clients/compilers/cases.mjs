import { PocketIc, PocketIcServer, SubnetStateType } from '@dfinity/pic';
import { IDL } from '@icp-sdk/core/candid';

/**
 * Runs cases, each on an instance of its own. A case has a name, the methods of a canister (`[arguments, results,
 * modes]`), the expected behavior, and the argument of the installation, if any. `compile` returns the module of a
 * case.
 */
export const runCases = async (title, cases, compile) => {
  const server = await PocketIcServer.start();
  let passed = 0;
  let failed = 0;
  for (const [name, [methods, test, arg]] of Object.entries(cases)) {
    const pic = await PocketIc.create(server.getUrl(), {
      application: [{ state: { type: SubnetStateType.New } }],
    });
    try {
      const wasm = compile(name);
      const canisterId = await pic.createCanister();
      await pic.installCode({ canisterId, wasm, arg });
      const entries = Object.entries(methods).map(([method, [args, rets, modes]]) => [
        method,
        IDL.Func(args, rets, modes ?? []),
      ]);
      const idl = () => IDL.Service(Object.fromEntries(entries));
      const actor = pic.createActor(idl, canisterId);
      const deferred = pic.createDeferredActor(idl, canisterId);
      await test({ pic, canisterId, actor, deferred, idl, wasm });
      passed += 1;
      console.log(`ok      ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}\n${error.stack?.slice(0, 2_000)}`);
    } finally {
      await pic.tearDown();
    }
  }
  await server.stop();
  console.log(`${title}: ${passed} passed, ${failed} failed`);
  // One failed call of this function is enough to fail the program.
  if (failed > 0 || passed === 0) process.exitCode = 1;
};
