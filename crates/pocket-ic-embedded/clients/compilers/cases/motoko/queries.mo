// Composite queries of a canister to itself.
persistent actor Self {
  var value = 1;
  public func set(n : Nat) : async () { value := n };
  public query func get() : async Nat { value };
  public composite query func twice() : async Nat { (await get()) + (await get()) };
  public composite query func deep(n : Nat) : async Nat { if (n == 0) await get() else await deep(n - 1) };
}
