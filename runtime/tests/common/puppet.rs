//! A guest written by hand, so that the runtime's own tests need no guest toolchain.

/// A component that does what its method's name says, in the language of [`component`]'s table.
///
/// | method | what it does |
/// |---|---|
/// | `echo…` | answers with its parameters |
/// | `0…`, `1…`, … | calls interface 0, 1, … with the rest of the name and the parameters, and answers what that did |
/// | `spin` | never returns |
/// | `grow` | grows its memory a page at a time until refused, then traps |
/// | `more` | grows its memory a page at a time until refused, then answers `"refused"` |
/// | `table` | grows its table by a million until refused, then traps |
/// | `deep` | recurses until it overflows its stack |
/// | `crash` | executes `unreachable` |
/// | `long` | answers with a string of 8 MiB |
/// | `flood` | calls interface 0 with the parameters forever |
/// | `list…` | does what each line of its parameters says as `"method":parameters`, 16 times each, and answers `"done"` |
/// | `loop…` | calls method `…` of interface 0 with the parameters 1000 times, then answers with them |
/// | other | error −32601 |
pub fn component(interfaces: &[&str]) -> String {
    write(interfaces, "")
}

/// The same, but it tells interface 0 of each lifecycle event it hears of, by calling `seen.event` with the event's
/// name, and answers each with a state to keep.
pub fn watched(interfaces: &[&str]) -> String {
    let lifecycle = r#"
      (if (i32.eq (local.get $head) (i32.const 0x6566696c)) (then ;; life
        (i32.store8 (i32.const 2048) (i32.const 34))
        (memory.copy (i32.const 2049) (local.get $m) (local.get $ml))
        (i32.store8 (i32.add (i32.const 2049) (local.get $ml)) (i32.const 34))
        (call $c0 (i32.const 1160) (i32.const 10) (i32.const 2048) (i32.add (local.get $ml) (i32.const 2))
          (i32.const 16))
        (return (call $ok (i32.const 1176) (i32.const 18)))))"#;
    write(interfaces, lifecycle)
}

/// The same, but what it tells is the event's parameters.
pub fn confiding(interfaces: &[&str]) -> String {
    let lifecycle = r#"
      (if (i32.eq (local.get $head) (i32.const 0x6566696c)) (then ;; life
        (call $c0 (i32.const 1160) (i32.const 10) (local.get $p) (local.get $pl) (i32.const 16))
        (return (call $ok (i32.const 1176) (i32.const 18)))))"#;
    write(interfaces, lifecycle)
}

/// The same as [`component`], but it never comes back from `event` of its life, such as `shown`.
pub fn spinning_when(event: char) -> String {
    let spins = format!(
        r#"
      (if (i32.eq (local.get $head) (i32.const 0x6566696c)) (then
        (if (i32.eq (i32.load8_u (i32.add (local.get $m) (i32.const 10))) (i32.const {})) (then
          (loop $again (br $again))))))"#,
        event as u32
    );
    write(&[], &spins)
}

/// The same as [`component`], but what its inbox tells it (`events.message`, `storage.changed`, `timers.fired`) it passes
/// on, parameters and all, to `method` of interface `place`, and answers what that answers. On error 666 it crashes.
pub fn listening(interfaces: &[&str], place: usize, method: &str) -> String {
    // "even", "stor" and "time".
    let listen = format!(
        r#"
      (if (i32.ge_u (local.get $ml) (i32.const 12)) (then
        (local.set $head (i32.load align=1 (local.get $m)))
        (if (i32.or (i32.eq (local.get $head) (i32.const 0x6e657665))
              (i32.or (i32.eq (local.get $head) (i32.const 0x726f7473))
                (i32.eq (local.get $head) (i32.const 0x656d6974)))) (then
          (call $c{place} (i32.const 1200) (i32.const {}) (local.get $p) (local.get $pl) (i32.const 16))
          (if (i32.and (i32.load8_u (i32.const 16))
                (i32.eq (i32.load (i32.const 20)) (i32.const 666))) (then (unreachable)))
          (return (i32.const 16))))))"#,
        method.len()
    );
    let first = "(local.set $first (i32.load8_u (local.get $m)))";
    let text = component(interfaces).replacen(first, &format!("{first}{listen}"), 1);
    let data = "(data (i32.const 1100) \"log.write\")";
    text.replacen(data, &format!("{data}\n    (data (i32.const 1200) \"{method}\")"), 1)
}

