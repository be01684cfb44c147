// The errors that a caller gets from failed calls.
import Prim "mo:⛔";

persistent actor Self {
  public func trap() : async () { Prim.trap "out of luck" };
  public func refuse() : async () { throw Prim.error "not today" };

  func told(call : shared () -> async ()) : async (Text, Text) {
    try { await call(); ("", "") } catch e {
      let code = switch (Prim.errorCode e) {
        case (#canister_reject) "canister_reject";
        case (#canister_error) "canister_error";
        case (#destination_invalid) "destination_invalid";
        case _ "another";
      };
      (code, Prim.errorMessage e)
    }
  };

  public func trapped() : async (Text, Text) { await told trap };
  public func refused() : async (Text, Text) { await told refuse };
  public func missing() : async (Text, Text) {
    let other = actor (debug_show (Prim.principalOfActor Self)) : actor { brew : () -> async () };
    await told(other.brew)
  };
  public func nowhere() : async (Text, Text) {
    let other = actor "g3wsl-eqaaa-aaaan-aaaaa-cai" : actor { brew : () -> async () };
    await told(other.brew)
  };

  // The `finally` block runs when the code after the answer traps, and its own trap is reported as well.
  public func finally_(both : Bool) : async () {
    try { await refuse() } catch _ { Prim.trap "first" } finally { if both Prim.trap "second" };
  };
}
