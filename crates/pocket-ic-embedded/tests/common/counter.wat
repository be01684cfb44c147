;; A canister with a 32-bit counter on the heap, another in stable memory, and further methods for tests:
;;
;; * `inc`, `read`: add 1 to the heap counter, read it; both answer its value.
;; * `inc_query`: a query that does the same as `inc`.
;; * `hidden`: reads a mutable global that is not exported; it starts at 7, and `inc` adds 1 to it.
;; * `stable_inc`, `stable_read`: do the same as `inc` and `read`, with the counter in stable memory (which
;;   `canister_init` grows to one page).
;; * `trap_after_inc`, `unreachable`, `no_reply`, `reject`, `spin`: each fails in its own way.
;; * `set_timer`: sets the global timer to the 8 bytes of its argument; each firing adds 100 to the heap counter.
;; * `now`, `caller`, `version`, `echo`: answer the time, the caller, the canister's version and the argument.
;;   `now` is a query, `now_update` does the same in an update.
;; * `print`: logs its argument.
;; * `certify`: sets the certified data to its argument.
;; * `accept`: accepts the cycles that are attached to the call, and answers their number (8 bytes).
;;
;; Init and post-upgrade set the heap counter to the first 4 bytes of their argument, if it has that many.
(module
  (import "ic0" "msg_reply" (func $msg_reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reject" (func $reject (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_caller_size" (func $caller_size (result i32)))
  (import "ic0" "msg_caller_copy" (func $caller_copy (param i32 i32 i32)))
  (import "ic0" "stable64_grow" (func $stable_grow (param i64) (result i64)))
  (import "ic0" "stable64_size" (func $stable_size (result i64)))
  (import "ic0" "stable64_read" (func $stable_read (param i64 i64 i64)))
  (import "ic0" "stable64_write" (func $stable_write (param i64 i64 i64)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (import "ic0" "time" (func $time (result i64)))
  (import "ic0" "canister_version" (func $version (result i64)))
  (import "ic0" "global_timer_set" (func $timer_set (param i64) (result i64)))
  (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
  (import "ic0" "msg_cycles_available128" (func $cycles_available (param i32)))
  (import "ic0" "msg_cycles_accept128" (func $cycles_accept (param i64 i64 i32)))
  (memory 1)
  (global $hidden (mut i32) (i32.const 7))
  (data (i32.const 0) "something went wrong")
  (data (i32.const 32) "not today")

  ;; 512: the counter. 600: scratch for replies. 4096: arguments.
  (func $reply_from (param $at i32) (param $size i32)
    (call $append (local.get $at) (local.get $size))
    (call $msg_reply))
  (func $take_arg
    (if (i32.ge_u (call $arg_size) (i32.const 4))
      (then (call $arg_copy (i32.const 512) (i32.const 0) (i32.const 4)))))
  (func $init
    (if (i64.eqz (call $stable_size))
      (then (drop (call $stable_grow (i64.const 1)))))
    (call $take_arg))
  (func $post_upgrade (call $take_arg))
  (func $inc
    (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 1)))
    (global.set $hidden (i32.add (global.get $hidden) (i32.const 1)))
    (call $reply_from (i32.const 512) (i32.const 4)))
  (func $read (call $reply_from (i32.const 512) (i32.const 4)))
  (func $hidden_read
    (i32.store (i32.const 600) (global.get $hidden))
    (call $reply_from (i32.const 600) (i32.const 4)))
  (func $stable_inc
    (call $stable_read (i64.const 600) (i64.const 0) (i64.const 4))
    (i32.store (i32.const 600) (i32.add (i32.load (i32.const 600)) (i32.const 1)))
    (call $stable_write (i64.const 0) (i64.const 600) (i64.const 4))
    (call $reply_from (i32.const 600) (i32.const 4)))
  (func $stable_value
    (call $stable_read (i64.const 600) (i64.const 0) (i64.const 4))
    (call $reply_from (i32.const 600) (i32.const 4)))
  (func $trap_after_inc
    (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 1)))
    (call $trap (i32.const 0) (i32.const 20)))
  (func $unreachable unreachable)
  (func $no_reply)
  (func $do_reject (call $reject (i32.const 32) (i32.const 9)))
  (func $spin (loop $again (br $again)))
  (func $set_timer
    (call $arg_copy (i32.const 600) (i32.const 0) (i32.const 8))
    (drop (call $timer_set (i64.load (i32.const 600))))
    (call $msg_reply))
  (func $on_timer
    (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 100))))
  (func $now
    (i64.store (i32.const 600) (call $time))
    (call $reply_from (i32.const 600) (i32.const 8)))
  (func $get_version
    (i64.store (i32.const 600) (call $version))
    (call $reply_from (i32.const 600) (i32.const 8)))
  (func $get_caller
    (call $caller_copy (i32.const 600) (i32.const 0) (call $caller_size))
    (call $reply_from (i32.const 600) (call $caller_size)))
  (func $echo
    (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
    (call $reply_from (i32.const 4096) (call $arg_size)))
  (func $do_print
    (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
    (call $print (i32.const 4096) (call $arg_size))
    (call $msg_reply))
  (func $do_certify
    (call $arg_copy (i32.const 4096) (i32.const 0) (call $arg_size))
    (call $certify (i32.const 4096) (call $arg_size))
    (call $msg_reply))
  (func $accept
    (call $cycles_available (i32.const 600))
    (call $cycles_accept (i64.load (i32.const 608)) (i64.load (i32.const 600)) (i32.const 616))
    (call $reply_from (i32.const 616) (i32.const 8)))

  (export "canister_init" (func $init))
  (export "canister_post_upgrade" (func $post_upgrade))
  (export "canister_global_timer" (func $on_timer))
  (export "canister_update inc" (func $inc))
  (export "canister_query read" (func $read))
  (export "canister_query hidden" (func $hidden_read))
  (export "canister_update stable_inc" (func $stable_inc))
  (export "canister_query stable_read" (func $stable_value))
  (export "canister_query inc_query" (func $inc))
  (export "canister_update trap_after_inc" (func $trap_after_inc))
  (export "canister_update unreachable" (func $unreachable))
  (export "canister_update no_reply" (func $no_reply))
  (export "canister_update reject" (func $do_reject))
  (export "canister_query spin" (func $spin))
  (export "canister_update set_timer" (func $set_timer))
  (export "canister_query now" (func $now))
  (export "canister_update now_update" (func $now))
  (export "canister_update version" (func $get_version))
  (export "canister_query caller" (func $get_caller))
  (export "canister_update echo" (func $echo))
  (export "canister_update print" (func $do_print))
  (export "canister_update certify" (func $do_certify))
  (export "canister_update accept" (func $accept)))
