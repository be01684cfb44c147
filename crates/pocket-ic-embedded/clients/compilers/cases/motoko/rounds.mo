// A loop of calls, alongside activities that start by themselves.
import Prim "mo:⛔";

persistent actor Self {
  var beats = 0;
  var turns = 0;
  var timers = 0;

  system func heartbeat() : async () { beats += 1 };
  system func timer(set : Nat64 -> ()) : async () {
    timers += 1;
    set(Prim.time() + 1_000_000_000);
  };

  public func nothing() : async () {};
  public func spin() : async () { loop { await nothing(); turns += 1 } };
  public query func counts() : async (Nat, Nat, Nat) { (beats, turns, timers) };
}
