// State that an upgrade keeps: everything that is not transient, in a wasm memory that is retained.
persistent actor {
  var kept : [Nat] = [];
  transient var lost = 0;
  public func add(n : Nat) : async Nat { kept := [n]; lost += 1; lost };
  public query func both() : async ([Nat], Nat) { (kept, lost) };
}
