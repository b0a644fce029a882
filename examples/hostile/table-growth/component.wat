;; Grows a table until it is stopped.
;;
;; Rust cannot say `table.grow`, so this one is written by hand. A cap on memory alone does not see it: each element
;; costs the host a pointer, and there is no memory in sight.
;;
;; ping -> "pong". attack: grows without end; refused, it traps. fill: grows until refused, and tells how far it came.
(component
  ;; The types that mpkg:bridge shares. They carry no capability.
  (import "mpkg:bridge/types@1.0.0" (instance $types
    (type $error (record
      (field "code" s32)
      (field "message" string)
      (field "data" (option string))))
    (export "rpc-error" (type (eq $error)))))
  (alias export $types "rpc-error" (type $rpc-error))

  (core module $module
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 1024))

    ;; 16: what `handle` returns, a result<string, rpc-error>: case, then pointer and length, or code, message, data.
    (data (i32.const 64) "\"pong\"")
    (data (i32.const 72) "null")
    (data (i32.const 80) "no such method; there are ping, attack and fill")
    (data (i32.const 136) "{\"pages\":")
    (data (i32.const 152) ",\"elements\":")

    ;; Room for what the host passes in. It is given back when the call ends.
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
      (global.set $heap (i32.add (local.get $at) (local.get $size)))
      (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16)))
        (then
          (if (i32.eq (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))) (i32.const -1))
            (then (unreachable)))))
      (local.get $at))

    ;; ok(the text at $at)
    (func $ok (param $at i32) (param $length i32) (result i32)
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get $at))
      (i32.store (i32.const 24) (local.get $length))
      (i32.const 16))

    ;; error(method not found)
    (func $unknown (result i32)
      (i32.store (i32.const 16) (i32.const 1))
      (i32.store (i32.const 20) (i32.const -32601))
      (i32.store (i32.const 24) (i32.const 80))
      (i32.store (i32.const 28) (i32.const 47))
      (i32.store (i32.const 32) (i32.const 0))
      (i32.const 16))

    ;; Writes $n in decimal at $at; returns where it ends.
    (func $decimal (param $at i32) (param $n i32) (result i32)
      (if (i32.ge_u (local.get $n) (i32.const 10))
        (then (local.set $at (call $decimal (local.get $at) (i32.div_u (local.get $n) (i32.const 10))))))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (i32.add (local.get $at) (i32.const 1)))

    ;; {"pages":$pages,"elements":$elements}
    (func $report (param $pages i32) (param $elements i32) (result i32)
      (local $at i32)
      (memory.copy (i32.const 256) (i32.const 136) (i32.const 9))
      (local.set $at (call $decimal (i32.const 265) (local.get $pages)))
      (memory.copy (local.get $at) (i32.const 152) (i32.const 12))
      (local.set $at (call $decimal (i32.add (local.get $at) (i32.const 12)) (local.get $elements)))
      (i32.store8 (local.get $at) (i32.const 125))
      (call $ok (i32.const 256) (i32.sub (i32.add (local.get $at) (i32.const 1)) (i32.const 256))))

    (table $table 1 funcref)

    (func $attack
      (loop $more
        (if (i32.eq (table.grow $table (ref.null func) (i32.const 10000)) (i32.const -1)) (then (unreachable)))
        (br $more)))

    ;; In ever smaller steps, so that not one element more would fit.
    (func $fill (result i32)
      (local $step i32)
      (local.set $step (i32.const 0x100000))
      (loop $more
        (br_if $more (i32.ne (table.grow $table (ref.null func) (local.get $step)) (i32.const -1)))
        (local.set $step (i32.shr_u (local.get $step) (i32.const 1)))
        (br_if $more (local.get $step)))
      (call $report (memory.size) (table.size $table)))

    ;; The method is told by its first letter: ping, attack, fill, and notifications, which are ignored.
    (func (export "handle") (param $method i32) (param $length i32) (param $params i32) (param $params-length i32) (result i32)
      (local $first i32)
      (local.set $first (i32.load8_u (local.get $method)))
      (global.set $heap (i32.const 1024))
      (if (i32.eq (local.get $first) (i32.const 112)) (then (return (call $ok (i32.const 64) (i32.const 6)))))
      (if (i32.eq (local.get $first) (i32.const 97)) (then (call $attack)))
      (if (i32.eq (local.get $first) (i32.const 102)) (then (return (call $fill))))
      (if (i32.or
            (i32.eq (local.get $first) (i32.const 108))
            (i32.or (i32.eq (local.get $first) (i32.const 101)) (i32.eq (local.get $first) (i32.const 117))))
        (then (return (call $ok (i32.const 72) (i32.const 4)))))
      (call $unknown))
  )
  (core instance $main (instantiate $module))

  (func $handle (param "method" string) (param "params" string) (result (result string (error $rpc-error)))
    (canon lift (core func $main "handle") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
  (instance $app
    (export "rpc-error" (type $rpc-error))
    (export "handle" (func $handle)))
  (export "mpkg:bridge/app@1.0.0" (instance $app)))
