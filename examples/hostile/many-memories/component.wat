;; Takes memory in nine modules, each below the cap.
;;
;; Rust makes one module with one memory, so this one is written by hand. A limit per memory would let it have nine times
;; the cap; and each module has a table as well, which a limit on memories would not count.
;;
;; ping -> "pong". attack: takes without end, and writes to what it got; refused everywhere, it traps. fill: takes pages
;; in turns until refused everywhere, then table elements, and tells how many there are.
(component
  ;; The types that mpkg:bridge shares. They carry no capability.
  (import "mpkg:bridge/types@1.0.0" (instance $types
    (type $error (record
      (field "code" s32)
      (field "message" string)
      (field "data" (option string))))
    (export "rpc-error" (type (eq $error)))))
  (alias export $types "rpc-error" (type $rpc-error))

  ;; One memory and one table. `take` returns how many pages it got: all or none.
  (core module $cell
    (memory 1)
    (table $table 0 funcref)
    (func (export "take") (param $pages i32) (result i32)
      (local $before i32)
      (local.set $before (memory.grow (local.get $pages)))
      (if (i32.eq (local.get $before) (i32.const -1)) (then (return (i32.const 0))))
      ;; Untouched pages cost the host nothing.
      (memory.fill
        (i32.shl (local.get $before) (i32.const 16)) (i32.const 170) (i32.shl (local.get $pages) (i32.const 16)))
      (local.get $pages))
    (func (export "take-elements") (param $elements i32) (result i32)
      (if (i32.eq (table.grow $table (ref.null func) (local.get $elements)) (i32.const -1))
        (then (return (i32.const 0))))
      (local.get $elements)))

  (core module $module
    (import "cell0" "take" (func $take0 (param i32) (result i32)))
    (import "cell0" "take-elements" (func $take-elements0 (param i32) (result i32)))
    (import "cell1" "take" (func $take1 (param i32) (result i32)))
    (import "cell1" "take-elements" (func $take-elements1 (param i32) (result i32)))
    (import "cell2" "take" (func $take2 (param i32) (result i32)))
    (import "cell2" "take-elements" (func $take-elements2 (param i32) (result i32)))
    (import "cell3" "take" (func $take3 (param i32) (result i32)))
    (import "cell3" "take-elements" (func $take-elements3 (param i32) (result i32)))
    (import "cell4" "take" (func $take4 (param i32) (result i32)))
    (import "cell4" "take-elements" (func $take-elements4 (param i32) (result i32)))
    (import "cell5" "take" (func $take5 (param i32) (result i32)))
    (import "cell5" "take-elements" (func $take-elements5 (param i32) (result i32)))
    (import "cell6" "take" (func $take6 (param i32) (result i32)))
    (import "cell6" "take-elements" (func $take-elements6 (param i32) (result i32)))
    (import "cell7" "take" (func $take7 (param i32) (result i32)))
    (import "cell7" "take-elements" (func $take-elements7 (param i32) (result i32)))
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

    ;; $pages from every cell; returns how many came.
    (func $take (param $pages i32) (result i32)
      (local $got i32)
      (local.set $got (i32.add (local.get $got) (call $take0 (local.get $pages))))
      (local.set $got (i32.add (local.get $got) (call $take1 (local.get $pages))))
      (local.set $got (i32.add (local.get $got) (call $take2 (local.get $pages))))
      (local.set $got (i32.add (local.get $got) (call $take3 (local.get $pages))))
      (local.set $got (i32.add (local.get $got) (call $take4 (local.get $pages))))
      (local.set $got (i32.add (local.get $got) (call $take5 (local.get $pages))))
      (local.set $got (i32.add (local.get $got) (call $take6 (local.get $pages))))
      (local.set $got (i32.add (local.get $got) (call $take7 (local.get $pages))))
      (local.get $got))

    (func $take-elements (param $elements i32) (result i32)
      (local $got i32)
      (local.set $got (i32.add (local.get $got) (call $take-elements0 (local.get $elements))))
      (local.set $got (i32.add (local.get $got) (call $take-elements1 (local.get $elements))))
      (local.set $got (i32.add (local.get $got) (call $take-elements2 (local.get $elements))))
      (local.set $got (i32.add (local.get $got) (call $take-elements3 (local.get $elements))))
      (local.set $got (i32.add (local.get $got) (call $take-elements4 (local.get $elements))))
      (local.set $got (i32.add (local.get $got) (call $take-elements5 (local.get $elements))))
      (local.set $got (i32.add (local.get $got) (call $take-elements6 (local.get $elements))))
      (local.set $got (i32.add (local.get $got) (call $take-elements7 (local.get $elements))))
      (local.get $got))

    (func $attack
      (loop $more
        (br_if $more (call $take (i32.const 16)))
        (unreachable)))

    (func $fill (result i32)
      (local $pages i32) (local $elements i32) (local $got i32) (local $step i32)
      ;; One page in each of the eight cells, and ours.
      (local.set $pages (i32.add (i32.const 8) (memory.size)))
      (loop $more
        (local.set $got (call $take (i32.const 1)))
        (local.set $pages (i32.add (local.get $pages) (local.get $got)))
        (br_if $more (local.get $got)))
      ;; In ever smaller steps, so that not one element more would fit.
      (local.set $step (i32.const 0x10000))
      (loop $more
        (local.set $got (call $take-elements (local.get $step)))
        (local.set $elements (i32.add (local.get $elements) (local.get $got)))
        (br_if $more (local.get $got))
        (local.set $step (i32.shr_u (local.get $step) (i32.const 1)))
        (br_if $more (local.get $step)))
      (call $report (local.get $pages) (local.get $elements)))

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

  (core instance $cell0 (instantiate $cell))
  (core instance $cell1 (instantiate $cell))
  (core instance $cell2 (instantiate $cell))
  (core instance $cell3 (instantiate $cell))
  (core instance $cell4 (instantiate $cell))
  (core instance $cell5 (instantiate $cell))
  (core instance $cell6 (instantiate $cell))
  (core instance $cell7 (instantiate $cell))
  (core instance $main (instantiate $module
    (with "cell0" (instance $cell0))
    (with "cell1" (instance $cell1))
    (with "cell2" (instance $cell2))
    (with "cell3" (instance $cell3))
    (with "cell4" (instance $cell4))
    (with "cell5" (instance $cell5))
    (with "cell6" (instance $cell6))
    (with "cell7" (instance $cell7))))

  (func $handle (param "method" string) (param "params" string) (result (result string (error $rpc-error)))
    (canon lift (core func $main "handle") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
  (instance $app
    (export "rpc-error" (type $rpc-error))
    (export "handle" (func $handle)))
  (export "mpkg:bridge/app@1.0.0" (instance $app)))
