;; A counter that replies in Candid, as the Python agent expects of every canister.
(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (memory 1)
  ;; The Candid header of one nat32, and its value.
  (data (i32.const 0) "DIDL\00\01\79\00\00\00\00")
  (data (i32.const 16) "the counter is broken")
  (func $answer
    (call $append (i32.const 0) (i32.const 11))
    (call $reply))
  (func (export "canister_update inc")
    (i32.store align=1 (i32.const 7) (i32.add (i32.load align=1 (i32.const 7)) (i32.const 1)))
    (call $answer))
  (func (export "canister_query read") (call $answer))
  (func (export "canister_update fail") (call $trap (i32.const 16) (i32.const 21)))
  (func (export "canister_query fail_query") (call $trap (i32.const 16) (i32.const 21))))