/// The same as [`component`], but `does` is what it does when it is told that it was launched: WebAssembly text.
pub fn when_launched(does: &str) -> String {
    // "lifecycle.l".
    let launched = format!(
        r#"
      (if (i32.eq (local.get $head) (i32.const 0x6566696c)) (then
        (if (i32.eq (i32.load8_u (i32.add (local.get $m) (i32.const 10))) (i32.const 108)) (then {does}))))"#
    );
    write(&[], &launched)
}

/// The same as [`component`], but `doze` waits for ten minutes by WASI's clock.
pub fn dozing() -> String {
    let does = r#"
      (if (i32.eq (local.get $head) (i32.const 0x657a6f64)) (then ;; doze
        (call $block (call $subscribe (i64.const 600000000000)))
        (return (call $ok (i32.const 1024) (i32.const 9)))))"#;
    let imports = r#"
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $pollable))
    (export "pollable" (type $its (eq $pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $its))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))"#;
    with_wasi(imports, &[("subscribe", "(param i64) (result i32)"), ("block", "(param i32)")], does)
}

/// The same as [`component`], but `sense` answers what WASI's interfaces tell, in hexadecimal digits: the seconds of the
/// time of day, the nanoseconds of the other clock, eight random bytes, eight for which guessing does no harm, and the
/// seed of sixteen. `rand`, `weak` and `seed` ask for one of the last three each, and `byte` for 65 536 bytes at once; they
/// answer `"done"`.
pub fn sensing() -> String {
    let does = r#"
      (if (i32.eq (local.get $head) (i32.const 0x736e6573)) (then ;; sens
        (call $seed (i32.const 1336))
        (call $wall (i32.const 1304))
        (i64.store (i32.const 1312) (call $monotonic))
        (i64.store (i32.const 1320) (call $random))
        (i64.store (i32.const 1328) (call $insecure))
        (local.set $n (i32.const 0))
        (i32.store8 (i32.const 1400) (i32.const 34))
        (loop $digit
          (i32.store8 (i32.add (i32.const 1401) (local.get $n))
            (i32.load8_u (i32.add (i32.const 1270) (i32.and (i32.const 15) (i32.shr_u
              (i32.load8_u (i32.add (i32.const 1304) (i32.shr_u (local.get $n) (i32.const 1))))
              (i32.mul (i32.const 4) (i32.xor (i32.const 1) (i32.and (local.get $n) (i32.const 1)))))))))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $digit (i32.lt_u (local.get $n) (i32.const 96))))
        (i32.store8 (i32.const 1497) (i32.const 34))
        (return (call $ok (i32.const 1400) (i32.const 98)))))
      (if (i32.eq (local.get $head) (i32.const 0x646e6172)) (then ;; rand
        (drop (call $random))
        (return (call $ok (i32.const 1060) (i32.const 6)))))
      (if (i32.eq (local.get $head) (i32.const 0x6b616577)) (then ;; weak
        (drop (call $insecure))
        (return (call $ok (i32.const 1060) (i32.const 6)))))
      (if (i32.eq (local.get $head) (i32.const 0x64656573)) (then ;; seed
        (call $seed (i32.const 1336))
        (return (call $ok (i32.const 1060) (i32.const 6)))))
      (if (i32.eq (local.get $head) (i32.const 0x65747962)) (then ;; byte
        (call $bytes (i64.const 65536) (i32.const 1336))
        (return (call $ok (i32.const 1060) (i32.const 6)))))"#;
    let imports = r#"
  (import "wasi:clocks/wall-clock@0.2.0" (instance $wall-clock
    (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $record)))
    (export "now" (func (result $datetime)))))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
  (import "wasi:random/random@0.2.0" (instance $strong
    (export "get-random-u64" (func (result u64)))
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (import "wasi:random/insecure@0.2.0" (instance $weak
    (export "get-insecure-random-u64" (func (result u64)))))
  (import "wasi:random/insecure-seed@0.2.0" (instance $weak-seed
    (export "insecure-seed" (func (result (tuple u64 u64))))))
  (core func $wall (canon lower (func $wall-clock "now") (memory (core memory $mem "memory"))))
  (core func $monotonic (canon lower (func $clock "now")))
  (core func $random (canon lower (func $strong "get-random-u64")))
  (core func $bytes (canon lower (func $strong "get-random-bytes") (memory (core memory $mem "memory"))
    (realloc (core func $mem "realloc"))))
  (core func $insecure (canon lower (func $weak "get-insecure-random-u64")))
  (core func $seed (canon lower (func $weak-seed "insecure-seed") (memory (core memory $mem "memory"))))"#;
    let functions = [
        ("wall", "(param i32)"),
        ("monotonic", "(result i64)"),
        ("random", "(result i64)"),
        ("bytes", "(param i64 i32)"),
        ("insecure", "(result i64)"),
        ("seed", "(param i32)"),
    ];
    let data = r#"(data (i32.const 1100) "log.write")"#;
    let digits = r#"(data (i32.const 1270) "0123456789abcdef")"#;
    with_wasi(imports, &functions, does).replacen(data, &format!("{data}\n    {digits}"), 1)
}

/// `imports` are of the component, and lowered to functions of these names and types.
fn with_wasi(imports: &str, functions: &[(&str, &str)], does: &str) -> String {
    let every = |of: &dyn Fn(&str, &str) -> String| -> String {
        functions.iter().map(|(name, kind)| of(name, kind)).collect()
    };
    let imported = every(&|name, kind| format!("\n    (import \"host\" \"{name}\" (func ${name} {kind}))"));
    let given = every(&|name, _| format!(" (export \"{name}\" (func ${name}))"));
    let instantiated = "(core instance $mem (instantiate $libc))";
    let memory = r#"(import "libc" "memory" (memory 2))"#;
    write(&[], does)
        .replacen(instantiated, &format!("{instantiated}{imports}"), 1)
        .replacen(memory, &format!("{memory}{imported}"), 1)
        .replacen(r#"(with "host" (instance))"#, &format!(r#"(with "host" (instance{given}))"#), 1)
}

fn write(interfaces: &[&str], lifecycle: &str) -> String {
    let mut imports = String::new();
    let mut lowered = String::new();
    let mut given = String::new();
    let mut core_imports = String::new();
    let mut dispatch = String::new();
    for (n, name) in interfaces.iter().enumerate() {
        imports += &format!(
            r#"
  (import "mpkg:bridge/{name}@1.0.0" (instance $i{n}
    (alias outer 1 $err (type $e))
    (export "rpc-error" (type $err (eq $e)))
    (export "call" (func (param "method" string) (param "params" string)
      (result (result string (error $err)))))))"#
        );
        lowered += &format!(
            r#"
  (core func $c{n} (canon lower (func $i{n} "call") (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))))"#
        );
        given += &format!(r#" (export "c{n}" (func $c{n}))"#);
        core_imports += &format!(r#"(import "host" "c{n}" (func $c{n} (param i32 i32 i32 i32 i32)))"#);
        let digit = b'0' + n as u8;
        dispatch += &format!(
            r#"
      (if (i32.eq (local.get $first) (i32.const {digit})) (then
        (call $c{n} (i32.add (local.get $m) (i32.const 1)) (i32.sub (local.get $ml) (i32.const 1))
          (local.get $p) (local.get $pl) (i32.const 16))
        (return (i32.const 16))))"#
        );
    }
    let flood = if interfaces.is_empty() {
        "(unreachable)".to_owned()
    } else {
        r#"(loop $again
          (call $c0 (i32.const 1100) (i32.const 9) (local.get $p) (local.get $pl) (i32.const 16))
          (call $rewind (i32.const 4096))
          (br $again))"#
            .to_owned()
    };
    let looped = if interfaces.is_empty() {
        "(unreachable)"
    } else {
        r#"(local.set $n (i32.const 1000))
        (loop $again
          (call $c0 (i32.add (local.get $m) (i32.const 4)) (i32.sub (local.get $ml) (i32.const 4))
            (local.get $p) (local.get $pl) (i32.const 16))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $again (local.get $n)))
        (return (call $ok (local.get $p) (local.get $pl)))"#
    };
    format!(
        r#"(component
  (import "mpkg:bridge/types@1.0.0" (instance $types
    (type $record (record (field "code" s32) (field "message" string) (field "data" (option string))))
    (export "rpc-error" (type (eq $record)))))
  (alias export $types "rpc-error" (type $err)){imports}
  (core module $libc
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 4096))
    (func (export "rewind") (param i32) (global.set $top (local.get 0)))
    (func (export "realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get $new)))
      (block $fits (loop $grow
        (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
        (unreachable)))
      (local.get $at)))
  (core instance $mem (instantiate $libc)){lowered}
  (core module $code
    (import "libc" "memory" (memory 2))
    (import "libc" "rewind" (func $rewind (param i32)))
    {core_imports}
    (table $t 0 funcref)
    (data (i32.const 1024) "\22refused\22")
    (data (i32.const 1060) "\22done\22")
    (data (i32.const 1040) "no such method")
    (data (i32.const 1100) "log.write")
    (data (i32.const 1160) "seen.event")
    (data (i32.const 1176) "{{\22state\22:{{\22n\22:17}}}}")
    (func $ok (param $ptr i32) (param $len i32) (result i32)
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (local.get $ptr))
      (i32.store (i32.const 24) (local.get $len))
      (i32.const 16))
    (func $deep (param i64) (result i64)
      (i64.add (call $deep (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
    (func $handle (export "handle") (param $m i32) (param $ml i32) (param $p i32) (param $pl i32) (result i32)
      (local $first i32) (local $head i32) (local $n i32)
      (local.set $first (i32.load8_u (local.get $m))){dispatch}
      (if (i32.lt_u (local.get $ml) (i32.const 4)) (then (return (call $no))))
      (local.set $head (i32.load align=1 (local.get $m)))
      (if (i32.eq (local.get $head) (i32.const 0x6f686365)) (then ;; echo
        (return (call $ok (local.get $p) (local.get $pl)))))
      (if (i32.eq (local.get $head) (i32.const 0x6e697073)) (then ;; spin
        (loop $again (br $again))))
      (if (i32.eq (local.get $head) (i32.const 0x776f7267)) (then ;; grow
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (unreachable)))
      (if (i32.eq (local.get $head) (i32.const 0x65726f6d)) (then ;; more
        (loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (return (call $ok (i32.const 1024) (i32.const 9)))))
      (if (i32.eq (local.get $head) (i32.const 0x6c626174)) (then ;; table
        (loop $again (br_if $again
          (i32.ne (table.grow $t (ref.null func) (i32.const 1048576)) (i32.const -1))))
        (unreachable)))
      (if (i32.eq (local.get $head) (i32.const 0x70656564)) (then ;; deep
        (drop (call $deep (i64.const 0)))))
      (if (i32.eq (local.get $head) (i32.const 0x73617263)) (then (unreachable))) ;; crash
      (if (i32.eq (local.get $head) (i32.const 0x676e6f6c)) (then ;; long
        (drop (memory.grow (i32.const 130)))
        (memory.fill (i32.const 65536) (i32.const 0x20) (i32.const 8388608))
        (return (call $ok (i32.const 65536) (i32.const 8388608)))))
      (if (i32.eq (local.get $head) (i32.const 0x6f6f6c66)) (then {flood})) ;; flood
      (if (i32.eq (local.get $head) (i32.const 0x7473696c)) (then ;; list
        (return (call $list (local.get $p) (i32.add (local.get $p) (local.get $pl))))))
      (if (i32.eq (local.get $head) (i32.const 0x706f6f6c)) (then {looped})) ;; loop{lifecycle}
      (call $no))
    (func $list (param $at i32) (param $end i32) (result i32)
      (local $n i32) (local $m i32) (local $ml i32) (local $p i32)
      (loop $line ;; {{"method":parameters, and ,"method":parameters from the second on
        (local.set $m (i32.add (local.get $at) (i32.const 2)))
        (local.set $p (call $find (i32.const 34) (local.get $m)))
        (local.set $ml (i32.sub (local.get $p) (local.get $m)))
        (local.set $p (i32.add (local.get $p) (i32.const 2)))
        (local.set $at (call $find (i32.const 10) (local.get $p)))
        (local.set $n (i32.const 16))
        (loop $again
          (call $rewind (local.get $end))
          (drop (call $handle (local.get $m) (local.get $ml)
            (local.get $p) (i32.sub (local.get $at) (local.get $p))))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $again (local.get $n)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $line (i32.lt_u (i32.add (local.get $at) (i32.const 1)) (local.get $end))))
      (call $ok (i32.const 1060) (i32.const 6)))
    (func $find (param $byte i32) (param $at i32) (result i32)
      (block $found (loop $next
        (br_if $found (i32.eq (i32.load8_u (local.get $at)) (local.get $byte)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
      (local.get $at))
    (func $no (result i32)
      (i32.store8 (i32.const 16) (i32.const 1))
      (i32.store (i32.const 20) (i32.const -32601))
      (i32.store (i32.const 24) (i32.const 1040))
      (i32.store (i32.const 28) (i32.const 14))
      (i32.store8 (i32.const 32) (i32.const 0))
      (i32.const 16))
    (func (export "done") (param i32) (call $rewind (i32.const 4096))))
  (core instance $main (instantiate $code
    (with "libc" (instance $mem))
    (with "host" (instance{given}))))
  (func $handle (param "method" string) (param "params" string) (result (result string (error $err)))
    (canon lift (core func $main "handle") (memory (core memory $mem "memory")) (realloc (core func $mem "realloc"))
      (post-return (core func $main "done"))))
  (instance $app (export "rpc-error" (type $err)) (export "handle" (func $handle)))
  (export "mpkg:bridge/app@1.0.0" (instance $app)))"#
    )
}
