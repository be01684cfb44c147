"""The published Python agent on a live network: creates a canister, calls it, verifies signed queries, reads state.

The agent verifies certificates only with a build of `blst` that is not on PyPI, so it does not verify them here; the
tests of agents in Rust and JavaScript do. It verifies by itself that answers to queries are signed by nodes.
"""

import asyncio
import os
import re
import subprocess
import sys
import unittest

from icp_agent import Agent, Client
from icp_candid import Types, encode
from icp_core import ReplicaReject, SecurityError
from icp_identity import Identity
from icp_principal import Principal

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
from report import Report

MANAGEMENT = "aaaaa-aa"
CREATE = Types.Record({"amount": Types.Opt(Types.Nat)})
INSTALL = Types.Record(
    {
        "mode": Types.Variant({"install": Types.Null}),
        "canister_id": Types.Principal,
        "wasm_module": Types.Vec(Types.Nat8),
        "arg": Types.Vec(Types.Nat8),
    }
)
TARGET = Types.Record({"canister_id": Types.Principal})


class Network:
    """The binary with --live, until it is stopped."""

    def __init__(self):
        self.process = subprocess.Popen(
            [os.environ["POCKET_IC_BIN"], "--live", "--gateway-port", "0", "--ttl", "600"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        values = {}
        for line in self.process.stdout:
            if found := re.match(r"(url|root key|canisters):\s+(.*)$", line):
                values[found[1]] = found[2]
            # The last line of the output.
            if line.startswith("    network: "):
                break
        self.url = values["url"].rstrip("/")
        self.root_key = bytes.fromhex(values["root key"])
        # The line ends with a canister id of the subnet on which canisters are created.
        self.effective_id = values["canisters"].split()[-1]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


class Tour(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.network = Network()
        cls.addClassCleanup(cls.network.stop)
        cls.identity = Identity()
        cls.agent = cls.agent_of(cls.identity)
        created = cls.manage(
            "provisional_create_canister_with_cycles", CREATE, {"amount": []}, cls.network.effective_id, TARGET
        )
        cls.canister = created[0]["value"]["canister_id"].to_str()
        with open(os.environ["CANDID_COUNTER_WASM"], "rb") as file:
            module = file.read()
        value = {"mode": {"install": None}, "canister_id": cls.canister, "wasm_module": module, "arg": b""}
        cls.manage("install_code", INSTALL, value, cls.canister)

    @classmethod
    def agent_of(cls, identity):
        return Agent(
            identity, Client(url=cls.network.url), root_key=cls.network.root_key, verify_query_signatures=True
        )

    @classmethod
    def manage(cls, method, type_, value, place, returned=None):
        argument = encode([{"type": type_, "value": value}])
        return cls.agent.update_raw(
            MANAGEMENT, method, argument, return_type=returned, effective_canister_id=place, verify_certificate=False
        )

    def update(self, method, agent=None):
        reply = (agent or self.agent).update(self.canister, method, verify_certificate=False)
        return reply[0]["value"]

    def query(self, method, agent=None):
        return (agent or self.agent).query(self.canister, method)[0]["value"]

    def test_an_update_is_seen_by_a_signed_query(self):
        before = self.query("read")
        self.assertEqual(self.update("inc"), before + 1)
        self.assertEqual(self.query("read"), before + 1)

    def test_each_kind_of_key_is_accepted(self):
        for kind in ["ed25519", "secp256k1"]:
            agent = self.agent_of(Identity(type=kind))
            self.assertEqual(self.update("inc", agent), self.query("read", agent))
        anonymous = self.agent_of(Identity(anonymous=True))
        self.assertEqual(self.update("inc", anonymous), self.query("read", anonymous))

    def test_a_query_with_a_flipped_bit_is_refused(self):
        class Tampered(Client):
            def query(self, *args, **kwargs):
                answer = bytearray(super().query(*args, **kwargs))
                # One bit of the reply, whose bytes occur nowhere else in the answer.
                answer[answer.index(b"DIDL") + 7] ^= 1
                return bytes(answer)

        agent = Agent(
            self.identity, Tampered(url=self.network.url), root_key=self.network.root_key, verify_query_signatures=True
        )
        with self.assertRaises(SecurityError):
            agent.query(self.canister, "read")

    def test_rejections_have_the_error_codes_of_the_ic(self):
        with self.assertRaises(ReplicaReject) as caught:
            self.update("fail")
        self.assertEqual((caught.exception.reject_code, caught.exception.error_code), (5, "IC0503"))
        self.assertIn("the counter is broken", caught.exception.reject_message)
        with self.assertRaises(ReplicaReject) as caught:
            self.update("missing")
        self.assertEqual(caught.exception.error_code, "IC0536")
        # For rejected queries, the agent computes a hash that differs from the specification's, so it cannot verify
        # them.
        unverified = self.agent_of(self.identity)
        unverified.verify_query_signatures = False
        with self.assertRaises(ReplicaReject) as caught:
            self.query("fail_query", unverified)
        self.assertIn("the counter is broken", caught.exception.reject_message)

    def test_the_state_of_a_canister_is_read(self):
        path = [b"canister", Principal.from_str(self.canister).bytes, b"controllers"]
        certificate = self.agent.read_state_raw(self.canister, [path], verify_certificate=False)
        self.assertIn(self.identity.sender().bytes, bytes(certificate.lookup(path)))

    def test_an_asynchronous_client_gets_the_same(self):
        async def both():
            await self.agent.update_async(self.canister, "inc", verify_certificate=False)
            return await self.agent.query_async(self.canister, "read")

        self.assertEqual(asyncio.run(both())[0]["value"], self.query("read"))


def main():
    result = Report()
    # The suite runs as a whole, since its tests share a network.
    unittest.defaultTestLoader.loadTestsFromTestCase(Tour).run(result)
    print(f"Python agent: {result.passed} passed, {result.failed} failed")
    return 1 if result.failed or result.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
