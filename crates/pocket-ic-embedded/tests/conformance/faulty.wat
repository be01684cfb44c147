;; A canister that does everything wrong.
;;
;; * `unreachable`, `heap`, `stable`, `stable32`, `division`, `overflow`, `conversion`, `table`, `null`, `type`,
;;   `recursion`: trap, each for the reason in its name. `trap` and the query `trap_query` call `ic0.trap`.
;;   `heap_argument` passes addresses beyond the heap to a system function.
;; * `twice` replies twice, `nothing` does not reply, `refuse` rejects. `misplaced` calls `accept_message`.
;; * `grow`: takes 100 more pages of wasm memory. `hoard` (a query): reads more stable memory than a query may.
;; * `lost`: calls itself and names a callback that does not exist.
;; * `ping`: calls its own `pong` endlessly, even when a call is rejected. `pong` replies.
;; * `impatient`: calls its own `ping` and waits for one second at most; answers code (one byte)
;;   and text of the rejection.
;; * `beg`: calls `pong` of the canister in its argument without cycles; answers code and text of the rejection.
;; * `spend`: attaches more cycles to a call than the canister has.
;; * `ask` (a composite query): calls `ask` of the canister whose id is the first 10 bytes of its argument, with the
;;   remaining bytes as the argument; answers the reply, or code and text of the rejection. Without argument, it replies
;;   with no bytes.
;; * `insist` (a composite query): calls its own `pong` endlessly, although every call is rejected, since `pong` is not
;;   a query.
;;
;; canister_inspect_message accepts everything, but never ends for the method `spin` and traps for `gate`.
(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reject" (func $reject (param i32 i32)))
  (import "ic0" "msg_reject_code" (func $reject_code (result i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_method_name_size" (func $method_size (result i32)))
  (import "ic0" "msg_method_name_copy" (func $method_copy (param i32 i32 i32)))
  (import "ic0" "accept_message" (func $accept))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (import "ic0" "canister_self_size" (func $self_size (result i32)))
  (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
  (import "ic0" "stable64_grow" (func $stable_grow (param i64) (result i64)))
  (import "ic0" "stable64_read" (func $stable_read (param i64 i64 i64)))
  (import "ic0" "stable_size" (func $stable32_size (result i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $call_data (param i32 i32)))
  (import "ic0" "call_cycles_add128" (func $call_cycles (param i64 i64)))
  (import "ic0" "call_with_best_effort_response" (func $call_timeout (param i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (type $number (func (result i32)))
  ;; Callbacks, by number. Numbers from 4 on are null, and there is no 99.
  (table 10 funcref)
  (elem (i32.const 0) $again $rejected $answered $again)
  (memory 4)
  (data (i32.const 0) "a deliberate fault")
  (data (i32.const 32) "not today")
  (data (i32.const 48) "ping")
  (data (i32.const 52) "pong")
  (data (i32.const 56) "ask")

  ;; 128: always zero. 1024: scratch. 65536: arguments.
  (func (export "canister_inspect_message")
    (call $method_copy (i32.const 1024) (i32.const 0) (call $method_size))
    ;; The first four bytes of the name: "spin", then "gate".
    (if (i32.eq (i32.load (i32.const 1024)) (i32.const 0x6e697073)) (then (loop $l (br $l))))
    (if (i32.eq (i32.load (i32.const 1024)) (i32.const 0x65746167)) (then (unreachable)))
    (call $accept))

  (func (export "canister_update trap") (call $trap (i32.const 0) (i32.const 18)))
  (func (export "canister_query trap_query") (call $trap (i32.const 0) (i32.const 18)))
  (func (export "canister_update unreachable") (unreachable))
  (func (export "canister_update heap") (drop (i32.load (i32.const 0x7fffffff))))
  (func (export "canister_update heap_argument") (call $append (i32.const 0x7fffffff) (i32.const 1)))
  (func (export "canister_update stable") (call $stable_read (i64.const 0) (i64.const 0) (i64.const 1)))
  (func (export "canister_update stable32")
    (drop (call $stable_grow (i64.const 65537))) (drop (call $stable32_size)))
  (func (export "canister_update division") (drop (i32.div_u (i32.const 1) (i32.load (i32.const 128)))))
  (func (export "canister_update overflow")
    (drop (i32.div_s (i32.const 0x80000000) (i32.sub (i32.load (i32.const 128)) (i32.const 1)))))
  (func (export "canister_update conversion") (drop (i32.trunc_f64_s (f64.const nan))))
  (func (export "canister_update table") (drop (call_indirect (type $number) (i32.const 99))))
  (func (export "canister_update null") (drop (call_indirect (type $number) (i32.const 9))))
  (func (export "canister_update type") (drop (call_indirect (type $number) (i32.const 0))))
  (func $deeper (export "canister_update recursion") (call $deeper) (drop (i32.load (i32.const 0))))
  (func (export "canister_update twice") (call $reply) (call $reply))
  (func (export "canister_update nothing"))
  (func (export "canister_update refuse") (call $reject (i32.const 32) (i32.const 9)))
  (func (export "canister_update grow") (drop (memory.grow (i32.const 100))) (call $reply))
  (func (export "canister_update misplaced") (call $accept))
  (func (export "canister_update spin") (loop $l (br $l)))
  (func (export "canister_update gate") (call $reply))

  (func (export "canister_query hoard")
    (local $at i64)
    (drop (call $stable_grow (i64.const 20000)))
    (loop $next
      (call $stable_read (i64.const 65536) (local.get $at) (i64.const 65536))
      (local.set $at (i64.add (local.get $at) (i64.const 65536)))
      (br_if $next (i64.lt_u (local.get $at) (i64.const 1310720000))))
    (call $reply))

  ;; Begins a call of this canister's own method whose name is the four bytes at $name.
  (func $call_self (param $name i32) (param $on_reply i32) (param $on_reject i32)
    (call $self_copy (i32.const 1024) (i32.const 0) (call $self_size))
    (call $call_new (i32.const 1024) (call $self_size) (local.get $name) (i32.const 4)
      (local.get $on_reply) (i32.const 0) (local.get $on_reject) (i32.const 0)))
  (func $again (param i32)
    (call $call_self (i32.const 52) (i32.const 0) (i32.const 3)) (drop (call $perform)))
  ;; Answers with the code and the text of a rejection.
  (func $rejected (param i32)
    (i32.store8 (i32.const 65536) (call $reject_code))
    (call $reject_copy (i32.const 65537) (i32.const 0) (call $reject_size))
    (call $append (i32.const 65536) (i32.add (i32.const 1) (call $reject_size)))
    (call $reply))
  (func $answered (param i32)
    (call $arg_copy (i32.const 65536) (i32.const 0) (call $arg_size))
    (call $append (i32.const 65536) (call $arg_size))
    (call $reply))
  (func (export "canister_update lost")
    (call $call_self (i32.const 52) (i32.const 99) (i32.const 1)) (drop (call $perform)))
  (func (export "canister_update ping") (call $again (i32.const 0)))
  (func (export "canister_update pong") (call $reply))
  (func (export "canister_update impatient")
    (call $call_self (i32.const 48) (i32.const 2) (i32.const 1)) (call $call_timeout (i32.const 1)) (drop (call $perform)))
  (func (export "canister_update beg")
    (call $arg_copy (i32.const 1024) (i32.const 0) (call $arg_size))
    (call $call_new (i32.const 1024) (call $arg_size) (i32.const 52) (i32.const 4)
      (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 0))
    (drop (call $perform)))
  (func (export "canister_update spend")
    (call $call_self (i32.const 52) (i32.const 2) (i32.const 1)) (call $call_cycles (i64.const 1) (i64.const 0))
    (drop (call $perform)))
  (func (export "canister_composite_query insist") (call $again (i32.const 0)))
  (func (export "canister_composite_query ask")
    (if (i32.eqz (call $arg_size)) (then (call $reply) (return)))
    (call $arg_copy (i32.const 65536) (i32.const 0) (call $arg_size))
    (call $call_new (i32.const 65536) (i32.const 10) (i32.const 56) (i32.const 3)
      (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $call_data (i32.const 65546) (i32.sub (call $arg_size) (i32.const 10)))
    (drop (call $perform))))
