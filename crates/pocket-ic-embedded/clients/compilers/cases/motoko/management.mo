// The answers of the management canister, decoded as types that require every field that the interface requires.
import Prim "mo:⛔";

persistent actor Self {
  // In Motoko, a name that is a keyword has an additional underscore.
  type Visibility = { #controllers; #public_; #allowed_viewers : [Principal] };
  type Status = {
    status : { #running; #stopping; #stopped };
    version : Nat64;
    settings : {
      controllers : [Principal];
      freezing_threshold : Nat;
      minimum_incoming_canister_call_cycles : Nat;
      log_memory_limit : Nat;
      log_visibility : Visibility;
      snapshot_visibility : Visibility;
      status_visibility : Visibility;
      environment_variables : [{ name : Text; value : Text }];
    };
    memory_metrics : { log_memory_store_size : Nat; snapshots_size : Nat };
    cycles : Nat;
  };
  type Change = {
    timestamp_nanos : Nat64;
    canister_version : Nat64;
    origin : {
      #from_user : { user_id : Principal };
      #from_canister : { canister_id : Principal; canister_version : ?Nat64 };
    };
    details : {
      #creation : { controllers : [Principal] };
      #code_uninstall;
      #code_deployment : { mode : { #install; #reinstall; #upgrade }; module_hash : Blob };
      #load_snapshot : { canister_version : Nat64; snapshot_id : Blob; taken_at_timestamp : Nat64 };
      #controllers_change : { controllers : [Principal] };
    };
  };
  transient let ic = actor "aaaaa-aa" : actor {
    canister_status : { canister_id : Principal } -> async Status;
    canister_info : { canister_id : Principal; num_requested_changes : ?Nat64 } -> async {
      total_num_changes : Nat64;
      recent_changes : [Change];
      module_hash : ?Blob;
      controllers : [Principal];
    };
    raw_rand : () -> async Blob;
  };

  public func history() : async [Text] {
    let canister_id = Prim.principalOfActor Self;
    let info = await ic.canister_info { canister_id; num_requested_changes = ?20 };
    Prim.Array_tabulate<Text>(info.recent_changes.size(), func n = switch (info.recent_changes[n].details) {
      case (#creation _) "creation";
      case (#code_uninstall) "uninstall";
      case (#code_deployment _) "deployment";
      case (#load_snapshot _) "snapshot";
      case (#controllers_change _) "controllers";
    });
  };

  public func minimum() : async Nat {
    let status = await ic.canister_status { canister_id = Prim.principalOfActor Self };
    status.settings.minimum_incoming_canister_call_cycles
  };

  // The second random value is from a later round than the first.
  public func random() : async Bool {
    let first = await ic.raw_rand();
    let between = Prim.time();
    let second = await ic.raw_rand();
    first.size() == 32 and first != second and Prim.time() > between
  };
}
