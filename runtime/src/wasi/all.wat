;; Imports something of each WASI interface that a package may import.
(component
  (import "wasi:io/error@0.2.0" (instance (export "error" (type (sub resource)))))
  (import "wasi:io/poll@0.2.0" (instance
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.ready" (func (param "self" (borrow $pollable)) (result bool)))))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "input-stream" (type (sub resource)))
    (export "output-stream" (type (sub resource)))))
  (alias export $streams "input-stream" (type $in))
  (alias export $streams "output-stream" (type $out))
  (import "wasi:cli/stdin@0.2.0" (instance
    (alias outer 1 $in (type $t))
    (export "input-stream" (type $its (eq $t)))
    (export "get-stdin" (func (result (own $its))))))
  (import "wasi:cli/stdout@0.2.0" (instance
    (alias outer 1 $out (type $t))
    (export "output-stream" (type $its (eq $t)))
    (export "get-stdout" (func (result (own $its))))))
  (import "wasi:cli/stderr@0.2.0" (instance
    (alias outer 1 $out (type $t))
    (export "output-stream" (type $its (eq $t)))
    (export "get-stderr" (func (result (own $its))))))
  (import "wasi:cli/terminal-input@0.2.0" (instance $terminal-input
    (export "terminal-input" (type (sub resource)))))
  (import "wasi:cli/terminal-output@0.2.0" (instance $terminal-output
    (export "terminal-output" (type (sub resource)))))
  (alias export $terminal-input "terminal-input" (type $typed))
  (alias export $terminal-output "terminal-output" (type $shown))
  (import "wasi:cli/terminal-stdin@0.2.0" (instance
    (alias outer 1 $typed (type $t))
    (export "terminal-input" (type $its (eq $t)))
    (export "get-terminal-stdin" (func (result (option (own $its)))))))
  (import "wasi:cli/terminal-stdout@0.2.0" (instance
    (alias outer 1 $shown (type $t))
    (export "terminal-output" (type $its (eq $t)))
    (export "get-terminal-stdout" (func (result (option (own $its)))))))
  (import "wasi:cli/terminal-stderr@0.2.0" (instance
    (alias outer 1 $shown (type $t))
    (export "terminal-output" (type $its (eq $t)))
    (export "get-terminal-stderr" (func (result (option (own $its)))))))
  (import "wasi:cli/environment@0.2.0" (instance
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:cli/exit@0.2.0" (instance (export "exit" (func (param "status" (result))))))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result u64)))))
  (import "wasi:clocks/wall-clock@0.2.0" (instance
    (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $record)))
    (export "now" (func (result $datetime)))))
  (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u64)))))
  (import "wasi:random/insecure@0.2.0" (instance (export "get-insecure-random-u64" (func (result u64)))))
  (import "wasi:random/insecure-seed@0.2.0" (instance
    (export "insecure-seed" (func (result (tuple u64 u64)))))))
