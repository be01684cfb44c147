"""Tour of the embedded server with the PyPI client: install, calls, time, upgrade, stable memory, snapshots, traps."""

import base64
import gzip
import os
import sys
import unittest

import ic
from ic.candid import Types
from pocket_ic import PocketIC, SubnetConfig, SubnetKind

from report import Report, flatten

with open(os.environ["COUNTER_WASM"], "rb") as file:
    COUNTER = file.read()

CANISTER = Types.Record({"canister_id": Types.Principal})
MODE = Types.Variant({"install": Types.Null, "reinstall": Types.Null, "upgrade": Types.Null})
INSTALL = Types.Record(
    {
        "mode": MODE,
        "canister_id": Types.Principal,
        "wasm_module": Types.Vec(Types.Nat8),
        "arg": Types.Vec(Types.Nat8),
    }
)
SNAPSHOT_OF = Types.Record({"canister_id": Types.Principal, "snapshot_id": Types.Vec(Types.Nat8)})


def number(reply):
    return int.from_bytes(bytes(reply), "little")


class Tour(unittest.TestCase):
    def setUp(self):
        self.pic = PocketIC()
        self.canister = self.pic.create_canister()
        self.deploy("install")

    def manage(self, method, type_, value):
        place = {"CanisterId": base64.b64encode(self.canister.bytes).decode()}
        argument = ic.encode([{"type": type_, "value": value}])
        return bytes(self.pic.update_call_with_effective_principal(None, place, method, argument))

    def deploy(self, mode, wasm=COUNTER):
        value = {"mode": {mode: None}, "canister_id": self.canister.bytes, "wasm_module": wasm, "arg": b""}
        self.manage("install_code", INSTALL, value)

    def about_canister(self, method):
        return self.manage(method, CANISTER, {"canister_id": self.canister.bytes})

    def update(self, method, arg=b""):
        return self.pic.update_call(self.canister, method, arg)

    def query(self, method, arg=b""):
        return self.pic.query_call(self.canister, method, arg)

    def assert_rejected(self, code, words, call, *args):
        with self.assertRaises(ValueError) as caught:
            call(*args)
        self.assertIn(code, str(caught.exception))
        self.assertIn(words, str(caught.exception))

    def test_calls_change_and_queries_do_not(self):
        self.assertEqual(number(self.update("inc")), 1)
        self.assertEqual(number(self.query("inc_query")), 2)
        self.assertEqual(number(self.query("read")), 1)
        self.pic.set_sender(ic.Principal(b"someone"))
        self.assertEqual(bytes(self.query("caller")), b"someone")
        self.assertEqual(bytes(self.update("echo", b"\x00\xff any bytes")), b"\x00\xff any bytes")

    def test_ids_and_subnets_can_be_chosen(self):
        pic = PocketIC(SubnetConfig(nns=True, application=2))
        wanted = ic.Principal.from_str("rwlgt-iiaaa-aaaaa-aaaaa-cai")
        self.assertEqual(pic.create_canister(canister_id=wanted).bytes, wanted.bytes)
        self.assert_rejected("CanisterAlreadyInstalled", "", lambda: pic.create_canister(canister_id=wanted))
        kinds = list(pic.topology().items())
        self.assertEqual(len(kinds), 3)
        for subnet, kind in kinds:
            canister = pic.create_canister(subnet=subnet)
            self.assertEqual(pic.get_subnet(canister).bytes, subnet.bytes)
            self.assertIn(kind, [SubnetKind.NNS, SubnetKind.APPLICATION])

    def test_time_and_timers(self):
        now = self.pic.get_time()["nanos_since_epoch"]
        due = now + 10_000_000_000
        self.update("set_timer", due.to_bytes(8, "little"))
        self.pic.tick()
        self.assertEqual(number(self.query("read")), 0)
        self.pic.set_time(due)
        self.pic.tick()
        self.assertEqual(number(self.query("now")), due)
        self.assertEqual(number(self.query("read")), 100)
        self.pic.advance_time(1_000)
        self.assertEqual(self.pic.get_time()["nanos_since_epoch"], due + 1_000)
        with self.assertRaises(ConnectionError) as caught:
            self.pic.set_time(now)
        self.assertIn("SettingTimeIntoPast", str(caught.exception))

    def test_upgrade_keeps_stable_memory_only(self):
        self.update("inc")
        self.update("stable_inc")
        self.deploy("upgrade", gzip.compress(COUNTER))
        self.assertEqual(number(self.query("read")), 0)
        self.assertEqual(number(self.query("stable_read")), 1)
        self.deploy("reinstall")
        self.assertEqual(number(self.query("stable_read")), 0)
        self.assert_rejected("CanisterNonEmpty", "not empty", self.deploy, "install")
        self.assert_rejected("CanisterInvalidWasm", "Wasm module", self.deploy, "upgrade", b"no wasm")

    def test_stable_memory_from_outside(self):
        self.pic.set_stable_memory(self.canister, (41).to_bytes(4, "little"))
        self.assertEqual(number(self.update("stable_inc")), 42)
        self.assertEqual(self.pic.get_stable_memory(self.canister)[:4], (42).to_bytes(4, "little"))
        long = bytes(range(256)) * 1024
        self.pic.set_stable_memory(self.canister, gzip.compress(long), compression="gzip")
        self.assertEqual(self.pic.get_stable_memory(self.canister), long)

    def test_snapshots_restore_the_state(self):
        self.update("inc")
        self.update("stable_inc")
        taken = self.about_canister("take_canister_snapshot")
        returned = Types.Record({"id": Types.Vec(Types.Nat8), "total_size": Types.Nat64})
        snapshot = bytes(ic.decode(taken, returned)[0]["value"]["id"])
        for method in ("inc", "inc", "stable_inc"):
            self.update(method)
        value = {"canister_id": self.canister.bytes, "snapshot_id": snapshot}
        self.manage("load_canister_snapshot", SNAPSHOT_OF, value)
        self.assertEqual(number(self.query("read")), 1)
        self.assertEqual(number(self.query("stable_read")), 1)
        self.manage("delete_canister_snapshot", SNAPSHOT_OF, value)
        self.assert_rejected(
            "CanisterSnapshotNotFound",
            snapshot.hex(),
            lambda: self.manage("load_canister_snapshot", SNAPSHOT_OF, value),
        )

    def test_failures_have_codes_and_change_nothing(self):
        for method, code, words in (
            ("trap_after_inc", "CanisterCalledTrap", "something went wrong"),
            ("unreachable", "CanisterTrapped", "unreachable"),
            ("no_reply", "CanisterDidNotReply", "did not reply"),
            ("reject", "CanisterRejectedMessage", "not today"),
            ("missing", "CanisterMethodNotFound", "Canister has no update method 'missing'"),
        ):
            self.assert_rejected(code, words, self.update, method)
        self.assertEqual(number(self.query("read")), 0)

    def test_stop_start_delete(self):
        self.about_canister("stop_canister")
        self.assert_rejected("CanisterStopped", "is stopped", self.update, "inc")
        self.about_canister("start_canister")
        self.assertEqual(number(self.update("inc")), 1)
        self.assert_rejected("CanisterNotStopped", "must be stopped", self.about_canister, "delete_canister")
        self.about_canister("stop_canister")
        self.about_canister("delete_canister")
        self.assertFalse(self.pic.check_canister_exists(self.canister))

    def test_only_controllers_manage(self):
        self.pic.set_sender(ic.Principal(b"someone"))
        self.assert_rejected(
            "CanisterInvalidController", "Only the controllers", self.about_canister, "stop_canister"
        )


def main():
    result = Report()
    for test in flatten(unittest.defaultTestLoader.loadTestsFromTestCase(Tour)):
        test.run(result)
    print(f"PyPI client, our tour: {result.passed} passed, {result.failed} failed")
    return 1 if result.failed or result.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
